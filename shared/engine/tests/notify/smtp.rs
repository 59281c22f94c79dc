//! E-mail by a real SMTP dialogue: a server in this process, which says what it was told.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use operon_engine::ports::{Email, Messages as _};
use operon_engine::smtp::SmtpMessages;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::world::World;

/// A message as the server took it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
    pub(crate) login: Option<String>,
    /// After a handshake.
    inside: bool,
}

/// What a server does about encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    /// It knows of none.
    Nothing,
    /// It offers STARTTLS and does it.
    Handshake,
    /// It offers STARTTLS and refuses it.
    Refusal,
}

#[derive(Default)]
struct Log {
    taken: Mutex<Vec<Taken>>,
    /// Lines before a handshake.
    clear: Mutex<Vec<String>>,
}

pub(crate) struct Smtp {
    pub(crate) port: u16,
    log: Arc<Log>,
}

impl Smtp {
    /// A server that refuses the recipient `nobody@…` for good, and everything while `busy`.
    pub(crate) async fn start(busy: bool) -> Self {
        Self::begin(busy, Offer::Nothing).await
    }

    async fn start_with(offer: Offer) -> Self {
        Self::begin(false, offer).await
    }

    async fn begin(busy: bool, offer: Offer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::<Log>::default();
        let (acceptor, kept) = (acceptor(), Arc::clone(&log));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, acceptor) = (Arc::clone(&kept), acceptor.clone());
                tokio::spawn(async move {
                    let mut clear = BufReader::new(stream);
                    if serve(&mut clear, &log, busy, Some(offer)).await == After::Handshake {
                        let inside = acceptor.accept(clear.into_inner()).await;
                        if let Ok(stream) = inside {
                            serve(&mut BufReader::new(stream), &log, busy, None).await;
                        }
                    }
                });
            }
        });
        Self { port, log }
    }

    pub(crate) fn messages(&self, scheme: &str) -> SmtpMessages {
        let url = format!("{scheme}://me:p%40ss@127.0.0.1:{}", self.port);
        SmtpMessages::new(Some(&url), Some("operon@example.org")).unwrap()
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.log.taken.lock().unwrap().clone()
    }

    fn clear(&self) -> Vec<String> {
        self.log.clear.lock().unwrap().clone()
    }
}

fn acceptor() -> tokio_rustls::TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(operon_engine::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    End,
    Handshake,
}

/// `clear`: before a handshake, and what is offered there.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    log: &Log,
    busy: bool,
    clear: Option<Offer>,
) -> After {
    let mut mail = Taken::default();
    if clear.is_some() && stream.write_all(b"220 test ESMTP\r\n").await.is_err() {
        return After::End;
    }
    loop {
        // A handshake of its own accord: there is nothing to say.
        if clear.is_some()
            && stream
                .fill_buf()
                .await
                .is_ok_and(|begin| begin.first() == Some(&0x16))
        {
            return After::End;
        }
        let mut bytes = Vec::new();
        if !matches!(stream.read_until(b'\n', &mut bytes).await, Ok(read) if read > 0) {
            return After::End;
        }
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if clear.is_some() {
            log.clear.lock().unwrap().push(line.clone());
        }
        let upper = line.to_ascii_uppercase();
        let answer = match upper.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" if matches!(clear, Some(Offer::Handshake | Offer::Refusal)) => {
                "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
            }
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
            "STARTTLS" if clear == Some(Offer::Handshake) => {
                return match stream.write_all(b"220 go on\r\n").await {
                    Ok(()) => After::Handshake,
                    Err(_) => After::End,
                };
            }
            "STARTTLS" => "454 not now\r\n",
            "AUTH" => {
                mail.login = line.split(' ').nth(2).map(str::to_owned);
                "235 welcome\r\n"
            }
            "MAIL" if busy => "451 later\r\n",
            "MAIL" => {
                line.clone_into(&mut mail.from);
                "250 ok\r\n"
            }
            "RCPT" if line.contains("nobody@") => "550 no such user\r\n",
            "RCPT" => {
                mail.to.push(line.clone());
                "250 ok\r\n"
            }
            "DATA" => {
                let mut lines = Vec::new();
                let asked = stream.write_all(b"354 go on\r\n").await;
                while asked.is_ok() && !lines.ends_with(b"\r\n.\r\n") {
                    if !matches!(stream.read_until(b'\n', &mut lines).await, Ok(read) if read > 0) {
                        return After::End;
                    }
                }
                let text = String::from_utf8_lossy(&lines).replace("\r\n", "\n");
                text.strip_suffix(".\n").unwrap().clone_into(&mut mail.data);
                mail.inside = clear.is_none();
                let login = mail.login.clone();
                log.taken.lock().unwrap().push(std::mem::take(&mut mail));
                mail.login = login;
                "250 taken\r\n"
            }
            "QUIT" => {
                let _ = stream.write_all(b"221 bye\r\n").await;
                return After::End;
            }
            _ => "250 ok\r\n",
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return After::End;
        }
    }
}

/// The readable text of a message's body.
pub(crate) fn body(data: &str) -> String {
    let (head, body) = data.split_once("\n\n").unwrap();
    if head.contains("base64") {
        let packed: String = body.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(packed)
            .unwrap();
        return String::from_utf8(bytes).unwrap();
    }
    body.replace("=\n", "").replace("=3D", "=")
}

const NOTIFY: &str = "notify: [{id: ops, email: {to: [ops@example.org, lab@example.org]}}]\n";

fn world(rest: &str, smtp: SmtpMessages) -> World {
    let mut world = World::new(rest, "");
    world.evaluator.ports.messages = Arc::new(smtp);
    world
}

#[tokio::test]
async fn an_alert_reaches_every_recipient_with_its_reason() {
    let server = Smtp::start(false).await;
    let world = world(NOTIFY, server.messages("smtp"));
    world.end("e1", "FAILED").await;
    world.end("e2", "SUCCESS").await;
    let [failed, recovered] = server.taken().try_into().unwrap();
    assert!(
        failed.from.contains("<operon@example.org>"),
        "{}",
        failed.from
    );
    assert_eq!(failed.to.len(), 2);
    for (to, address) in failed
        .to
        .iter()
        .zip(["<ops@example.org>", "<lab@example.org>"])
    {
        assert!(to.contains(address), "{to}");
    }
    let login = base64::engine::general_purpose::STANDARD.encode("\0me\0p@ss");
    assert_eq!(failed.login, Some(login));
    assert!(
        failed
            .data
            .contains("Subject: genomics/processing (mpox) failed"),
        "{}",
        failed.data
    );
    let text = body(&failed.data);
    for part in [
        "Task: qc[3]",
        "Reason: out of memory",
        "Message: used more than 2 GB",
        "Link: https://operon.example.org/executions/e1",
        "line 29 <b>",
    ] {
        assert!(text.contains(part), "`{part}` is not told: {text}");
    }
    assert!(
        recovered.data.contains("recovered after 1 failure"),
        "{}",
        recovered.data
    );
}

#[tokio::test]
async fn a_refusal_is_visible_and_a_passing_one_is_tried_again() {
    let server = Smtp::start(true).await;
    let world = world(NOTIFY, server.messages("smtp"));
    world.end("e1", "FAILED").await;
    let [incident] = world.incidents().await.try_into().unwrap();
    assert_eq!((incident.delivery.sent, incident.delivery.failed), (0, 1));
    let error = incident.delivery.error.unwrap();
    assert!(
        error.contains("127.0.0.1") && error.contains("451"),
        "{error}"
    );
    assert!(!error.contains("p@ss"), "{error}");
    world.memory.clock.advance(30_000);
    assert_eq!(world.deliver().await.failed, 1);
}

#[tokio::test]
async fn a_recipient_that_does_not_exist_is_said() {
    let server = Smtp::start(false).await;
    let email = Email {
        from: None,
        to: vec!["nobody@example.org".to_owned()],
        cc: vec![],
        subject: "hello".to_owned(),
        text: "text".to_owned(),
        server: None,
    };
    let error = server.messages("smtp").email(&email).await.unwrap_err();
    assert!(error.to_string().contains("no such user"), "{error}");
    assert!(server.taken().is_empty());
}

/// What is said before the handshake: nothing that names a person or a key.
fn said_nothing(clear: &[String]) {
    for line in clear {
        let verb = line.split(' ').next().unwrap_or_default();
        assert!(
            matches!(verb, "EHLO" | "STARTTLS" | "QUIT" | "RSET"),
            "in the clear: {clear:?}"
        );
    }
}

#[tokio::test]
async fn nothing_goes_in_the_clear_where_encryption_is_asked_for() {
    let server = Smtp::start(false).await;
    for scheme in ["smtp+starttls", "smtps"] {
        let world = world(NOTIFY, server.messages(scheme));
        world.end("e1", "FAILED").await;
        let [incident] = world.incidents().await.try_into().unwrap();
        assert_eq!(incident.delivery.failed, 1, "{scheme}");
        assert!(incident.delivery.error.is_some());
    }
    assert!(server.taken().is_empty(), "the server offers no STARTTLS");
    said_nothing(&server.clear());
}

fn fixture(name: &str) -> std::path::PathBuf {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/fixtures/tls").join(name)
}

fn trusting(server: &Smtp, scheme: &str) -> SmtpMessages {
    let authority = std::fs::read(fixture("authority.pem")).unwrap();
    let messages = server.messages(scheme);
    messages.with_authority(&authority).unwrap()
}

#[tokio::test]
async fn a_message_goes_through_a_handshake_and_the_login_with_it() {
    let server = Smtp::start_with(Offer::Handshake).await;
    let world = world(NOTIFY, trusting(&server, "smtp+starttls"));
    world.end("e1", "FAILED").await;
    let [failed] = server.taken().try_into().unwrap();
    assert!(failed.inside, "{failed:?}");
    assert!(failed.data.contains("Subject: genomics/processing"));
    let login = base64::engine::general_purpose::STANDARD.encode("\0me\0p@ss");
    assert_eq!(failed.login, Some(login));
    let clear = server.clear();
    said_nothing(&clear);
    assert!(clear.contains(&"STARTTLS".to_owned()), "{clear:?}");
    let [incident] = world.incidents().await.try_into().unwrap();
    assert_eq!((incident.delivery.sent, incident.delivery.failed), (1, 0));
}

#[tokio::test]
async fn a_server_that_refuses_the_handshake_or_is_a_stranger_gets_nothing() {
    for (offer, trusted) in [(Offer::Refusal, true), (Offer::Handshake, false)] {
        let server = Smtp::start_with(offer).await;
        let messages = if trusted {
            trusting(&server, "smtp+starttls")
        } else {
            server.messages("smtp+starttls")
        };
        let world = world(NOTIFY, messages);
        world.end("e1", "FAILED").await;
        let [incident] = world.incidents().await.try_into().unwrap();
        let error = incident.delivery.error.unwrap();
        let said = if trusted { "454" } else { "certificate" };
        assert!(error.to_lowercase().contains(said), "{error}");
        assert_eq!((incident.delivery.sent, incident.delivery.failed), (0, 1));
        assert!(server.taken().is_empty());
        said_nothing(&server.clear());
    }
}

#[test]
fn what_is_no_certificate_is_no_authority() {
    let messages = SmtpMessages::new(Some("smtps://mail.example.org"), None).unwrap();
    for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA"] {
        let error = messages
            .clone()
            .with_authority(text.as_bytes())
            .unwrap_err();
        assert!(error.contains("no certificate"), "{error}");
    }
}
