//! Messages to people that need a service of the installation: e-mail and topics.

use async_trait::async_trait;

/// Bytes of one message's text at most: below SNS' 256 KB, and more than anybody reads.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// An e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// Sender; none takes that of the installation.
    pub from: Option<String>,
    /// Addresses, at least one.
    pub to: Vec<String>,
    /// Further addresses.
    pub cc: Vec<String>,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The server to send it by; none takes that of the installation.
    pub server: Option<MailServer>,
}

/// An SMTP server.
#[derive(Clone, PartialEq, Eq)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// Of the server; none takes what is usual for `tls`.
    pub port: Option<u16>,
    /// How it is protected.
    pub tls: MailTls,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl std::fmt::Debug for MailServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        f.debug_struct("MailServer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all: a server on this machine.
    None,
    /// From the start.
    Wrapped,
    /// By STARTTLS.
    Starttls,
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The installation has no such service.
    #[error("{0}")]
    Unavailable(String),
    /// The message itself is not valid; trying again does not help.
    #[error("{0}")]
    Invalid(String),
    /// The service did not take it; trying again may help.
    #[error("{0}")]
    Failed(String),
}

/// The installation's services for messages.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Sends e-mail.
    async fn email(&self, email: &Email) -> Result<(), MessageError>;
    /// Publishes to a topic of SNS; the message's id.
    async fn publish(
        &self,
        topic: &str,
        subject: Option<&str>,
        text: &str,
    ) -> Result<String, MessageError>;
}

/// An installation without such services.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMessages;

#[async_trait]
impl Messages for NoMessages {
    async fn email(&self, _: &Email) -> Result<(), MessageError> {
        Err(MessageError::Unavailable(
            "this installation sends no e-mail; set OPERON_SMTP_URL, or write `host` on the task"
                .to_owned(),
        ))
    }

    async fn publish(&self, _: &str, _: Option<&str>, _: &str) -> Result<String, MessageError> {
        Err(MessageError::Unavailable(
            "this installation publishes to no topics: that needs a deployment on AWS".to_owned(),
        ))
    }
}
