//! Which addresses a request may go to.
//!
//! Link-local addresses are where clouds serve credentials to whoever asks (169.254.169.254,
//! 169.254.170.2, `fd00:ec2::254`). A flow whose address is an input must not be a way to them.
//!
//! Invariant: unless the task allows it, no connection is opened to such an address: literal ones are
//! refused in the request and in every redirect, names when they are resolved for the connection itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// EC2's metadata service over IPv6, the only one outside the link-local ranges.
const EC2_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// A refused address.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{host}` is link-local or serves cloud credentials, and requests to it are refused; if it is meant, set \
     `options.allowLinkLocal: true`"
)]
pub(super) struct Refused {
    host: String,
}

/// Whether an address is link-local or a metadata service, also where IPv6 wraps IPv4.
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => {
            ip == EC2_METADATA
                || ip.is_unicast_link_local()
                || inner(ip).is_some_and(|ip| ip.is_link_local())
        }
    }
}

/// The IPv4 address within a mapped, compatible or NAT64 address.
fn inner(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [.., a, b, c, d] = ip.octets();
    if nat64 {
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    ip.to_ipv4()
}

/// Refuses a literal address.
pub(super) fn check(url: &Url) -> Result<(), Refused> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) if is_link_local(ip) => Err(Refused {
            host: bare.to_owned(),
        }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Resolves names, and refuses those that lead to such an address.
pub(super) struct GuardedResolver;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if found.iter().any(|address| is_link_local(address.ip())) {
                return Err(Refused { host }.into());
            }
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn metadata_services_are_refused_in_every_spelling() {
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "0xa9fea9fe",
            "2852039166",
            "[fe80::1]",
            "[febf::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
        ] {
            let url = Url::parse(&format!("http://{host}/latest/meta-data")).unwrap();
            let error = check(&url).expect_err(host);
            assert!(error.to_string().contains("allowLinkLocal"));
        }
        for host in [
            "10.0.0.1",
            "127.0.0.1",
            "[::1]",
            "[fd00:ec2::253]",
            "[fec0::1]",
            "example.org",
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(check(&url).is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_is_refused_by_what_it_resolves_to() {
        // A literal stands for a name here: it resolves to itself without a name server.
        let resolve = |name: &str| GuardedResolver.resolve(name.parse().unwrap());
        let error = resolve("169.254.169.254").await.map(|_| ()).unwrap_err();
        assert!(error.downcast_ref::<Refused>().is_some());
        assert!(resolve("127.0.0.1").await.is_ok());
    }
}
