//! Reading JSON from the task metadata endpoint: plain HTTP to a link-local address.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer at most; a task of ten containers has some 20 KiB.
const BYTES_MAX: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{uri}: {why}")]
pub(crate) struct HttpError {
    uri: String,
    why: String,
}

/// The body of a GET that answered 200.
pub(crate) async fn get(uri: &str) -> Result<Bytes, HttpError> {
    let failed = |why: String| HttpError {
        uri: uri.to_owned(),
        why,
    };
    match timeout(ANSWER_MAX, request(uri)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(format!("no answer within {ANSWER_MAX:?}"))),
    }
}

async fn request(text: &str) -> Result<Bytes, String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Uri = text.parse().map_err(|error| say(&error))?;
    let host = uri.host().ok_or("the address has no host")?;
    let authority = uri.authority().map_or(host, |all| all.as_str());
    let port = uri.port_u16().unwrap_or(80);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let get = Request::get(path)
        .header(header::HOST, authority)
        .body(Empty::<Bytes>::new())
        .map_err(|error| say(&error))?;
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| say(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| say(&error))?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let answer = sender
            .send_request(get)
            .await
            .map_err(|error| say(&error))?;
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), BYTES_MAX).collect().await;
        Ok(body.map_err(|error| say(&error))?.to_bytes())
    }
    .await;
    driver.abort();
    answer
}
