//! Connections to `PostgreSQL`, for the trigger and the task.
//!
//! Invariant: a connection is encrypted and its server's certificate is checked, unless the flow says otherwise.

use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_postgres::config::Host;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::hosts::{AddressError, addresses};

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);

/// Reads an address, with or without `jdbc:`. The error is a sentence for people, without the address.
pub(crate) fn address(url: &str) -> Result<tokio_postgres::Config, String> {
    let url = url.strip_prefix("jdbc:").unwrap_or(url);
    let mut config: tokio_postgres::Config = url.parse().map_err(|_| {
        "`url` is not an address such as `postgresql://host:5432/database`".to_owned()
    })?;
    config.connect_timeout(CONNECT).application_name("operon");
    Ok(config)
}

/// Why a host is no database's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// None, or not by name or address.
    #[error("`url` must name a host, and not by `hostaddr` or a socket")]
    Missing,
    /// A name that is not known.
    #[error("the database's host `{host}` is not found: {error}")]
    NotFound {
        /// The name.
        host: String,
        /// Why.
        error: std::io::Error,
    },
    /// Where clouds serve credentials.
    #[error("`{0}` is link-local or serves cloud credentials, and is no database")]
    Refused(String),
}

/// Resolves the hosts, and refuses those where clouds serve credentials: a database must not be a way to them. What was
/// looked at is what is connected to.
pub(crate) async fn guarded(config: &mut tokio_postgres::Config) -> Result<(), HostError> {
    // Each host with its first address, then the others: one host may be reached by any of them.
    let (mut found, mut more) = (Vec::new(), Vec::new());
    let ports = config.get_ports().to_vec();
    for (index, host) in config.get_hosts().iter().enumerate() {
        let Host::Tcp(name) = host else {
            return Err(HostError::Missing);
        };
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let unknown = |error| HostError::NotFound {
            host: name.clone(),
            error,
        };
        let known = addresses(name, port).await.map_err(|error| match error {
            AddressError::NotFound(error) => unknown(error),
            AddressError::NoAddress => unknown(std::io::Error::other("it has no address")),
            AddressError::LinkLocal => HostError::Refused(name.clone()),
        })?;
        let mut known = known.into_iter();
        found.extend(known.next());
        more.extend(known.map(|ip| (name.clone(), port, ip)));
    }
    if found.is_empty() || !config.get_hostaddrs().is_empty() {
        return Err(HostError::Missing);
    }
    for ip in found {
        config.hostaddr(ip);
    }
    for (name, port, ip) in more {
        config.host(&name).hostaddr(ip);
        // One port is that of all hosts.
        if ports.len() > 1 {
            config.port(port);
        }
    }
    Ok(())
}

/// A parameter as text, whatever the type of the column: the database reads it.
#[derive(Debug)]
pub(crate) struct AsText(pub(crate) Option<String>);

impl ToSql for AsText {
    fn to_sql(
        &self,
        _ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_ty: &Type) -> bool {
        true
    }

    fn encode_format(&self, _ty: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

pub(crate) type Driving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type Notified = mpsc::UnboundedReceiver<()>;

/// Connects, encrypted unless the flow says otherwise. Further authorities are believed beside the usual ones.
pub(crate) async fn connect(
    config: &tokio_postgres::Config,
    ssl: bool,
    authorities: &[CertificateDer<'static>],
) -> Result<(Client, Driving, Notified), String> {
    let failed = |error: tokio_postgres::Error| {
        format!("the database cannot be reached: {}", causes(&error))
    };
    let (sender, notified) = mpsc::unbounded_channel();
    if ssl {
        let mut config = config.clone();
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        let (client, connection) = config.connect(tls(authorities)?).await.map_err(failed)?;
        return Ok((client, Box::pin(drive(connection, sender)), notified));
    }
    let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
    Ok((client, Box::pin(drive(connection, sender)), notified))
}

/// Keeps a connection going and tells notifications.
async fn drive<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    notified: mpsc::UnboundedSender<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => {
                // Nobody may want to know.
                let _ = notified.send(());
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Certificates are checked against Mozilla's list of authorities.
fn tls(
    authorities: &[CertificateDer<'static>],
) -> Result<tokio_postgres_rustls::MakeRustlsConnect, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for authority in authorities {
        let added = roots.add(authority.clone());
        added.map_err(|error| format!("the certificate cannot be used: {error}"))?;
    }
    let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(tokio_postgres_rustls::MakeRustlsConnect::new(config))
}

/// The innermost message, which says what the database said.
pub(crate) fn causes(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
