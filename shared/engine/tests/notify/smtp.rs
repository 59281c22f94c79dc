//! E-mail by a real SMTP dialogue: a server in this process, which says what it was told.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use operon_engine::ports::{Email, Messages as _};
use operon_engine::smtp::SmtpMessages;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::world::World;

/// A message as the server took it.
#[derive(Debug, Clone, Default)]
struct Taken {
    from: String,
    to: Vec<String>,
    data: String,
    login: Option<String>,
}

struct Smtp {
    port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Smtp {
    /// A server that refuses the recipient `nobody@…` for good, and everything while `busy`.
    async fn start(busy: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move { serve(stream, &log, busy).await });
            }
        });
        Self { port, taken }
    }

    fn messages(&self, scheme: &str) -> SmtpMessages {
        let url = format!("{scheme}://me:p%40ss@127.0.0.1:{}", self.port);
        SmtpMessages::new(Some(&url), Some("operon@example.org")).unwrap()
    }

    fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, log: &Mutex<Vec<Taken>>, busy: bool) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut mail = Taken::default();
    write.write_all(b"220 test ESMTP\r\n").await.ok()?;
    while let Ok(Some(line)) = lines.next_line().await {
        let upper = line.to_ascii_uppercase();
        let answer = match upper.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
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
                write.write_all(b"354 go on\r\n").await.ok()?;
                while let Some(line) = lines.next_line().await.ok()? {
                    if line == "." {
                        break;
                    }
                    mail.data.push_str(&line);
                    mail.data.push('\n');
                }
                log.lock().unwrap().push(std::mem::take(&mut mail));
                "250 taken\r\n"
            }
            "QUIT" => {
                let _ = write.write_all(b"221 bye\r\n").await;
                return None;
            }
            _ => "250 ok\r\n",
        };
        write.write_all(answer.as_bytes()).await.ok()?;
    }
    None
}

/// The readable text of a message's body.
fn body(data: &str) -> String {
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
}
