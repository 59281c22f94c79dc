//! Which addresses a request may go to.
//!
//! Link-local addresses are where clouds serve credentials to whoever asks (169.254.169.254,
//! 169.254.170.2, `fd00:ec2::254`). A flow whose address is an input must not be a way to them.
//!
//! On Lambda there is one more: the Runtime API on the function's own loopback, from which whoever asks takes the next
//! event away from the function.
//!
//! Invariant: unless the task allows it, no connection is opened to such an address: literal ones are
//! refused in the request and in every redirect, names when they are resolved for the connection itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// EC2's metadata service over IPv6, the only one outside the link-local ranges.
const EC2_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// `host:port` of the Runtime API of Lambda; none elsewhere.
static RUNTIME_API: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var("AWS_LAMBDA_RUNTIME_API").ok());

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
                || inner(ip).any(|ip| ip.is_link_local())
        }
    }
}

/// The IPv4 address within a mapped or compatible address, or one of NAT64 (RFC 6052) or 6to4 (RFC 3056). Of a network's
/// own NAT64 (RFC 8215) only the network knows which of four places it has there.
fn inner(ip: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let bytes = ip.octets();
    let places: &[[usize; 4]] = match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => &[[12, 13, 14, 15]],
        [0x64, 0xff9b, 1, ..] => &[
            [12, 13, 14, 15],
            [6, 7, 9, 10],
            [7, 9, 10, 11],
            [9, 10, 11, 12],
        ],
        [0x2002, ..] => &[[2, 3, 4, 5]],
        _ if ip.to_ipv4().is_some() => &[[12, 13, 14, 15]],
        _ => &[],
    };
    let of = move |place: &[usize; 4]| {
        Ipv4Addr::from(place.map(|at| bytes.get(at).copied().unwrap_or_default()))
    };
    places.iter().map(of)
}

/// Whether a request would go to the Runtime API of this function.
pub(super) fn is_runtime_api(url: &Url) -> bool {
    is_api(url, RUNTIME_API.as_deref())
}

fn is_api(url: &Url, api: Option<&str>) -> bool {
    let Some((host, port)) = api.and_then(|api| api.rsplit_once(':')) else {
        return false;
    };
    let asked = url.host_str().unwrap_or_default();
    let bare = asked.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.trim_end_matches('.');
    let named = bare.eq_ignore_ascii_case(host) || bare.eq_ignore_ascii_case("localhost");
    let itself = |ip: IpAddr| is_own(ip) || Some(plain(ip)) == host.parse().ok().map(plain);
    let own = named || bare.parse().is_ok_and(itself);
    own && url.port_or_known_default() == port.parse().ok()
}

/// Whether an address is that of the Runtime API.
fn is_api_host(ip: IpAddr) -> bool {
    let host = RUNTIME_API.as_deref().and_then(|api| api.rsplit_once(':'));
    host.and_then(|(host, _)| host.parse().ok()).map(plain) == Some(plain(ip))
}

/// The IPv4 address that an IPv6 address wraps, or the address itself.
fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(inside) => inner(inside).next().map_or(ip, IpAddr::V4),
    }
}

/// Whether an address leads to this machine itself, also where IPv6 wraps IPv4.
fn is_own(ip: IpAddr) -> bool {
    let own = |ip: Ipv4Addr| ip.is_loopback() || ip.is_unspecified();
    match ip {
        IpAddr::V4(ip) => own(ip),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || inner(ip).any(own),
    }
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
pub(super) struct GuardedResolver {
    /// Whether the task means such an address. Never the function itself.
    pub(super) allow_link_local: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let allow_link_local = self.allow_link_local;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            // On Lambda no name of somebody else may lead back into the function.
            let own = RUNTIME_API.is_some() && host != "localhost";
            let refused = |ip: IpAddr| {
                is_link_local(ip) && !allow_link_local || own && (is_own(ip) || is_api_host(ip))
            };
            if found.iter().any(|address| refused(address.ip())) {
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
            "[64:ff9b:1::a9fe:a9fe]",
            "[64:ff9b:1:a9fe:a9:fe00::]",
            "[64:ff9b:1:a9:fe:a9fe::]",
            "[64:ff9b:1:0:a9:fea9:fe00:0]",
            "[2002:a9fe:a9fe::1]",
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
            "[2002:a00:1::1]",
            "[64:ff9b:2::a9fe:a9fe]",
            "example.org",
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert!(check(&url).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_function_is_not_asked_for_its_own_work() {
        let api = Some("127.0.0.1:9001");
        let asks = |host: &str, api| {
            let url = Url::parse(&format!("http://{host}/2018-06-01/runtime/invocation/next"));
            is_api(&url.unwrap(), api)
        };
        for host in [
            "127.0.0.1:9001",
            "127.0.0.2:9001",
            "LOCALHOST:9001",
            "localhost.:9001",
            "0.0.0.0:9001",
            "2130706433:9001",
            "[::1]:9001",
            "[::]:9001",
            "[::ffff:127.0.0.1]:9001",
        ] {
            assert!(asks(host, api), "{host}");
            assert!(!asks(host, None), "{host}");
        }
        for host in [
            "127.0.0.1:9002",
            "127.0.0.1",
            "10.0.0.1:9001",
            "example.org:9001",
        ] {
            assert!(!asks(host, api), "{host}");
        }
        assert!(asks("sandbox:9001", Some("sandbox:9001")));
        assert!(asks(
            "[::ffff:169.254.100.1]:9001",
            Some("169.254.100.1:9001")
        ));
        assert!(asks("127.0.0.1", Some("127.0.0.1:80")));
    }

    #[tokio::test]
    async fn a_name_is_refused_by_what_it_resolves_to() {
        // A literal stands for a name here: it resolves to itself without a name server.
        let guard = |allow_link_local| GuardedResolver { allow_link_local };
        let resolve = |name: &str| guard(false).resolve(name.parse().unwrap());
        let meant = guard(true).resolve("169.254.169.254".parse().unwrap());
        assert!(meant.await.is_ok());
        let error = resolve("169.254.169.254").await.map(|_| ()).unwrap_err();
        assert!(error.downcast_ref::<Refused>().is_some());
        assert!(resolve("127.0.0.1").await.is_ok());
    }
}
