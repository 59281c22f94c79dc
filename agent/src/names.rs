//! Finding hosts by name without the C library.
//!
//! A static binary's `getaddrinfo` may want shared libraries of the very glibc it was linked with, and an image
//! made from scratch has none. This reads `/etc/hosts` and `/etc/resolv.conf`, which ECS and Docker write into every
//! container, and asks the servers there: by UDP, and by TCP when an answer does not fit.
//!
//! Invariant: an answer counts only if it comes from the server that was asked and repeats number and question.

mod message;
mod system;

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use operon_core::agent::{EXIT_CONFIG, LogLevel};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::log::Plain;
use message::{Answer, Kind};
use system::System;

/// Rounds through the servers.
const ROUNDS: usize = 2;
/// How long a server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Asks the servers that the system names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    system: System,
}

impl Names {
    pub(crate) fn of_system() -> Self {
        Self {
            system: System::read(),
        }
    }

    /// The addresses of a name; the error is a sentence for people.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if let Some(found) = self.system.hosts.get(&name) {
            return Ok(found.clone());
        }
        let mut problem = "no server knows it".to_owned();
        for candidate in self.system.candidates(&name) {
            for kind in [Kind::V4, Kind::V6] {
                match self.ask(&candidate, kind).await {
                    Ok(found) if !found.is_empty() => return Ok(found),
                    Ok(_) => {}
                    Err(why) => problem = why,
                }
            }
        }
        Err(format!("`{name}` is not found: {problem}"))
    }

    /// Addresses of one kind; none when there is no such name.
    async fn ask(&self, name: &str, kind: Kind) -> Result<Vec<IpAddr>, String> {
        let mut problem = "/etc/resolv.conf names no server".to_owned();
        for server in std::iter::repeat_n(&self.system.servers, ROUNDS).flatten() {
            #[allow(clippy::cast_possible_truncation, reason = "any 16 bits will do")]
            let id = RandomState::new().hash_one(name) as u16;
            let query = message::query(id, name, kind)?;
            match timeout(ANSWER_MAX, exchange(*server, &query)).await {
                Ok(Ok(Answer::Found(found))) => return Ok(found),
                Ok(Ok(Answer::Unknown)) => return Ok(Vec::new()),
                Ok(Ok(Answer::Refused(code))) => {
                    problem = format!("the server {server} refuses (code {code})");
                }
                Ok(Ok(Answer::Truncated)) => {
                    problem = format!("the server {server} cuts its answer");
                }
                Ok(Err(error)) => problem = format!("the server {server}: {error}"),
                Err(_) => problem = format!("the server {server} does not answer"),
            }
        }
        Err(problem)
    }
}

async fn exchange(server: SocketAddr, query: &[u8]) -> io::Result<Answer> {
    let own = if server.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let socket = UdpSocket::bind(own).await?;
    // Connected: what others send does not arrive.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = [0; 4096];
    let answer = loop {
        let length = socket.recv(&mut buffer).await?;
        // What does not fit the question is of somebody else, or of an earlier one.
        if let Some(answer) = message::read(query, buffer.get(..length).unwrap_or_default()) {
            break answer;
        }
    };
    match answer {
        Answer::Truncated => by_tcp(server, query).await,
        Answer::Found(_) | Answer::Unknown | Answer::Refused(_) => Ok(answer),
    }
}

async fn by_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(query).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    message::read(query, &bytes).ok_or_else(|| io::Error::other("it answers something else"))
}

impl ResolveDns for Names {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            self.addresses(name)
                .await
                .map_err(|why| ResolveDnsError::new(io::Error::other(why)))
        })
    }
}

/// Shows the addresses of a name; the exit code says whether there are any.
pub(crate) async fn show(name: &str) -> i32 {
    let mut log = Plain::stdout();
    match Names::of_system().addresses(name).await {
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            log.note(LogLevel::Info, &addresses.join(" "));
            0
        }
        Err(why) => {
            log.note(LogLevel::Error, &why);
            EXIT_CONFIG
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    /// A server that answers `bucket.s3.test` with 192.0.2.7, and cuts the answer by UDP if it is told to.
    async fn server(cuts: bool) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let query = &buffer[..length];
                // A stranger's answer comes first, and must not count.
                let mut strange = message::testing::answer(query, "192.0.2.66");
                strange[0] ^= 1;
                socket.send_to(&strange, from).await.unwrap();
                let mut answer = message::testing::answer(query, "192.0.2.7");
                if cuts {
                    answer[2] |= 2;
                }
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut query = vec![0; usize::from(length)];
                stream.read_exact(&mut query).await.unwrap();
                let answer = message::testing::answer(&query, "192.0.2.8");
                stream
                    .write_u16(u16::try_from(answer.len()).unwrap())
                    .await
                    .unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        address
    }

    fn names(servers: Vec<SocketAddr>) -> Names {
        let mut system = System::of("127.0.0.9 own.test", "search s3.test\n");
        system.servers = servers;
        Names { system }
    }

    #[tokio::test]
    async fn the_servers_are_asked_and_strangers_are_not_believed() {
        let names = names(vec![server(false).await]);
        for name in ["bucket.s3.test", "BUCKET.s3.test.", "bucket"] {
            assert_eq!(
                names.addresses(name).await.unwrap(),
                ["192.0.2.7".parse::<IpAddr>().unwrap()]
            );
        }
        let error = names.addresses("gone.s3.test").await.unwrap_err();
        assert!(error.contains("gone.s3.test"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_is_asked_for_again_by_tcp() {
        let names = names(vec![server(true).await]);
        let found = names.addresses("bucket.s3.test").await.unwrap();
        assert_eq!(found, ["192.0.2.8".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn some_names_need_no_server() {
        let names = names(Vec::new());
        assert_eq!(names.addresses("own.test").await.unwrap().len(), 1);
        assert_eq!(names.addresses("localhost").await.unwrap().len(), 2);
        assert_eq!(names.addresses("::1").await.unwrap().len(), 1);
        let error = names.addresses("bucket.s3.test").await.unwrap_err();
        assert!(error.contains("/etc/resolv.conf"), "{error}");
    }
}
