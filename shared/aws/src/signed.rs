//! Requests signed with AWS credentials (Signature Version 4), for what needs no client of its own: services of which one or
//! two operations are asked, and the deployment's own address for signed callers.
//!
//! Invariant: a secret key is never part of an error, a log or a `Debug` text. Invariant: an endpoint comes from the
//! SDK's own variables or follows from service and region, as it does for the SDK's clients.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::Method;
use serde_json::Value;

use crate::sdk::{Sdk, variable};

/// Before their end credentials are asked for again.
const MARGIN: Duration = Duration::from_mins(5);
/// Transmissions of one request at most.
const ATTEMPTS_MAX: u32 = 4;
/// Before the second transmission; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// Why nobody answers when no connection stands.
const UNREACHABLE: &str = "it cannot be reached";
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a request was not signed, or not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// There are no credentials, or no region.
    #[error("{0}")]
    Missing(String),
    /// The request cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Unsignable(String),
    /// Nobody answered.
    #[error("{service} does not answer: {reason}")]
    Silent {
        /// Of AWS.
        service: &'static str,
        /// For people.
        reason: String,
    },
    /// The service refused.
    #[error("{service} refused: {code}: {message}")]
    Refused {
        /// Of AWS.
        service: &'static str,
        /// HTTP status.
        status: u16,
        /// Such as `ResourceNotFoundException`.
        code: String,
        /// For people.
        message: String,
    },
}

impl SignedError {
    /// Whether the service refused with that code.
    #[must_use]
    pub fn is(&self, wanted: &str) -> bool {
        match self {
            Self::Refused { code, .. } => code == wanted,
            Self::Missing(_) | Self::Unsignable(_) | Self::Silent { .. } => false,
        }
    }
}

/// Signs requests. Clones share what they know of credentials.
#[derive(Clone)]
pub struct Signer {
    provider: SharedCredentialsProvider,
    region: String,
    known: Arc<Mutex<Option<Credentials>>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// With the credentials of the SDK's configuration; `region` instead of its own, where given.
    pub fn new(config: &SdkConfig, region: Option<&str>) -> Result<Self, SignedError> {
        let provider = config.credentials_provider().ok_or_else(|| {
            SignedError::Missing("there are no AWS credentials; set AWS_PROFILE".to_owned())
        })?;
        let own = config.region().map(ToString::to_string);
        let region = region.map(str::to_owned).or(own).ok_or_else(|| {
            SignedError::Missing("no AWS region is set; set AWS_REGION".to_owned())
        })?;
        Ok(Self {
            provider,
            region,
            known: Arc::default(),
        })
    }

    /// The region that signatures are for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    async fn credentials(&self, now: SystemTime) -> Result<Credentials, SignedError> {
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.clone()
        };
        let lasts = |credentials: &Credentials| {
            credentials
                .expiry()
                .is_none_or(|expiry| expiry > now + MARGIN)
        };
        if let Some(known) = known.filter(lasts) {
            return Ok(known);
        }
        let found = self.provider.provide_credentials().await;
        let found = found.map_err(|error| {
            let error = aws_sdk_sqs::error::DisplayErrorContext(&error).to_string();
            SignedError::Missing(format!(
                "AWS credentials cannot be had: {error}; `aws sts get-caller-identity` says whether yours work"
            ))
        })?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }

    /// The headers that a request needs beside its own, which are signed with it.
    pub async fn headers(
        &self,
        service: &str,
        region: Option<&str>,
        request: (&str, &str, &[(&str, &str)], &[u8]),
        now: SystemTime,
    ) -> Result<Vec<(String, String)>, SignedError> {
        let unsignable = |reason: String| SignedError::Unsignable(reason);
        let (method, url, headers, body) = request;
        let identity = self.credentials(now).await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region.unwrap_or(&self.region))
            .name(service)
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsignable(error.to_string()))?
            .into();
        let headers = headers.iter().copied();
        let request = SignableRequest::new(method, url, headers, SignableBody::Bytes(body))
            .map_err(|error| unsignable(error.to_string()))?;
        let (instructions, _) = sign(request, &params)
            .map_err(|error| unsignable(error.to_string()))?
            .into_parts();
        let pairs = instructions.headers();
        Ok(pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}

/// A service of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceName {
    /// `CloudWatch` Logs.
    Logs,
    /// Lambda.
    Lambda,
    /// Service Quotas.
    Quotas,
    /// The registry of images.
    Images,
    /// Parameter Store of Systems Manager.
    Parameters,
    /// `EventBridge`.
    Events,
    /// SNS.
    Topics,
    /// SES.
    Mail,
    /// Secrets Manager.
    Secrets,
    /// `EventBridge` Scheduler.
    Schedules,
}

impl ServiceName {
    /// Its name in signatures and addresses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Lambda => "lambda",
            Self::Quotas => "servicequotas",
            Self::Images => "ecr",
            Self::Parameters => "ssm",
            Self::Events => "events",
            Self::Topics => "sns",
            Self::Mail => "ses",
            Self::Secrets => "secretsmanager",
            Self::Schedules => "scheduler",
        }
    }

    /// The first part of its address.
    const fn host(self) -> &'static str {
        match self {
            Self::Logs
            | Self::Lambda
            | Self::Quotas
            | Self::Parameters
            | Self::Events
            | Self::Topics
            | Self::Secrets
            | Self::Schedules => self.name(),
            Self::Images => "api.ecr",
            Self::Mail => "email",
        }
    }

    /// The variable with its address alone.
    const fn variable(self) -> &'static str {
        match self {
            Self::Logs => "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
            Self::Lambda => "AWS_ENDPOINT_URL_LAMBDA",
            Self::Quotas => "AWS_ENDPOINT_URL_SERVICE_QUOTAS",
            Self::Images => "AWS_ENDPOINT_URL_ECR",
            Self::Parameters => "AWS_ENDPOINT_URL_SSM",
            Self::Events => "AWS_ENDPOINT_URL_EVENTBRIDGE",
            Self::Topics => "AWS_ENDPOINT_URL_SNS",
            Self::Mail => "AWS_ENDPOINT_URL_SESV2",
            Self::Secrets => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Self::Schedules => "AWS_ENDPOINT_URL_SCHEDULER",
        }
    }
}

/// One service of AWS, asked by signed requests.
#[derive(Debug, Clone)]
pub struct Service {
    name: ServiceName,
    /// Without credentials or a region each request says so.
    signer: Result<Signer, SignedError>,
    region: String,
    endpoint: String,
    sdk: Sdk,
    /// Of one transmission.
    timeout: Duration,
}

impl Service {
    /// A service in the region of the configuration. `timeout` is that of one transmission. What is missing in the
    /// configuration is said when the service is asked.
    #[must_use]
    pub fn new(sdk: &Sdk, name: ServiceName, timeout: Duration) -> Self {
        let config = sdk.config();
        let region = sdk.region();
        let common = || config.endpoint_url().map(str::to_owned);
        let suffix = suffix(region);
        let usual = || format!("https://{}.{region}.{suffix}", name.host());
        let endpoint = variable(name.variable()).or_else(common);
        let endpoint = endpoint.unwrap_or_else(usual);
        Self {
            name,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            signer: Signer::new(config, None),
            region: region.to_owned(),
            sdk: sdk.clone(),
            timeout,
        }
    }

    /// The region in which it is asked.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Sends a `POST`; see [`Self::send`].
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        may_repeat: bool,
    ) -> Result<Answer, SignedError> {
        self.send((Method::POST, path, headers), body, may_repeat)
            .await
    }

    /// Sends a request: method, path with its query, headers. What may be repeated is repeated when the service is busy.
    /// The answer with its headers.
    pub async fn send(
        &self,
        head: (Method, &str, &[(&str, &str)]),
        body: Vec<u8>,
        may_repeat: bool,
    ) -> Result<Answer, SignedError> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let sent = self.transmit(&head, body.clone()).await;
            // What was refused for its rate, or never arrived, was not done.
            let again = attempt < ATTEMPTS_MAX
                && match &sent {
                    Ok(_) | Err(SignedError::Missing(_) | SignedError::Unsignable(_)) => false,
                    Err(SignedError::Silent { reason, .. }) => may_repeat || reason == UNREACHABLE,
                    Err(SignedError::Refused { status, code, .. }) => {
                        *status == 429
                            || code.contains("Throttl")
                            || may_repeat
                                && (*status >= 500 || code.contains("ConcurrentModification"))
                    }
                };
            if !again {
                return sent;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    /// Asks one operation of a service that speaks JSON with a target in its header.
    pub async fn ask(
        &self,
        target: &str,
        version: &str,
        body: &Value,
    ) -> Result<Value, SignedError> {
        let kind = format!("application/x-amz-json-{version}");
        let headers = [("content-type", kind.as_str()), ("x-amz-target", target)];
        let answer = self
            .post("/", &headers, body.to_string().into_bytes(), true)
            .await?;
        if answer.body.is_empty() {
            return Ok(Value::Null); // What an operation without a result answers.
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.silent(error.to_string()))
    }

    async fn transmit(
        &self,
        (method, path, headers): &(Method, &str, &[(&str, &str)]),
        body: Vec<u8>,
    ) -> Result<Answer, SignedError> {
        let url = format!("{}{path}", self.endpoint);
        let name = self.name.name();
        let signer = self.signer.as_ref().map_err(Clone::clone)?;
        let content = (method.as_str(), url.as_str(), *headers, body.as_slice());
        let signature = signer
            .headers(name, None, content, SystemTime::now())
            .await?;
        let target = headers.iter().find(|(name, _)| *name == "x-amz-target");
        let target = target.map(|(_, target)| *target);
        self.sdk.meter().transmission(name, target, method.as_str());
        let http = self.sdk.plain();
        let http =
            http.map_err(|error| SignedError::Missing(format!("no HTTP client: {error}")))?;
        let mut request = http.request(method.clone(), &url).timeout(self.timeout);
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &signature {
            request = request.header(name, value);
        }
        // Not the error's own text: it holds the whole address.
        let silent = |error: reqwest::Error| {
            self.silent(if error.is_timeout() {
                "it takes too long".to_owned()
            } else if error.is_connect() {
                UNREACHABLE.to_owned()
            } else {
                "the connection broke off".to_owned()
            })
        };
        let mut answer = request.body(body).send().await.map_err(silent)?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(silent)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.silent(format!("more than {ANSWER_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if (200..300).contains(&status) {
            return Ok(Answer {
                headers,
                body: bytes,
            });
        }
        Err(self.refused(status, &headers, &bytes))
    }

    fn silent(&self, reason: String) -> SignedError {
        SignedError::Silent {
            service: self.name.name(),
            reason,
        }
    }

    fn refused(
        &self,
        status: u16,
        headers: &reqwest::header::HeaderMap,
        body: &[u8],
    ) -> SignedError {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| value.get(name)?.as_str());
            found.map(|text| text.chars().take(500).collect::<String>())
        };
        let header = headers
            .get("x-amzn-errortype")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let xml = |tag: &str| in_xml(body, tag);
        let code = text(["__type", "code"]).or(header).or_else(|| xml("Code"));
        let code = code.unwrap_or_default();
        // `namespace#Code` or `Code:http://…`.
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        SignedError::Refused {
            service: self.name.name(),
            status,
            code: code.to_owned(),
            message: text(["message", "Message"])
                .or_else(|| xml("Message"))
                .unwrap_or_else(|| format!("status {status}")),
        }
    }
}

/// What the addresses of a region end with, by the SDK's table of public partitions.
fn suffix(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// The body of a request to a service that takes forms.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// What stands in an element of XML, as services of the query protocol write them.
pub(crate) fn in_xml(body: &[u8], tag: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    let (inner, _) = rest.split_once(&format!("</{tag}>"))?;
    Some(inner.chars().take(500).collect())
}

/// What a service answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let config = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .region(aws_config::Region::new("us-east-1"))
            .build();
        Signer::new(&config, None).unwrap()
    }

    /// The example `get-vanilla` of AWS' test suite for Signature Version 4.
    #[tokio::test]
    async fn a_request_is_signed_as_aws_says() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_mins(24_015_636);
        let request = ("GET", "https://example.amazonaws.com/", &[][..], &b""[..]);
        let headers = signer()
            .headers("service", None, request, now)
            .await
            .unwrap();
        let value = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        assert_eq!(value("x-amz-date"), "20150830T123600Z");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                        SignedHeaders=host;x-amz-date, \
                        Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(value("authorization"), expected);
    }

    #[test]
    fn no_key_is_shown() {
        let shown = format!("{:?}", signer());
        assert!(
            !shown.contains("AKID") && !shown.contains("wJalr"),
            "{shown}"
        );
    }

    #[tokio::test]
    async fn credentials_are_asked_for_again_before_they_end() {
        let signer = signer();
        let now = SystemTime::now();
        let old = Credentials::new("OLD", "x", None, Some(now + Duration::from_mins(4)), "test");
        *signer.known.lock().unwrap() = Some(old);
        let found = signer.credentials(now).await.unwrap();
        assert_eq!(found.access_key_id(), "AKIDEXAMPLE");
    }
}
