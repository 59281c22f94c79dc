//! What answers of AWS and of image registries mean; nothing here asks anybody.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Finding;

/// vCPUs below which a flow with a few parallel tasks has to wait: what new accounts often have.
const VCPU_MIN: f64 = 16.0;
/// Functions at once below which a burst of uploads is slow: planner, worker, intake and launcher together take 52.
const FUNCTIONS_MIN: f64 = 100.0;

/// A quota that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quota {
    /// vCPUs of Fargate tasks at once.
    FargateOnDemand,
    /// The same on spare capacity.
    FargateSpot,
    /// Invocations of functions at once.
    Functions,
}

impl Quota {
    pub(super) const ALL: [Self; 3] = [Self::FargateOnDemand, Self::FargateSpot, Self::Functions];

    /// Service and code by which Service Quotas knows it.
    pub(super) const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::FargateOnDemand => ("fargate", "L-3032A538"),
            Self::FargateSpot => ("fargate", "L-36FBB829"),
            Self::Functions => ("lambda", "L-B99A9384"),
        }
    }

    /// What a value of it means.
    pub(super) fn judge(self, value: f64) -> Finding {
        let (what, least) = match self {
            Self::FargateOnDemand => ("vCPUs on Fargate at once", VCPU_MIN),
            Self::FargateSpot => ("vCPUs on Fargate Spot at once", VCPU_MIN),
            Self::Functions => ("invocations of functions at once", FUNCTIONS_MIN),
        };
        let (service, code) = self.code();
        if value >= least {
            Finding::Good(format!("{value} {what}"))
        } else {
            Finding::Bad(format!(
                "{value} {what} are few; ask for {least}: `aws service-quotas request-service-quota-increase \
                 --service-code {service} --quota-code {code} --desired-value {least}`"
            ))
        }
    }
}

/// Adds the images that a plan names, but for those that expressions make when a task runs.
pub(super) fn images_of(plan: &Value, images: &mut BTreeSet<String>) {
    match plan {
        Value::Object(entries) => {
            for (name, value) in entries {
                match value.as_str() {
                    Some(image) if name == "containerImage" && !image.contains("{{") => {
                        images.insert(image.to_owned());
                    }
                    _ => images_of(value, images),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| images_of(item, images)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// Host of the registry.
    pub(super) registry: String,
    /// Its name there.
    pub(super) repository: String,
    /// Tag or digest.
    pub(super) reference: String,
}

impl Image {
    /// Reads a name as container engines do: without a registry it is Docker Hub's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (name, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => (before, tag),
            Some(_) | None => (rest, "latest"),
        };
        let (registry, repository) = match rest.split_once('/') {
            Some((host, path))
                if host.contains('.') || host.contains(':') || host == "localhost" =>
            {
                (host, path.to_owned())
            }
            Some(_) => ("registry-1.docker.io", rest.to_owned()),
            None => ("registry-1.docker.io", format!("library/{rest}")),
        };
        let allowed = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-/:+".contains(&byte))
        };
        let reference = digest.unwrap_or(tag);
        (allowed(registry) && allowed(&repository) && allowed(reference)).then(|| Self {
            registry: registry.to_owned(),
            repository,
            reference: reference.to_owned(),
        })
    }

    /// Account and region of a private repository of ECR.
    pub(super) fn ecr(&self) -> Option<(&str, &str)> {
        let (account, rest) = self.registry.split_once(".dkr.ecr.")?;
        let (region, _) = rest.split_once('.')?;
        Some((account, region))
    }

    /// Where its manifest is.
    pub(super) fn manifest_url(&self) -> String {
        format!(
            "https://{}/v2/{}/manifests/{}",
            self.registry, self.repository, self.reference
        )
    }
}

/// Where a registry wants a token from: of its header `WWW-Authenticate`.
pub(super) fn token_url(challenge: &str) -> Option<String> {
    let fields = challenge.strip_prefix("Bearer ")?;
    let field = |name: &str| {
        fields.split(',').find_map(|part| {
            let (key, value) = part.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"').to_owned())
        })
    };
    let realm = field("realm").filter(|realm| realm.starts_with("https://"))?;
    let query: Vec<String> = ["service", "scope"]
        .iter()
        .filter_map(|name| field(name).map(|value| format!("{name}={value}")))
        .collect();
    Some(format!("{realm}?{}", query.join("&")))
}

/// What a status of a registry means.
pub(super) fn judge_manifest(image: &str, status: u16) -> Finding {
    match status {
        200 => Finding::Good(format!("{image} can be pulled")),
        401 | 403 => Finding::Bad(format!(
            "{image} is private or absent ({status}); make it public, or copy it into a repository of ECR"
        )),
        404 => Finding::Bad(format!(
            "{image} is not there (404); look at its name and tag"
        )),
        429 => Finding::Missing(format!(
            "{image}: the registry has too many requests from here (429); copy it into a repository of ECR"
        )),
        other => Finding::Bad(format!("{image}: the registry answered {other}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn a_small_quota_comes_with_the_command_that_raises_it() {
        assert_eq!(shown(Quota::FargateOnDemand.judge(16.0)).0, "good");
        let (kind, said) = shown(Quota::FargateOnDemand.judge(6.0));
        assert_eq!(kind, "bad");
        assert!(
            said.contains("--quota-code L-3032A538 --desired-value 16"),
            "{said}"
        );
    }

    #[test]
    fn images_that_a_plan_names_are_found_wherever_they_stand() {
        let plan = serde_json::json!({
            "steps": [
                {"props": {"containerImage": "ghcr.io/a/b:1"}, "body": [{"props": {"containerImage": "alpine"}}]},
                {"props": {"containerImage": "{{ vars.image }}", "message": "containerImage"}},
            ],
        });
        let mut images = BTreeSet::new();
        images_of(&plan, &mut images);
        assert_eq!(
            images.into_iter().collect::<Vec<_>>(),
            ["alpine", "ghcr.io/a/b:1"]
        );
    }

    #[test]
    fn images_are_read_as_engines_read_them() {
        let shown = |name| {
            Image::parse(name).map(|image| {
                format!(
                    "{} {} {}",
                    image.registry, image.repository, image.reference
                )
            })
        };
        for (name, expected) in [
            (
                "ghcr.io/loculus-project/ingest",
                "ghcr.io loculus-project/ingest latest",
            ),
            ("ghcr.io/a/b:1.2@sha256:00ff", "ghcr.io a/b sha256:00ff"),
            ("localhost:5000/x:tag", "localhost:5000 x tag"),
            ("alpine", "registry-1.docker.io library/alpine latest"),
            (
                "nextstrain/base:build",
                "registry-1.docker.io nextstrain/base build",
            ),
        ] {
            assert_eq!(shown(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["", "a b", "ghcr.io/", "x:", "x?y"] {
            assert_eq!(shown(name), None, "{name}");
        }
    }

    #[test]
    fn a_challenge_says_where_a_token_is() {
        let challenge =
            r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#;
        assert_eq!(
            token_url(challenge).unwrap(),
            "https://ghcr.io/token?service=ghcr.io&scope=repository:a/b:pull"
        );
        assert_eq!(token_url("Basic realm=x"), None);
        // A token is asked for over TLS only.
        assert_eq!(token_url(r#"Bearer realm="http://a""#), None);
    }

    #[test]
    fn a_missing_image_is_wrong_and_a_busy_registry_is_not() {
        assert_eq!(shown(judge_manifest("a", 200)).0, "good");
        assert_eq!(shown(judge_manifest("a", 404)).0, "bad");
        assert_eq!(shown(judge_manifest("a", 401)).0, "bad");
        assert_eq!(shown(judge_manifest("a", 429)).0, "missing");
    }

    #[test]
    fn private_repositories_of_the_account_are_known() {
        let image = Image::parse("1.dkr.ecr.us-east-1.amazonaws.com/x:1").unwrap();
        assert_eq!(image.ecr(), Some(("1", "us-east-1")));
        assert_eq!(Image::parse("ghcr.io/a/b:1").unwrap().ecr(), None);
        assert_eq!(
            image.manifest_url(),
            "https://1.dkr.ecr.us-east-1.amazonaws.com/v2/x/manifests/1"
        );
    }
}
