//! The environment, read once: everything that is missing is named at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use operon_core::agent::{
    AttemptName, ENV_ATTEMPT, ENV_PLAN_QUEUE_URL, ENV_SPEC, ENV_SPEC_URI, ENV_VOLUME, VOLUME,
};

/// Where the metadata of the ECS task is; set by ECS.
const ENV_METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// The socket to which ECS' log driver delivers the log of `main`; only tests set it.
const ENV_LOG_SOCKET: &str = "OPERON_LOG_SOCKET";
/// Where ECS puts that socket in the container of a log router.
const LOG_SOCKET: &str = "/var/run/fluent.sock";

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Stage,
    Watch,
    /// For people and tests: whether names are found from inside the image.
    Lookup(String),
}

impl Mode {
    pub(crate) fn of(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        const USAGE: &str = "usage: operon-agent stage | watch | lookup NAME";
        let mode = match (arguments.next().as_deref(), arguments.next()) {
            (Some("stage"), None) => Self::Stage,
            (Some("watch"), None) => Self::Watch,
            (Some("lookup"), Some(name)) => Self::Lookup(name),
            _ => return Err(USAGE.to_owned()),
        };
        match arguments.next() {
            None => Ok(mode),
            Some(_) => Err(USAGE.to_owned()),
        }
    }
}

/// Where the specification is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SpecPlace {
    Inline(String),
    S3 { bucket: String, key: String },
}

/// What the launcher says by environment variables.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) attempt: AttemptName,
    pub(crate) spec: SpecPlace,
    pub(crate) volume: PathBuf,
    /// `watch` only.
    pub(crate) plan_queue_url: String,
    /// `watch` only.
    pub(crate) metadata_uri: String,
    pub(crate) log_socket: PathBuf,
    /// Everything, for the values of the secrets that the specification names.
    pub(crate) variables: BTreeMap<String, String>,
}

/// The environment does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the agent cannot start: {}", .0.join("; "))]
pub(crate) struct ConfigError(Vec<String>);

impl Config {
    pub(crate) fn from_env(mode: &Mode) -> Result<Self, ConfigError> {
        let all = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::of(all.collect(), mode)
    }

    pub(crate) fn of(
        variables: BTreeMap<String, String>,
        mode: &Mode,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let get = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let watches = *mode == Mode::Watch;
        let mut need = |name: &str, wanted: bool| {
            let value = get(name).cloned();
            if value.is_none() && wanted {
                problems.push(format!("{name} is not set"));
            }
            value.unwrap_or_default()
        };
        let attempt = need(ENV_ATTEMPT, true);
        let plan_queue_url = need(ENV_PLAN_QUEUE_URL, watches);
        let metadata_uri = need(ENV_METADATA, watches);
        let spec = match (get(ENV_SPEC), get(ENV_SPEC_URI)) {
            (Some(text), _) => Some(SpecPlace::Inline(text.clone())),
            (None, Some(uri)) => s3_place(uri),
            (None, None) => None,
        };
        if spec.is_none() {
            problems.push(format!(
                "neither {ENV_SPEC} is set nor {ENV_SPEC_URI} to `s3://bucket/key`"
            ));
        }
        let attempt = match attempt.parse::<AttemptName>() {
            Ok(attempt) => Some(attempt),
            Err(_) if attempt.is_empty() => None,
            Err(error) => {
                problems.push(format!("{ENV_ATTEMPT}: {error}"));
                None
            }
        };
        let path = |name: &str, default: &str| {
            PathBuf::from(get(name).map_or(default, |value| value.as_str()))
        };
        let (volume, log_socket) = (path(ENV_VOLUME, VOLUME), path(ENV_LOG_SOCKET, LOG_SOCKET));
        match (attempt, spec) {
            (Some(attempt), Some(spec)) if problems.is_empty() => Ok(Self {
                attempt,
                spec,
                volume,
                plan_queue_url,
                metadata_uri,
                log_socket,
                variables,
            }),
            _ => Err(ConfigError(problems)),
        }
    }
}

fn s3_place(uri: &str) -> Option<SpecPlace> {
    let (bucket, key) = uri.strip_prefix("s3://")?.split_once('/')?;
    (!bucket.is_empty() && !key.is_empty()).then(|| SpecPlace::S3 {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn config(pairs: &[(&str, &str)], mode: &Mode) -> Result<Config, String> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::of(pairs.collect(), mode).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_named_at_once() {
        let error = config(&[("OPERON_SPEC_URI", "http://x")], &Mode::Watch).unwrap_err();
        for name in [ENV_ATTEMPT, ENV_PLAN_QUEUE_URL, ENV_METADATA, ENV_SPEC_URI] {
            assert!(error.contains(name), "{name} is not in {error}");
        }
    }

    #[test]
    fn stage_needs_neither_queue_nor_metadata() {
        let pairs = [
            ("OPERON_ATTEMPT", "e:0:3:1"),
            ("OPERON_SPEC_URI", "s3://b/k/spec.json"),
        ];
        let config = config(&pairs, &Mode::Stage).unwrap();
        assert_eq!(config.volume, PathBuf::from("/operon"));
        assert_eq!(
            config.spec,
            SpecPlace::S3 {
                bucket: "b".to_owned(),
                key: "k/spec.json".to_owned()
            }
        );
    }

    #[test]
    fn there_are_three_ways_to_call_it() {
        let mode = |words: &[&str]| Mode::of(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(mode(&["stage"]), Ok(Mode::Stage));
        assert_eq!(mode(&["watch"]), Ok(Mode::Watch));
        assert_eq!(mode(&["lookup", "x"]), Ok(Mode::Lookup("x".to_owned())));
        for wrong in [
            &[][..],
            &["run"],
            &["stage", "x"],
            &["lookup"],
            &["lookup", "x", "y"],
        ] {
            assert!(mode(wrong).unwrap_err().starts_with("usage:"), "{wrong:?}");
        }
    }
}
