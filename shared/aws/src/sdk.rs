//! The SDK's configuration, read once, and the clients built from it.
//!
//! Invariant: every request ends within a known time, and is repeated at most [`ATTEMPTS_MAX`] times; what fails then
//! is delivered again by its queue. Nothing here knows an address: endpoints come from the SDK's own variables.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::ConnectorBuilder;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::meter::Meter;

/// Transmissions of one request at most, the first included.
pub const ATTEMPTS_MAX: u32 = 4;
/// Waiting between transmissions at most.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(3);
/// One transmission, answer included; requests are small.
const ATTEMPT: Duration = Duration::from_secs(10);
/// One transmission to S3, which may carry a part of a file.
const S3_ATTEMPT: Duration = Duration::from_mins(2);

/// What all clients share. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Sdk {
    config: SdkConfig,
    meter: Meter,
    path_style: bool,
    /// See [`Self::plain`].
    plain: Arc<OnceLock<reqwest::Client>>,
}

impl Sdk {
    /// Reads region, credentials and endpoints from wherever the SDK finds them.
    pub async fn load() -> Self {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client())
            .retry_config(retries())
            .timeout_config(timeouts(ATTEMPT))
            .load()
            .await;
        Self::new(config)
    }

    /// Reads them from the environment alone, where Lambda puts what a function has. The SDK's search in files and at services
    /// is code that a function would carry for nothing.
    #[must_use]
    pub fn of_function() -> Self {
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let keys = EnvironmentVariableCredentialsProvider::new();
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .service_config(Variables(variable))
            .retry_config(retries())
            .timeout_config(timeouts(ATTEMPT));
        config.set_region(region.map(Region::new));
        config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
        config.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
        config.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
        Self::new(config.build())
    }

    /// Clients over an existing configuration.
    #[must_use]
    pub fn new(config: SdkConfig) -> Self {
        // Host names with the bucket in them lead nowhere on an emulator.
        let path_style =
            config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        Self {
            config,
            meter: Meter::default(),
            path_style,
            plain: Arc::default(),
        }
    }

    /// Counts what all clients of this configuration send.
    #[must_use]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The shared configuration, for clients that are not made here.
    #[must_use]
    pub const fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Where everything is; empty where nobody says.
    #[must_use]
    pub fn region(&self) -> &str {
        self.config.region().map_or("", |region| region.as_ref())
    }

    /// A client of `DynamoDB`.
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config)
            .interceptor(self.meter.interceptor("DynamoDB"));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// A client of S3, with path style where an endpoint is set.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config)
            .interceptor(self.meter.interceptor("S3"))
            .timeout_config(timeouts(S3_ATTEMPT))
            .force_path_style(self.path_style);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// A client of SQS.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::config::Builder::from(&self.config)
            .interceptor(self.meter.interceptor("SQS"));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// A client of ECS.
    #[must_use]
    pub fn ecs(&self) -> aws_sdk_ecs::Client {
        let config = aws_sdk_ecs::config::Builder::from(&self.config)
            .interceptor(self.meter.interceptor("ECS"));
        aws_sdk_ecs::Client::from_conf(config.build())
    }

    /// What carries signed requests to services without a client of their own. It is made when the first is sent: reading
    /// the certificates that a system trusts is a good part of a cold start, and most starts need none of these services.
    pub(crate) fn plain(&self) -> Result<&reqwest::Client, reqwest::Error> {
        if let Some(made) = self.plain.get() {
            return Ok(made);
        }
        let made = operon_engine::tls::http_client()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(self.plain.get_or_init(|| made))
    }
}

/// The SDK's variables for one service, such as `AWS_ENDPOINT_URL_S3`, before those for all.
#[derive(Debug)]
struct Variables(fn(&str) -> Option<String>);

impl LoadServiceConfig for Variables {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_uppercase().replace(' ', "_");
        let own = format!("{}_{service}", key.env());
        (self.0)(&own).or_else(|| (self.0)(key.env()))
    }
}

/// A variable of the environment that is not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// One that is `true` or `false`.
fn flag(name: &str) -> Option<bool> {
    variable(name)?.to_lowercase().parse().ok()
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_max_backoff(BACKOFF_MAX)
}

/// What carries requests.
pub(crate) fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector =
            ConnectorBuilder::default().tls_provider(Provider::Rustls(CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        // As the SDK's own client does: `HTTPS_PROXY` and its like are a property of the installation.
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .build()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_one_service_counts_before_that_of_all() {
        let known = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://all".to_owned()),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER" => Some("http://secrets".to_owned()),
            _ => None,
        };
        let of = |service| {
            let key = ServiceConfigKey::builder()
                .service_id(service)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url");
            Variables(known).load_config(key.build().unwrap())
        };
        assert_eq!(of("Secrets Manager").as_deref(), Some("http://secrets"));
        assert_eq!(of("DynamoDB").as_deref(), Some("http://all"));
    }
}
