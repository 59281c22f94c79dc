//! S3 and Lambda for the tasks that ask them, by the worker's own permissions.

use async_trait::async_trait;
use aws_sdk_s3::error::DisplayErrorContext;
use operon_engine::ports::{
    COPY_BYTES_MAX, Copied, Invoked, OBJECTS_MAX, ObjectInfo, ObjectName, ServiceError, Services,
};

use crate::artifacts::UPLOADS;
use crate::signed::{Service, SignedError};

/// S3 and Lambda.
#[derive(Debug, Clone)]
pub struct AwsServices {
    s3: aws_sdk_s3::Client,
    lambda: Service,
    data_bucket: String,
}

impl AwsServices {
    /// Over these clients. Of the data bucket, flows write only uploads: everything else there is Operon's own.
    #[must_use]
    pub fn new(s3: aws_sdk_s3::Client, lambda: Service, data_bucket: &str) -> Self {
        Self {
            s3,
            lambda,
            data_bucket: data_bucket.to_owned(),
        }
    }
}

/// `bucket/key` as it stands in a header: each byte that is not plain as `%XX`.
fn source(object: &ObjectName) -> String {
    use std::fmt::Write as _;

    let mut text = format!("{}/", object.bucket);
    for byte in object.key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    if let Some(version) = &object.version {
        let _ = write!(text, "?versionId={version}");
    }
    text
}

fn millis(time: Option<&aws_sdk_s3::primitives::DateTime>) -> Option<u64> {
    u64::try_from(time?.to_millis().ok()?).ok()
}

fn failed(what: &str, missing: bool, error: &(impl std::error::Error + 'static)) -> ServiceError {
    let text = format!("S3 {what}: {}", DisplayErrorContext(error));
    if missing {
        ServiceError::Missing(text)
    } else {
        ServiceError::Failed(text)
    }
}

/// The HTTP status of a refusal.
fn status<E>(
    error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

fn bytes(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}

#[async_trait]
impl Services for AwsServices {
    /// Artifacts, plans and logs of any execution are not for flows to write.
    fn writable(&self, object: &ObjectName) -> Result<(), ServiceError> {
        if object.bucket != self.data_bucket || object.key.starts_with(UPLOADS) {
            return Ok(());
        }
        Err(ServiceError::Invalid(format!(
            "{}/{} is in Operon's own storage, where flows write and delete only below `{UPLOADS}`; use that, or another bucket",
            object.bucket, object.key
        )))
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ObjectInfo>, ServiceError> {
        let limit = i32::try_from(limit.min(OBJECTS_MAX)).unwrap_or(1000);
        let answer = self
            .s3
            .list_objects_v2()
            .bucket(bucket)
            .prefix(prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(limit)
            .send()
            .await
            .map_err(|error| {
                let missing = error.as_service_error().is_some_and(
                    aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Error::is_no_such_bucket,
                );
                failed("does not list the bucket", missing, &error)
            })?;
        let objects = answer.contents().iter();
        Ok(objects
            .map(|object| ObjectInfo {
                key: object.key().unwrap_or_default().to_owned(),
                size: bytes(object.size()),
                etag: object
                    .e_tag()
                    .unwrap_or_default()
                    .trim_matches('"')
                    .to_owned(),
                modified_ms: millis(object.last_modified()),
            })
            .collect())
    }

    async fn copy(&self, from: &ObjectName, to: &ObjectName) -> Result<Copied, ServiceError> {
        self.writable(to)?;
        let head = self
            .s3
            .head_object()
            .bucket(&from.bucket)
            .key(&from.key)
            .set_version_id(from.version.clone())
            .send()
            .await
            .map_err(|error| {
                let missing = error
                    .as_service_error()
                    .is_some_and(aws_sdk_s3::operation::head_object::HeadObjectError::is_not_found);
                failed("does not show the object", missing, &error)
            })?;
        let size = bytes(head.content_length());
        if size > COPY_BYTES_MAX {
            return Err(ServiceError::Invalid(format!(
                "{}/{} has {size} bytes; at most {COPY_BYTES_MAX} are copied: use a container",
                from.bucket, from.key
            )));
        }
        let there = head.e_tag().unwrap_or_default();
        let copied = self
            .s3
            .copy_object()
            .copy_source(source(from))
            .copy_source_if_match(there)
            .bucket(&to.bucket)
            .key(&to.key)
            .send()
            .await
            .map_err(|error| failed("does not copy the object", false, &error))?;
        let result = copied.copy_object_result();
        let etag = result.and_then(|result| result.e_tag()).unwrap_or_default();
        Ok(Copied {
            made: ObjectInfo {
                key: to.key.clone(),
                size,
                etag: etag.trim_matches('"').to_owned(),
                modified_ms: millis(result.and_then(|result| result.last_modified())),
            },
            source_etag: there.trim_matches('"').to_owned(),
        })
    }

    async fn delete(&self, object: &ObjectName) -> Result<(), ServiceError> {
        self.writable(object)?;
        let sent = self
            .s3
            .delete_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .set_version_id(object.version.clone())
            .send()
            .await;
        sent.map(drop)
            .map_err(|error| failed("does not delete the object", false, &error))
    }

    async fn remove(
        &self,
        object: &ObjectName,
        etag: Option<&str>,
        to: Option<&ObjectName>,
    ) -> Result<bool, ServiceError> {
        self.writable(object)?;
        to.map_or(Ok(()), |to| self.writable(to))?;
        let head = self
            .s3
            .head_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .send()
            .await;
        let head = match head {
            Ok(head) => head,
            Err(error) if status(&error) == Some(404) => return Ok(false),
            Err(error) => return Err(failed("does not show the object", false, &error)),
        };
        let there = head.e_tag().unwrap_or_default();
        if etag.is_some_and(|etag| etag != there.trim_matches('"')) {
            return Ok(false);
        }
        if let Some(to) = to {
            let copied = self
                .s3
                .copy_object()
                .copy_source(source(object))
                .copy_source_if_match(there)
                .bucket(&to.bucket)
                .key(&to.key)
                .send()
                .await;
            match copied {
                Ok(_) => {}
                Err(error) if matches!(status(&error), Some(404 | 412)) => return Ok(false),
                Err(error) => return Err(failed("does not copy the object", false, &error)),
            }
        }
        // On condition of its content: what is written at this moment is another event's.
        let deleted = self
            .s3
            .delete_object()
            .bucket(&object.bucket)
            .key(&object.key)
            .if_match(there)
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(true),
            Err(error) if matches!(status(&error), Some(404 | 412)) => Ok(false),
            Err(error) => Err(failed("does not delete the object", false, &error)),
        }
    }

    async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Invoked, ServiceError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_:$".contains(c);
        if function.is_empty() || function.len() > 200 || !function.chars().all(plain) {
            return Err(ServiceError::Invalid(format!(
                "`{}` is neither the name nor the ARN of a function",
                function.chars().take(80).collect::<String>()
            )));
        }
        let path = format!(
            "/2015-03-31/functions/{}/invocations",
            function.replace(':', "%3A").replace('$', "%24")
        );
        let headers = [
            ("content-type", "application/json"),
            ("x-amz-invocation-type", "RequestResponse"),
        ];
        // Not repeated: the function may have done its work.
        let answer = self.lambda.post(&path, &headers, payload, false).await;
        let answer = answer.map_err(|error| {
            let text = error.to_string();
            match error {
                SignedError::Refused { status: 404, .. } => ServiceError::Missing(text),
                SignedError::Refused {
                    status: 400 | 413, ..
                } => ServiceError::Invalid(text),
                SignedError::Refused { .. }
                | SignedError::Silent { .. }
                | SignedError::Missing(_)
                | SignedError::Unsignable(_) => ServiceError::Failed(text),
            }
        })?;
        let error = answer.headers.get("x-amz-function-error");
        Ok(Invoked {
            error: error.and_then(|value| value.to_str().ok().map(str::to_owned)),
            payload: answer.body,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn what_executions_stored_is_not_for_flows_to_write() {
        use crate::signed::ServiceName;
        use crate::testing::{Answer, server};

        let (sdk, asked) = server(|_, _| Answer::new(200, "")).await;
        let lambda = Service::new(&sdk, ServiceName::Lambda, std::time::Duration::from_secs(1));
        let services = AwsServices::new(sdk.s3(), lambda, "data");
        let object = |bucket: &str, key: &str| ObjectName {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: None,
        };
        let upload = object("data", "uploads/a");
        for key in [
            "artifacts/e1/manifest.json",
            "plans/x",
            "uploads",
            "Uploads/a",
        ] {
            let own = object("data", key);
            for refused in [
                services.delete(&own).await,
                services.copy(&upload, &own).await.map(drop),
                services.remove(&own, None, None).await.map(drop),
                services.remove(&upload, None, Some(&own)).await.map(drop),
            ] {
                assert!(matches!(refused, Err(ServiceError::Invalid(_))), "{key}");
            }
        }
        assert!(asked.lock().unwrap().is_empty());
        services.delete(&upload).await.unwrap();
        services
            .delete(&object("other", "artifacts/a"))
            .await
            .unwrap();
        assert_eq!(asked.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_name_travels_in_a_header() {
        let mut object = ObjectName {
            bucket: "b".to_owned(),
            key: "a b/ü+c".to_owned(),
            version: None,
        };
        assert_eq!(source(&object), "b/a%20b/%C3%BC%2Bc");
        object.version = Some("v1".to_owned());
        assert_eq!(source(&object), "b/a%20b/%C3%BC%2Bc?versionId=v1");
    }
}
