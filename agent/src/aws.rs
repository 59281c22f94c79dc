//! S3 and SQS by the SDK, with certificates and name resolution that need no files of the image.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region, SharedCredentialsProvider, SharedHttpClient};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::names::Names;
use crate::store::{Download, Queue, Store, StoreError, UploadedPart};

/// How often the SDK tries a request; the agent has its own patience beyond that.
const TRIES: u32 = 5;

/// The clients, built once.
pub(crate) struct Aws {
    s3: aws_sdk_s3::Client,
    sqs: aws_sdk_sqs::Client,
    plan_queue_url: String,
}

impl Aws {
    /// Clients for the region and endpoints that the environment names.
    pub(crate) fn new(
        variables: &BTreeMap<String, String>,
        plan_queue_url: &str,
    ) -> Result<Self, String> {
        let http = http_client()?;
        let get = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
        let region = Region::new(region.cloned().ok_or("AWS_REGION is not set")?);
        let endpoint = |service: &str| {
            get(&format!("AWS_ENDPOINT_URL_{service}"))
                .or_else(|| get("AWS_ENDPOINT_URL"))
                .cloned()
        };
        let credentials = credentials(&region, &http);
        let retry = RetryConfig::standard().with_max_attempts(TRIES);
        let s3_endpoint = endpoint("S3");
        let mut s3 = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http.clone())
            .region(region.clone())
            .credentials_provider(credentials.clone())
            .retry_config(retry.clone())
            // Emulators have no name for each bucket.
            .force_path_style(s3_endpoint.is_some());
        s3.set_endpoint_url(s3_endpoint);
        let mut sqs = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .region(region)
            .credentials_provider(credentials)
            .retry_config(retry);
        sqs.set_endpoint_url(endpoint("SQS"));
        Ok(Self {
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            plan_queue_url: plan_queue_url.to_owned(),
        })
    }
}

/// Trusts Mozilla's certificate authorities, which are part of the binary.
fn http_client() -> Result<SharedHttpClient, String> {
    let mut trusted = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        trusted.push_str("-----BEGIN CERTIFICATE-----\n");
        trusted.push_str(&STANDARD.encode(certificate));
        trusted.push_str("\n-----END CERTIFICATE-----\n");
    }
    let trusted = TrustStore::empty().with_pem_certificate(trusted);
    let context = TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .map_err(|error| format!("the certificates cannot be used: {error}"))?;
    let builder = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context);
    Ok(builder.build_with_resolver(Names::of_system()))
}

/// From the environment (emulators), else those of the task's role.
fn credentials(region: &Region, http: &SharedHttpClient) -> SharedCredentialsProvider {
    // Not `empty`, which cannot wait and therefore tries nothing twice.
    let config = ProviderConfig::without_region()
        .with_region(Some(region.clone()))
        .with_http_client(http.clone());
    let task = EcsCredentialsProvider::builder().configure(&config).build();
    SharedCredentialsProvider::new(
        CredentialsProviderChain::first_try(
            "environment",
            EnvironmentVariableCredentialsProvider::new(),
        )
        .or_else("task role", task),
    )
}

fn failed<E, R>(what: &str, error: &SdkError<E, R>) -> StoreError
where
    E: std::error::Error + 'static,
    R: std::fmt::Debug,
{
    StoreError::Failed(format!("{what}: {}", DisplayErrorContext(error)))
}

struct S3Download {
    etag: Option<String>,
    size: u64,
    body: ByteStream,
}

#[async_trait]
impl Download for S3Download {
    fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let next = self.body.next().await.transpose();
        next.map_err(|error| StoreError::Broken(error.to_string()))
    }
}

#[async_trait]
impl Store for Aws {
    async fn open(
        &self,
        bucket: &str,
        key: &str,
        from: u64,
        etag: Option<&str>,
    ) -> Result<Box<dyn Download>, StoreError> {
        let name = || format!("s3://{bucket}/{key}");
        let request = self
            .s3
            .get_object()
            .bucket(bucket)
            .key(key)
            .set_range((from > 0).then(|| format!("bytes={from}-")))
            .set_if_match(etag.map(str::to_owned));
        let answer = request.send().await.map_err(|error| {
            if error
                .as_service_error()
                .is_some_and(GetObjectError::is_no_such_key)
            {
                StoreError::Missing(name())
            } else if error.code() == Some("PreconditionFailed") {
                StoreError::Changed(name())
            } else {
                failed(&name(), &error)
            }
        })?;
        let left = u64::try_from(answer.content_length.unwrap_or_default()).unwrap_or_default();
        Ok(Box::new(S3Download {
            etag: answer.e_tag,
            size: from + left,
            body: answer.body,
        }))
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        sha256: &str,
    ) -> Result<(), StoreError> {
        let sent = self
            .s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .checksum_sha256(sha256)
            .body(bytes.into())
            .send()
            .await;
        sent.map_err(|error| failed(&format!("s3://{bucket}/{key}"), &error))?;
        Ok(())
    }

    async fn begin(&self, bucket: &str, key: &str) -> Result<String, StoreError> {
        let name = format!("s3://{bucket}/{key}");
        let answer = self
            .s3
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .send()
            .await
            .map_err(|error| failed(&name, &error))?;
        answer
            .upload_id
            .ok_or_else(|| StoreError::Failed(format!("{name}: the upload has no id")))
    }

    async fn part(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        number: i32,
        bytes: Bytes,
        sha256: &str,
    ) -> Result<String, StoreError> {
        let name = format!("s3://{bucket}/{key}, part {number}");
        let answer = self
            .s3
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .checksum_sha256(sha256)
            .body(bytes.into())
            .send()
            .await
            .map_err(|error| failed(&name, &error))?;
        answer
            .e_tag
            .ok_or_else(|| StoreError::Failed(format!("{name}: it has no tag")))
    }

    async fn complete(
        &self,
        (bucket, key, upload): (&str, &str, &str),
        parts: Vec<UploadedPart>,
    ) -> Result<(), StoreError> {
        let parts = parts.into_iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
                .e_tag(part.etag)
                .checksum_sha256(part.sha256)
                .build()
        });
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let sent = self
            .s3
            .complete_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await;
        sent.map_err(|error| failed(&format!("s3://{bucket}/{key}"), &error))?;
        Ok(())
    }

    async fn abort(&self, (bucket, key, upload): (&str, &str, &str)) -> Result<(), StoreError> {
        let sent = self
            .s3
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(upload)
            .send()
            .await;
        sent.map_err(|error| failed(&format!("s3://{bucket}/{key}"), &error))?;
        Ok(())
    }
}

#[async_trait]
impl Queue for Aws {
    async fn send(&self, body: &str) -> Result<(), StoreError> {
        let sent = self
            .sqs
            .send_message()
            .queue_url(&self.plan_queue_url)
            .message_body(body)
            .send()
            .await;
        sent.map_err(|error| failed("the plan queue", &error))?;
        Ok(())
    }
}
