//! Questions and answers of the domain name system (RFC 1035), as far as addresses need them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a name at most, and of one of its labels.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
const HEAD: usize = 12;

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
}

impl Kind {
    const fn code(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These addresses; none of this kind if it is empty.
    Found(Vec<IpAddr>),
    /// There is no such name.
    Unknown,
    /// It does not fit; ask by TCP.
    Truncated,
    /// The server cannot or will not say.
    Refused(u8),
}

/// A question for the addresses of a name.
pub(super) fn query(id: u16, name: &str, kind: Kind) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{name}` is not a host name");
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(wrong());
    }
    let mut bytes = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).map_err(|_| wrong())?;
        if label.is_empty() || label.len() > LABEL_MAX {
            return Err(wrong());
        }
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.code().to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    Ok(bytes)
}

/// Reads the answer to a question; none if it is not one.
pub(super) fn read(query: &[u8], bytes: &[u8]) -> Option<Answer> {
    let question = query.get(HEAD..)?;
    let own = bytes.get(..2)? == query.get(..2)?
        && bytes
            .get(HEAD..HEAD + question.len())?
            .eq_ignore_ascii_case(question);
    let flags = (*bytes.get(2)?, *bytes.get(3)?);
    if !own || flags.0 & 0x80 == 0 {
        return None;
    }
    if flags.0 & 2 != 0 {
        return Some(Answer::Truncated);
    }
    match flags.1 & 0x0f {
        0 => {}
        3 => return Some(Answer::Unknown),
        code => return Some(Answer::Refused(code)),
    }
    let wanted = number(question, question.len().checked_sub(4)?)?;
    let count = number(bytes, 6)?;
    let mut at = HEAD + question.len();
    let mut found = Vec::new();
    // Aliases come before the addresses of what they stand for; servers that recurse give both.
    for _ in 0..count {
        at = after_name(bytes, at)?;
        let kind = number(bytes, at)?;
        let length = usize::from(number(bytes, at + 8)?);
        let data = bytes.get(at + 10..at + 10 + length)?;
        at += 10 + length;
        if kind == wanted {
            found.extend(address(data));
        }
    }
    Some(Answer::Found(found))
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn address(data: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(data) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(data)
        .ok()
        .map(|all| Ipv6Addr::from(all).into())
}

/// Where a name ends: at a null label, or after a pointer.
fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
pub(super) mod testing {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::net::Ipv4Addr;

    /// What a server says: `bucket.s3.test` is an alias with an IPv4 address, other names are unknown.
    pub(in crate::names) fn answer(query: &[u8], address: &str) -> Vec<u8> {
        let known = query[12..].starts_with(b"\x06bucket\x02s3\x04test\0");
        let is_v4 = query[query.len() - 3] == 1;
        let mut bytes = query.to_vec();
        bytes[2] = 0x81;
        bytes[3] = if known { 0x80 } else { 0x83 };
        if known && is_v4 {
            bytes[7] = 2;
            bytes.extend_from_slice(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x03\x01x\0");
            bytes.extend_from_slice(b"\x01x\0\0\x01\0\x01\0\0\0\x3c\0\x04");
            bytes.extend_from_slice(&address.parse::<Ipv4Addr>().unwrap().octets());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn an_address_behind_an_alias_is_found() {
        let query = query(7, "bucket.s3.test", Kind::V4).unwrap();
        let answer = testing::answer(&query, "192.0.2.7");
        let expected = Answer::Found(vec!["192.0.2.7".parse().unwrap()]);
        assert_eq!(read(&query, &answer), Some(expected));
    }

    #[test]
    fn damaged_and_foreign_answers_are_no_answers() {
        let own = query(7, "bucket.s3.test", Kind::V4).unwrap();
        let answer = testing::answer(&own, "192.0.2.7");
        for end in 0..answer.len() {
            assert_eq!(read(&own, &answer[..end]), None, "{end}");
        }
        let other = query(8, "bucket.s3.test", Kind::V4).unwrap();
        assert_eq!(read(&other, &answer), None);
        let other = query(7, "bucket.s4.test", Kind::V4).unwrap();
        assert_eq!(read(&other, &answer), None);
        assert_eq!(read(&own, &own), None, "a question is no answer");
    }

    #[test]
    fn names_that_cannot_be_asked_for_are_refused() {
        let long = format!("{}.test", "x".repeat(64));
        let longer = "abc.".repeat(80) + "test";
        for name in ["", "a..b", long.as_str(), longer.as_str()] {
            assert!(query(1, name, Kind::V4).is_err(), "{name}");
        }
    }
}
