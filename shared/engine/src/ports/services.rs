//! Buckets and functions outside of Operon, for the tasks that ask them.

use async_trait::async_trait;

/// Objects of one page at most.
pub const OBJECTS_MAX: u32 = 1000;
/// Bytes that a function is given, or gives, at most (Lambda's limit for a synchronous call).
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes of an object that is copied (S3's limit for one request).
pub const COPY_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// Its bucket.
    pub bucket: String,
    /// Its name there.
    pub key: String,
    /// One of its versions; the newest without it.
    pub version: Option<String>,
}

/// What is known of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Changes with its content.
    pub etag: String,
    /// Milliseconds since the epoch.
    pub modified_ms: Option<u64>,
}

/// An object that was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// The copy.
    pub made: ObjectInfo,
    /// The `ETag` of what it is a copy of.
    pub source_etag: String,
}

/// Why a service did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// This installation has no such service.
    #[error("{0}")]
    Unavailable(String),
    /// There is no such object, bucket or function.
    #[error("{0}")]
    Missing(String),
    /// The request is not one; trying again does not help.
    #[error("{0}")]
    Invalid(String),
    /// The service did not do it; trying again may help.
    #[error("{0}")]
    Failed(String),
}

/// What a function answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invoked {
    /// Its answer.
    pub payload: Vec<u8>,
    /// The function failed: how AWS names that, such as `Unhandled`.
    pub error: Option<String>,
}

/// Buckets and functions.
#[async_trait]
pub trait Services: Send + Sync {
    /// Objects whose names begin with `prefix`, after the name `after`, in the order of their names; [`OBJECTS_MAX`]
    /// at most.
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ObjectInfo>, ServiceError>;
    /// Whether flows may write and delete the object at all; the service itself may still refuse.
    fn writable(&self, _object: &ObjectName) -> Result<(), ServiceError> {
        Ok(())
    }
    /// Copies an object within the service.
    async fn copy(&self, from: &ObjectName, to: &ObjectName) -> Result<Copied, ServiceError>;
    /// Deletes an object; nothing happens when there is none.
    async fn delete(&self, object: &ObjectName) -> Result<(), ServiceError>;
    /// Deletes an object while its content is `etag`, after copying it to `to` if that is given. False when there is
    /// none, or one with another content: that stays. May be repeated after a crash at any moment.
    async fn remove(
        &self,
        object: &ObjectName,
        etag: Option<&str>,
        to: Option<&ObjectName>,
    ) -> Result<bool, ServiceError>;
    /// Calls a function and waits.
    async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Invoked, ServiceError>;
}

/// An installation without such services.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl NoServices {
    /// What a task says that needs one.
    #[must_use]
    pub fn error() -> ServiceError {
        ServiceError::Unavailable(
            "this installation has no such service: that needs a deployment on AWS".to_owned(),
        )
    }
}

#[async_trait]
impl Services for NoServices {
    async fn list(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: u32,
    ) -> Result<Vec<ObjectInfo>, ServiceError> {
        Err(Self::error())
    }

    async fn copy(&self, _: &ObjectName, _: &ObjectName) -> Result<Copied, ServiceError> {
        Err(Self::error())
    }

    async fn delete(&self, _: &ObjectName) -> Result<(), ServiceError> {
        Err(Self::error())
    }

    async fn remove(
        &self,
        _: &ObjectName,
        _: Option<&str>,
        _: Option<&ObjectName>,
    ) -> Result<bool, ServiceError> {
        Err(Self::error())
    }

    async fn invoke(&self, _: &str, _: Vec<u8>) -> Result<Invoked, ServiceError> {
        Err(Self::error())
    }
}
