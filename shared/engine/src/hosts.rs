//! Where a server is that a flow names: a database, a mail server.
//!
//! Invariant: it is no way to where clouds serve credentials. Who connects, connects to what was looked at here.

use std::io;
use std::net::IpAddr;

use crate::tasks::http::is_link_local;

/// Why a name leads to no server.
#[derive(Debug)]
pub(crate) enum AddressError {
    /// It is not known.
    NotFound(io::Error),
    /// It is known and has no address.
    NoAddress,
    /// It is where clouds serve credentials.
    LinkLocal,
}

/// All addresses of a host, one at least.
pub(crate) async fn addresses(host: &str, port: u16) -> Result<Vec<IpAddr>, AddressError> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(AddressError::NotFound)?;
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    if found.is_empty() {
        Err(AddressError::NoAddress)
    } else if found.iter().copied().any(is_link_local) {
        Err(AddressError::LinkLocal)
    } else {
        Ok(found)
    }
}
