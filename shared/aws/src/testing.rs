//! What servers of tests that stand in for AWS share.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

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

/// What a service answers.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The error's code, where it stands in a header.
    pub(crate) code: &'static str,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            code: "",
            body: body.into(),
        }
    }
}

/// Heads and bodies of the requests so far.
pub(crate) type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// The value of a header of a request, which is none if it is empty.
pub(crate) fn header<'a>(head: &'a str, wanted: &str) -> &'a str {
    let mut pairs = head.lines().filter_map(|line| line.split_once(": "));
    let found = pairs.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map_or("", |(_, value)| value)
}

/// Clients of services that are all at one address, as an emulator has them, and what they ask. Each request must be
/// signed.
pub(crate) async fn server(
    answers: impl Fn(&str, &str) -> Answer + Send + Sync + 'static,
) -> (Sdk, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, answers) = (Asked::default(), Arc::new(answers));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (answers, heard) = (Arc::clone(&answers), Arc::clone(&heard));
            tokio::spawn(async move {
                while let Some((head, body)) = request(&mut socket).await {
                    assert!(header(&head, "authorization").starts_with("AWS4-HMAC-SHA256"));
                    let Answer {
                        status,
                        code,
                        body: said,
                    } = answers(&head, &body);
                    heard.lock().unwrap().push((head, body));
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nx-amzn-errortype: {code}\r\ncontent-length: {}\r\n\r\n{said}",
                        said.len()
                    );
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (sdk(port), asked)
}

/// Head and body of one request; none when nobody sends any more.
async fn request(socket: &mut TcpStream) -> Option<(String, String)> {
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
