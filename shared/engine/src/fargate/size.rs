//! Sizes that Fargate offers (aws.md 2.4).

/// Memory of the largest task, in MiB.
pub const MEMORY_MIB_MAX: u32 = 122_880;

/// A size that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// In 1/1024 vCPU.
    pub cpu_units: u32,
    /// In MiB.
    pub memory_mib: u32,
}

/// CPU units with the least and the most memory they come with, and the step between, in MiB.
const TIERS: [(u32, u32, u32, u32); 7] = [
    (256, 512, 2_048, 512),
    (512, 1_024, 4_096, 1_024),
    (1_024, 2_048, 8_192, 1_024),
    (2_048, 4_096, 16_384, 1_024),
    (4_096, 8_192, 30_720, 1_024),
    (8_192, 16_384, 61_440, 4_096),
    (16_384, 32_768, MEMORY_MIB_MAX, 8_192),
];

/// The smallest size with at least this much CPU and memory; none when Fargate has none so large.
#[must_use]
pub fn size_for(cpu_milli: u32, memory_mib: u32) -> Option<Size> {
    let units = u64::from(cpu_milli) * 1024;
    TIERS.iter().find_map(|&(cpu_units, least, most, step)| {
        if units > u64::from(cpu_units) * 1000 || memory_mib > most {
            return None;
        }
        let above = memory_mib.saturating_sub(least).div_ceil(step) * step;
        let mut memory_mib = least + above;
        if cpu_units == 256 && memory_mib == 1_536 {
            memory_mib = 2_048; // The smallest tier has 0.5, 1 and 2 GB only.
        }
        Some(Size {
            cpu_units,
            memory_mib,
        })
    })
}

/// The size of the attempt after one that ran out of memory: twice as much, or half as much again as was seen
/// to be used, whichever is more. None when the largest was not enough.
#[must_use]
pub fn size_after_out_of_memory(cpu_milli: u32, before: Size, peak_bytes: u64) -> Option<Size> {
    if before.memory_mib >= MEMORY_MIB_MAX {
        return None;
    }
    let peak_mib = u32::try_from(peak_bytes.div_ceil(1024 * 1024)).unwrap_or(u32::MAX);
    let wanted = before
        .memory_mib
        .saturating_mul(2)
        .max(peak_mib.saturating_add(peak_mib / 2))
        .min(MEMORY_MIB_MAX);
    size_for(cpu_milli, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cpu_milli: u32, memory_mib: u32) -> Option<(u32, u32)> {
        size_for(cpu_milli, memory_mib).map(|size| (size.cpu_units, size.memory_mib))
    }

    #[test]
    fn what_is_asked_for_is_rounded_up_to_a_size_that_exists() {
        assert_eq!(of(100, 0), Some((256, 512)));
        assert_eq!(of(250, 513), Some((256, 1_024)));
        assert_eq!(of(250, 1_025), Some((256, 2_048)));
        assert_eq!(of(100, 2_049), Some((512, 3_072)));
        assert_eq!(of(251, 100), Some((512, 1_024)));
        assert_eq!(of(1_000, 0), Some((1_024, 2_048)));
        assert_eq!(of(4_000, 30_720), Some((4_096, 30_720)));
        assert_eq!(of(4_000, 30_721), Some((8_192, 32_768)));
        assert_eq!(of(16_000, 122_880), Some((16_384, 122_880)));
        assert_eq!(of(16_001, 0), None);
        assert_eq!(of(100, 122_881), None);
    }

    #[test]
    fn out_of_memory_doubles_it_until_there_is_no_more() {
        let mut size = size_for(250, 512).map(|size| (size, 0));
        let mut seen = Vec::new();
        while let Some((now, _)) = size {
            seen.push(now.memory_mib);
            size = size_after_out_of_memory(250, now, 0).map(|next| (next, 0));
        }
        assert_eq!(
            seen,
            [
                512,
                1_024,
                2_048,
                4_096,
                8_192,
                16_384,
                32_768,
                65_536,
                MEMORY_MIB_MAX
            ]
        );
        let seen_in_use = 5_000 * 1024 * 1024;
        let small = Size {
            cpu_units: 256,
            memory_mib: 512,
        };
        let next = size_after_out_of_memory(250, small, seen_in_use);
        assert_eq!(next.map(|size| size.memory_mib), Some(8_192));
    }
}
