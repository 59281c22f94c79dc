//! A client of the HTTP interface: the same for a server on this machine and for one on AWS.
//!
//! Invariant: a token is never part of an address, a message or a log. Invariant: an answer has a size limit.

mod contexts;
mod events;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use operon_aws::signed::Signer;
use reqwest::header::{HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::exit::Usage;

pub(crate) use contexts::{Contexts, Entry, LOCAL, Target, region_of};
pub(crate) use events::Events;

/// Bytes of an answer at most.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take; streams are not answers.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The server cannot be reached, or not as whom we come; asking again may help.
#[derive(Debug)]
pub(crate) struct Lost(String);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

/// What a server says went wrong.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// In words.
    pub(crate) title: String,
    /// What exactly, and what to do.
    pub(crate) detail: String,
    /// Findings in a flow, or wrong inputs.
    pub(crate) errors: Vec<Value>,
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    target: Target,
    /// Made when the first request is signed.
    signer: Arc<OnceCell<Signer>>,
}

impl Client {
    /// A client of the server that a context, the environment or a running server of the state directory names.
    pub(crate) fn choose(context: Option<&str>, state: &Path) -> anyhow::Result<Self> {
        let target = Contexts::target(context, state)?;
        target.map_or_else(
            || {
                Err(Usage::new("there is no server to ask")
                    .help(
                        "start one with `operon server`, or name one with `operon context add NAME URL` and `--context NAME`",
                    )
                    .into())
            },
            Self::of,
        )
    }

    /// A client of a server.
    pub(crate) fn of(target: Target) -> anyhow::Result<Self> {
        let http = operon_engine::tls::http_client()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .build()
            .context("no HTTP client can be made")?;
        Ok(Self {
            http,
            target,
            signer: Arc::default(),
        })
    }

    /// Whether both ask the same server as the same caller.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.target == other.target
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> &str {
        &self.target.url
    }

    /// A request for a path such as `/executions`, to which a body and a query may be added.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1{path}", self.target.url.trim_end_matches('/'));
        let request = self.http.request(method, url);
        match &self.target.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Asks and reads the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> anyhow::Result<T> {
        let bytes = self.bytes(request).await?;
        let bytes = if bytes.is_empty() {
            b"null".to_vec()
        } else {
            bytes
        };
        serde_json::from_slice(&bytes)
            .context("the server's answer is not what this release understands")
    }

    /// Asks and reads the answer as it is.
    pub(crate) async fn bytes(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let mut answer = self.send(request.timeout(TIMEOUT)).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.lost(&error))? {
            if bytes.len() + chunk.len() > ANSWER_MAX {
                anyhow::bail!("the server's answer has more than {ANSWER_MAX} bytes");
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// Asks for a file, to be read as it comes. One that is elsewhere is read there: its address says that the caller
    /// may, and it is told nothing else of the caller.
    pub(crate) async fn download(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = self.answer(request).await?;
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return self.good(answer).await;
        }
        let place = answer.headers().get(LOCATION);
        let place = place.and_then(|place| place.to_str().ok());
        let place = place.context("the server names no place for the file")?;
        let there = answer.url().join(place);
        let there = there.context("the server names a place for the file that is no address")?;
        let elsewhere = self.http.get(there).send().await;
        // Neither the error nor the address: the address is all that is needed to read the file.
        let elsewhere = elsewhere.map_err(|_| {
            Lost("the place of the file, which the server named, cannot be reached".to_owned())
        })?;
        let status = elsewhere.status();
        if status.is_success() {
            return Ok(elsewhere);
        }
        Err(Lost(format!(
            "the place of the file, which the server named, answered {status}; ask again"
        ))
        .into())
    }

    /// `GET` of a path with a query.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let path = with_query(path, query);
        self.ask(self.request(Method::GET, &path)).await
    }

    /// `POST` of JSON to a path.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<T> {
        self.ask(self.request(Method::POST, path).json(body)).await
    }

    /// Events of a path, as they come.
    pub(crate) async fn events(
        &self,
        path: &str,
        query: &[(&str, String)],
        last: Option<&str>,
    ) -> anyhow::Result<Events> {
        let mut request = self.request(Method::GET, &with_query(path, query));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Ok(Events::new(self.send(request).await?))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = self.answer(request).await?;
        self.good(answer).await
    }

    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let mut request = request.build().context("the request cannot be made")?;
        if let Some(region) = &self.target.signed_for {
            self.sign(&mut request, region).await?;
        }
        let answer = self.http.execute(request).await;
        answer.map_err(|error| self.lost(&error))
    }

    async fn good(&self, answer: Response) -> anyhow::Result<Response> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.bytes().await.unwrap_or_default();
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
        Err(self.refused(status, &problem))
    }

    /// Signs a request with the caller's AWS credentials, as the address of a function asks for it.
    async fn sign(&self, request: &mut reqwest::Request, region: &str) -> anyhow::Result<()> {
        let signer = self
            .signer
            .get_or_try_init(async || {
                let sdk = operon_aws::Sdk::load().await;
                Signer::new(sdk.config(), Some(region))
            })
            .await
            .map_err(|error| Usage::new(error.to_string()))?;
        let body = match request.body() {
            None => &[],
            Some(body) => body
                .as_bytes()
                .context("a body that is not known before it is sent cannot be signed")?,
        };
        let (method, url) = (request.method().as_str(), request.url().as_str());
        let now = std::time::SystemTime::now();
        let headers = signer.headers("lambda", None, (method, url, &[], body), now);
        let headers = headers
            .await
            .map_err(|error| Usage::new(error.to_string()))?;
        for (name, value) in headers {
            let name: HeaderName = name.parse().context("a signature's header")?;
            let mut value = HeaderValue::from_str(&value).context("a signature")?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }

    fn lost(&self, error: &reqwest::Error) -> anyhow::Error {
        let url = &self.target.url;
        // Not the error's own text: it may hold the whole address.
        let what = if error.is_timeout() {
            "does not answer in time"
        } else if error.is_connect() {
            "cannot be reached"
        } else {
            "broke off"
        };
        Lost(format!(
            "the server at {url} {what}; is it running, and is the address right?"
        ))
        .into()
    }

    fn refused(&self, status: StatusCode, problem: &Problem) -> anyhow::Error {
        let mut text = if problem.detail.is_empty() {
            format!("the server at {} answered {status}", self.target.url)
        } else {
            problem.detail.clone()
        };
        for error in &problem.errors {
            let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
            let line = error
                .get("line")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            let place = if line > 0 {
                format!("line {line}: ")
            } else {
                String::new()
            };
            text.push_str("\n  ");
            text.push_str(&place);
            text.push_str(&[field("rule"), field("message")].join(" "));
        }
        if status.is_client_error() {
            let usage = Usage::new(text);
            return match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
                    if self.target.signed_for.is_some() && problem.detail.is_empty() =>
                {
                    usage
                        .help("your credentials need `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction` on the function `api`; `aws sts get-caller-identity` says who you are")
                        .into()
                }
                StatusCode::UNAUTHORIZED => usage
                    .help("`operon context add NAME URL --token-file FILE`, or the variable OPERON_TOKEN, gives a token")
                    .into(),
                _ => usage.into(),
            };
        }
        Lost(text).into()
    }
}

/// A path with a query string.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .map(|(key, value)| format!("{key}={}", part(value)))
        .collect();
    if pairs.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", pairs.join("&"))
    }
}

/// A part of a path, or a value of a query.
pub(crate) fn part(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    #[test]
    fn parts_of_a_path_are_one_part() {
        assert_eq!(part("a.b/c d?é"), "a.b%2Fc%20d%3F%C3%A9");
    }

    /// A server that gives these answers, one to each connection; what it was asked.
    fn serving(answers: Vec<String>) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (told, asked) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut bytes = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    let read = stream.read(&mut bytes).unwrap();
                    request.extend_from_slice(&bytes[..read]);
                }
                told.send(String::from_utf8(request).unwrap()).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, asked)
    }

    fn answer(status: &str, header: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{header}\r\n{body}"
        )
    }

    fn client(url: &str) -> Client {
        Client::of(Target {
            url: url.to_owned(),
            token: Some("correct-horse".to_owned()),
            signed_for: None,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_file_elsewhere_is_read_there_and_nothing_of_the_caller_is_told() {
        let (there, asked_there) = serving(vec![answer("200 OK", "", "ACGT")]);
        let place = format!("location: {there}/file?signature=x\r\n");
        let (url, asked) = serving(vec![answer("307 Temporary Redirect", &place, "")]);
        let client = client(&url);
        let request = client.request(Method::GET, "/artifacts/download?uri=x");
        let file = client.download(request).await.unwrap();
        assert_eq!(file.text().await.unwrap(), "ACGT");
        assert!(asked.recv().unwrap().contains("correct-horse"));
        let told = asked_there.recv().unwrap();
        assert!(told.starts_with("GET /file?signature=x "), "{told}");
        assert!(!told.to_lowercase().contains("authorization"), "{told}");
    }

    #[tokio::test]
    async fn a_place_that_refuses_is_not_named() {
        let (there, _asked) = serving(vec![answer("403 Forbidden", "", "no")]);
        let place = format!("location: {there}/file?signature=x\r\n");
        let (url, _asked) = serving(vec![answer("307 Temporary Redirect", &place, "")]);
        let client = client(&url);
        let request = client.request(Method::GET, "/artifacts/download?uri=x");
        let error = client.download(request).await.unwrap_err().to_string();
        assert!(error.contains("403"), "{error}");
        assert!(!error.contains("signature"), "{error}");
    }

    #[tokio::test]
    async fn a_list_is_read_page_by_page_up_to_what_is_wanted() {
        let rows = |from: usize, to: usize, next: &str| {
            let items: Vec<String> = (from..to).map(|row| row.to_string()).collect();
            let body = format!("{{\"items\": [{}], \"next\": {next}}}", items.join(","));
            answer("200 OK", "content-type: application/json\r\n", &body)
        };
        let (url, asked) = serving(vec![
            rows(0, 1000, "\"a\""),
            rows(1000, 2000, "\"b\""),
            rows(2000, 2500, "\"c\""),
        ]);
        let up_to = crate::commands::up_to;
        let list = up_to(&client(&url), "/executions", &[], 2500)
            .await
            .unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 2500);
        assert_eq!(list["next"], "c");
        let asked: Vec<String> = asked.into_iter().collect();
        let wanted = ["limit=1000 ", "limit=1000&cursor=a ", "limit=500&cursor=b "];
        for (asked, wanted) in asked.iter().zip(wanted) {
            assert!(asked.contains(wanted), "{asked}");
        }
    }
}
