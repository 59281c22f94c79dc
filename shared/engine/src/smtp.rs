//! E-mail by SMTP: the installation's server on a laptop, or the one a task names.
//!
//! Invariant: where TLS is asked for, neither a login nor a message is sent before the handshake with a server whose
//! certificate one of Mozilla's authorities, or the installation's own, has signed for that name.
//! Invariant: no connection is opened to where clouds serve credentials: a flow may name the server.

use std::net::IpAddr;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::hosts::{AddressError, addresses};
use crate::ports::{Email, MESSAGE_BYTES_MAX, MailServer, MailTls, MessageError, Messages};

/// Sends by SMTP; publishes to no topics.
#[derive(Debug, Clone, Default)]
pub struct SmtpMessages {
    server: Option<MailServer>,
    from: Option<String>,
    authority: Option<Certificate>,
}

impl SmtpMessages {
    /// Reads `smtp://user:password@host:port` (`smtps://` for TLS from the start, `smtp+starttls://`) and the sender.
    ///
    /// Fails with what is wrong with the address, never with its password.
    pub fn new(url: Option<&str>, from: Option<&str>) -> Result<Self, String> {
        Ok(Self {
            server: url.map(server).transpose()?,
            from: from.map(str::to_owned),
            authority: None,
        })
    }

    /// Believes certificates that these authorities signed (PEM), beside Mozilla's.
    pub fn with_authority(mut self, pem: &[u8]) -> Result<Self, String> {
        let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        if !read.is_ok_and(|certificates| !certificates.is_empty()) {
            return Err(
                "there is no certificate in it; write PEM, `-----BEGIN CERTIFICATE-----`"
                    .to_owned(),
            );
        }
        let authority = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
        self.authority = Some(authority);
        Ok(self)
    }
}

fn server(text: &str) -> Result<MailServer, String> {
    const FORM: &str = "write OPERON_SMTP_URL as `smtps://user:password@host:port`";
    let url = reqwest::Url::parse(text).map_err(|error| {
        format!("the address of the mail server is not valid ({error}); {FORM}")
    })?;
    let tls = match url.scheme() {
        "smtp" => MailTls::None,
        "smtps" => MailTls::Wrapped,
        "smtp+starttls" => MailTls::Starttls,
        other => {
            return Err(format!(
                "`{other}` is no way to reach a mail server; {FORM}"
            ));
        }
    };
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let login = url
        .password()
        .map(|password| (decode(url.username()), decode(password)));
    Ok(MailServer {
        host: url
            .host_str()
            .ok_or_else(|| format!("the address of the mail server has no host; {FORM}"))?
            .to_owned(),
        port: url.port(),
        tls,
        login,
    })
}

fn mailbox(text: &str) -> Result<Mailbox, MessageError> {
    text.trim()
        .parse()
        .map_err(|error| MessageError::Invalid(format!("`{text}` is no e-mail address: {error}")))
}

/// The message as it is sent.
pub fn compose(email: &Email, default_from: Option<&str>) -> Result<Message, MessageError> {
    let from = email.from.as_deref().or(default_from).ok_or_else(|| {
        MessageError::Invalid(
            "the message has no sender; write `from`, or set OPERON_MAIL_FROM".to_owned(),
        )
    })?;
    if email.text.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::Invalid(format!(
            "the message has {} bytes; at most {MESSAGE_BYTES_MAX} are sent",
            email.text.len()
        )));
    }
    if email.to.is_empty() {
        return Err(MessageError::Invalid(
            "the message goes to nobody; write `to`".to_owned(),
        ));
    }
    let mut builder = Message::builder()
        .from(mailbox(from)?)
        .subject(email.subject.replace(['\r', '\n'], " "));
    for to in &email.to {
        builder = builder.to(mailbox(to)?);
    }
    for cc in &email.cc {
        builder = builder.cc(mailbox(cc)?);
    }
    builder
        .body(email.text.clone())
        .map_err(|error| MessageError::Invalid(format!("the message is not valid: {error}")))
}

/// Where to connect to: what was looked at is what is connected to. IPv4 first, which fewer machines lack.
async fn address(host: &str, port: u16) -> Result<IpAddr, MessageError> {
    let unaddressed = || MessageError::Failed(format!("the mail server `{host}` has no address"));
    let found = addresses(host, port).await.map_err(|error| match error {
        AddressError::NotFound(error) => {
            MessageError::Failed(format!("the mail server `{host}` is not found: {error}"))
        }
        AddressError::NoAddress => unaddressed(),
        AddressError::LinkLocal => MessageError::Invalid(format!(
            "`{host}` is link-local or serves cloud credentials, and is no mail server"
        )),
    })?;
    let first = found.into_iter().min_by_key(IpAddr::is_ipv6);
    first.ok_or_else(unaddressed)
}

async fn transport(
    server: &MailServer,
    authority: Option<&Certificate>,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, MessageError> {
    let parameters = || {
        let mut parameters = TlsParameters::builder(server.host.clone());
        if let Some(authority) = authority {
            parameters = parameters.add_root_certificate(authority.clone());
        }
        parameters
            .build()
            .map_err(|error| MessageError::Failed(format!("TLS cannot be used: {error}")))
    };
    let (tls, port) = match server.tls {
        MailTls::None => (Tls::None, 25),
        MailTls::Wrapped => (Tls::Wrapper(parameters()?), 465),
        MailTls::Starttls => (Tls::Required(parameters()?), 587),
    };
    let port = server.port.unwrap_or(port);
    let ip = address(&server.host, port).await?;
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(ip.to_string())
        .port(port)
        .tls(tls)
        .timeout(Some(std::time::Duration::from_secs(30)));
    if let Some((user, password)) = &server.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
    }
    Ok(builder.build())
}

#[async_trait]
impl Messages for SmtpMessages {
    async fn email(&self, email: &Email) -> Result<(), MessageError> {
        let message = compose(email, self.from.as_deref())?;
        let server = email.server.as_ref().or(self.server.as_ref());
        let server = server.ok_or_else(|| {
            MessageError::Unavailable(
                "no mail server is known; set OPERON_SMTP_URL, or write `host` on the task"
                    .to_owned(),
            )
        })?;
        let sent = transport(server, self.authority.as_ref())
            .await?
            .send(message)
            .await;
        sent.map(drop).map_err(|error| {
            let text = format!(
                "the mail server {} refused the message: {error}",
                server.host
            );
            if error.is_permanent() {
                MessageError::Invalid(text)
            } else {
                MessageError::Failed(text)
            }
        })
    }

    async fn publish(&self, _: &str, _: Option<&str>, _: &str) -> Result<String, MessageError> {
        Err(MessageError::Unavailable(
            "this installation publishes to no topics: that needs a deployment on AWS".to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn email() -> Email {
        Email {
            from: None,
            to: vec!["ops@example.org".to_owned()],
            cc: vec![],
            subject: "one\r\nBcc: all@example.org".to_owned(),
            text: "text".to_owned(),
            server: None,
        }
    }

    #[test]
    fn an_address_of_a_server_is_read_and_its_password_never_shown() {
        let read = server("smtps://me:p%40ss@mail.example.org:2465").unwrap();
        assert_eq!(read.login, Some(("me".to_owned(), "p@ss".to_owned())));
        assert_eq!((read.port, read.tls), (Some(2465), MailTls::Wrapped));
        assert!(!format!("{read:?}").contains("p@ss"));
        assert!(server("https://example.org").is_err());
    }

    #[tokio::test]
    async fn a_server_that_serves_credentials_is_refused() {
        for host in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.170.2"] {
            let server = MailServer {
                host: host.to_owned(),
                port: Some(25),
                tls: MailTls::None,
                login: None,
            };
            let mail = Email {
                from: Some("a@example.org".to_owned()),
                server: Some(server),
                ..email()
            };
            let refused = SmtpMessages::default().email(&mail).await.unwrap_err();
            assert!(refused.to_string().contains("no mail server"), "{refused}");
        }
    }

    #[test]
    fn a_subject_cannot_add_headers() {
        let message = compose(&email(), Some("operon@example.org")).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.contains("\r\nBcc:"));
    }

    #[test]
    fn a_message_needs_a_sender_an_address_and_a_bound() {
        assert!(compose(&email(), None).is_err());
        let nobody = Email {
            to: vec![],
            ..email()
        };
        assert!(compose(&nobody, Some("a@example.org")).is_err());
        let long = Email {
            text: "x".repeat(MESSAGE_BYTES_MAX + 1),
            ..email()
        };
        assert!(compose(&long, Some("a@example.org")).is_err());
    }
}
