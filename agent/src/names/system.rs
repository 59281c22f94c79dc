//! What `/etc/hosts` and `/etc/resolv.conf` say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::volume::read_small;

/// Bytes of either file at most.
const BYTES_MAX: u64 = 64 * 1024;
/// Servers and search domains that are used, as in the C library.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 6;

/// How this system finds names.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    pub(super) hosts: BTreeMap<String, Vec<IpAddr>>,
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// Names with that many dots are tried as they are first.
    dots: usize,
}

impl System {
    /// A file that is not there says nothing; then only addresses can be used.
    pub(super) fn read() -> Self {
        let text = |path: &str| {
            // Docker mounts a file; elsewhere it may be a link.
            let path = Path::new(path).canonicalize().ok()?;
            let bytes = read_small(&path, BYTES_MAX).ok()??;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let hosts = text("/etc/hosts").unwrap_or_default();
        Self::of(&hosts, &text("/etc/resolv.conf").unwrap_or_default())
    }

    pub(super) fn of(hosts: &str, conf: &str) -> Self {
        let mut system = Self {
            dots: 1,
            ..Self::default()
        };
        for line in hosts.lines() {
            let mut words = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace();
            let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
            for name in words {
                let known = system.hosts.entry(name.to_ascii_lowercase()).or_default();
                known.extend(address);
            }
        }
        for line in conf.lines() {
            let mut words = line
                .split(['#', ';'])
                .next()
                .unwrap_or_default()
                .split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    system
                        .servers
                        .extend(server.map(|address| SocketAddr::from((address, 53))));
                }
                Some("search" | "domain") => {
                    system.search = words
                        .map(str::to_ascii_lowercase)
                        .take(SEARCH_MAX)
                        .collect();
                }
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    system.dots = dots.unwrap_or(system.dots).min(15);
                }
                _ => {}
            }
        }
        system.servers.truncate(SERVERS_MAX);
        system
    }

    /// The full names that a name may mean, in the order in which they are tried.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        let mut all: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{name}.{}", domain.trim_matches('.')))
            .collect();
        let dots = name.matches('.').count();
        let at = if dots >= self.dots { 0 } else { all.len() };
        all.insert(at, name.to_owned());
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn both_files_are_read() {
        let hosts = "127.0.0.1 localhost\n10.0.0.9 Own own.test # us\n# no\nbad line\n";
        let conf = "; comment\nnameserver 169.254.169.253\nnameserver ::1\nnameserver bad\nnameserver 1.1.1.1\n\
                    nameserver 9.9.9.9\nsearch eu.test internal.\noptions timeout:1 ndots:2\n";
        let system = System::of(hosts, conf);
        assert_eq!(system.hosts["own"], ["10.0.0.9".parse::<IpAddr>().unwrap()]);
        let servers: Vec<String> = system.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["169.254.169.253:53", "[::1]:53", "1.1.1.1:53"]);
        assert_eq!(
            system.candidates("a.b"),
            ["a.b.eu.test", "a.b.internal", "a.b"]
        );
        assert_eq!(system.candidates("a.b.c")[0], "a.b.c");
    }

    #[test]
    fn without_files_names_stand_for_themselves() {
        let system = System::of("", "");
        assert!(system.servers.is_empty());
        assert_eq!(system.candidates("a"), ["a"]);
    }
}
