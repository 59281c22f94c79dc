//! What servers of tests that stand in for AWS share.

#![allow(clippy::unwrap_used, reason = "tests")]

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::sdk::{Sdk, http_client};

/// Clients that speak to a port of this machine.
pub(crate) fn sdk(port: u16) -> Sdk {
    let key = Credentials::new("AKID", "key", None, None, "test");
    let config = SdkConfig::builder()
        .http_client(http_client())
        .credentials_provider(SharedCredentialsProvider::new(key))
        .region(aws_config::Region::new("eu-central-1"))
        .behavior_version(aws_config::BehaviorVersion::latest())
        .endpoint_url(format!("http://127.0.0.1:{port}"))
        .build();
    Sdk::new(config)
}

/// Head and body of one request; none when nobody sends any more.
pub(crate) async fn request(socket: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let read = socket.read_buf(&mut bytes).await.ok();
        read.filter(|read| *read > 0)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let lower = head.to_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.trim().parse().unwrap());
        if body.len() >= length {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}
