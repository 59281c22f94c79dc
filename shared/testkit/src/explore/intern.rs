//! Small numbers for large values, and a set of worlds that costs four bytes per world beyond the world.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// Gives equal values equal numbers, in order of their first use.
#[derive(Debug)]
pub(super) struct Interner<T> {
    values: Vec<T>,
    numbers: HashMap<T, u16>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    pub(super) fn new() -> Self {
        Self {
            values: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// The number of `value`, and whether it is new.
    pub(super) fn number(&mut self, value: T) -> (u16, bool) {
        if let Some(&number) = self.numbers.get(&value) {
            return (number, false);
        }
        let number = u16::try_from(self.values.len()).unwrap_or(u16::MAX);
        assert!(number < u16::MAX, "the configuration has too many values");
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        (number, true)
    }

    /// The number of `value`, if it was ever used.
    pub(super) fn find(&self, value: &T) -> Option<u16> {
        self.numbers.get(value).copied()
    }

    pub(super) fn value(&self, number: u16) -> &T {
        &self.values[usize::from(number)]
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Everything reached so far, in order of discovery.
///
/// An open-addressing table of indices into the list: the worlds themselves are stored once.
#[derive(Debug)]
pub(super) struct Reached<W> {
    worlds: Vec<W>,
    /// Index plus one; 0 is free. The length is a power of two and at least twice that of `worlds`.
    table: Vec<u32>,
}

impl<W: Copy + Eq + Hash> Reached<W> {
    pub(super) fn new(first: W) -> Self {
        let mut reached = Self {
            worlds: Vec::new(),
            table: vec![0; 1 << 16],
        };
        reached.insert(first);
        reached
    }

    pub(super) fn len(&self) -> usize {
        self.worlds.len()
    }

    pub(super) fn get(&self, index: u32) -> W {
        self.worlds[index as usize]
    }

    /// The index of `world`, and whether it is new.
    pub(super) fn insert(&mut self, world: W) -> (u32, bool) {
        let mut place = self.place(&world);
        loop {
            match self.table[place] {
                0 => break,
                taken if self.worlds[taken as usize - 1] == world => return (taken - 1, false),
                _ => place = (place + 1) & (self.table.len() - 1),
            }
        }
        let index = u32::try_from(self.worlds.len()).unwrap_or(u32::MAX);
        assert!(index < u32::MAX - 1, "more worlds than 32 bits count");
        self.worlds.push(world);
        self.table[place] = index + 1;
        if self.worlds.len() * 2 > self.table.len() {
            self.grow();
        }
        (index, true)
    }

    fn place(&self, world: &W) -> usize {
        let mut hasher = Fold(0);
        world.hash(&mut hasher);
        // The table is far smaller than 2^32 places, and the low bits are the well-mixed ones.
        #[allow(clippy::cast_possible_truncation)]
        let place = hasher.finish() as usize;
        place & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 2];
        for index in 0..self.worlds.len() {
            let mut place = self.place(&self.worlds[index]);
            while self.table[place] != 0 {
                place = (place + 1) & (self.table.len() - 1);
            }
            self.table[place] = u32::try_from(index + 1).unwrap_or(u32::MAX);
        }
    }
}

/// Multiply and fold: fast, and good enough for worlds that nobody chose to collide.
struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        #[allow(clippy::cast_possible_truncation)]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.0 = low.rotate_left(23) ^ high ^ 0x2545_f491_4f6c_dd1d;
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, _length: usize) {
        // Lengths of arrays: the same in every world.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_get_equal_numbers() {
        let mut interner = Interner::new();
        assert_eq!(interner.number("a"), (0, true));
        assert_eq!(interner.number("b"), (1, true));
        assert_eq!(interner.number("a"), (0, false));
        assert_eq!(*interner.value(1), "b");
    }

    #[test]
    fn a_million_worlds_are_each_reached_once() {
        let mut reached = Reached::new([0_u64, 0]);
        for round in [true, false] {
            for n in 1..200_000_u64 {
                let (index, new) = reached.insert([n % 7, n]);
                assert_eq!(u64::from(index), n);
                assert_eq!(new, round);
            }
        }
        assert_eq!(reached.len(), 200_000);
        assert_eq!(reached.get(199_999), [199_999 % 7, 199_999]);
    }
}
