//! Getting the specification, and refusing what is not meant for this attempt or release.

use operon_core::agent::{AgentSpec, FORMAT, SPEC_BYTES_MAX};

use crate::config::{Config, SpecPlace};
use crate::store::{Store, StoreError};

/// Why there is no specification.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("the specification cannot be read from s3://{bucket}/{key}: {error}")]
    Store {
        bucket: String,
        key: String,
        error: StoreError,
    },
    #[error("the specification has more than {SPEC_BYTES_MAX} bytes; put large files into S3")]
    TooLarge,
    #[error("the specification is not readable: {0}")]
    Shape(#[from] serde_json::Error),
    #[error(
        "the specification has format {0}, this agent reads {FORMAT}; use the agent of the same release"
    )]
    Format(u16),
    #[error("the specification is of attempt {0}, this task is attempt {1}")]
    OtherAttempt(String, String),
}

pub(crate) async fn load(config: &Config, store: &dyn Store) -> Result<AgentSpec, SpecError> {
    let bytes = match &config.spec {
        SpecPlace::Inline(text) => text.clone().into_bytes(),
        SpecPlace::S3 { bucket, key } => {
            let failed = |error| SpecError::Store {
                bucket: bucket.clone(),
                key: key.clone(),
                error,
            };
            let mut object = store.open(bucket, key, 0, None).await.map_err(failed)?;
            let mut bytes = Vec::new();
            while let Some(chunk) = object.next().await.map_err(failed)? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > SPEC_BYTES_MAX {
                    return Err(SpecError::TooLarge);
                }
            }
            bytes
        }
    };
    read(config, &bytes)
}

fn read(config: &Config, bytes: &[u8]) -> Result<AgentSpec, SpecError> {
    if bytes.len() > SPEC_BYTES_MAX {
        return Err(SpecError::TooLarge);
    }
    let spec: AgentSpec = serde_json::from_slice(bytes)?;
    if spec.format != FORMAT {
        return Err(SpecError::Format(spec.format));
    }
    if spec.attempt != config.attempt {
        let (given, own) = (spec.attempt.to_string(), config.attempt.to_string());
        return Err(SpecError::OtherAttempt(given, own));
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::config::Mode;
    use crate::log::testing;

    fn config() -> Config {
        let pairs = [("OPERON_ATTEMPT", "e-1:0:3:1"), ("OPERON_SPEC", "{}")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Config::of(pairs.into(), &Mode::Stage).unwrap()
    }

    #[test]
    fn documents_of_others_are_refused() {
        let mut spec = testing::spec();
        let bytes = |spec: &AgentSpec| serde_json::to_vec(spec).unwrap();
        assert_eq!(read(&config(), &bytes(&spec)).unwrap(), spec);
        spec.format = 2;
        let error = read(&config(), &bytes(&spec)).unwrap_err();
        assert!(matches!(error, SpecError::Format(2)), "{error}");
        spec.format = FORMAT;
        spec.attempt.attempt = 2;
        let error = read(&config(), &bytes(&spec)).unwrap_err();
        assert!(matches!(error, SpecError::OtherAttempt(..)), "{error}");
        let large = vec![b' '; SPEC_BYTES_MAX + 1];
        assert!(matches!(read(&config(), &large), Err(SpecError::TooLarge)));
    }
}
