//! Asks AWS about a deployment: its parts, what these credentials may do there, quotas of the account, and registries
//! about images.
//!
//! Invariant: nothing is changed; every request reads, and a function is only asked whether it could be called.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use operon_aws::signed::{Service, ServiceName, SignedError};
use operon_aws::{Config, Role, Sdk, World};
use reqwest::Method;
use serde_json::{Value, json};

use super::Finding;
use super::cloud::{self, Image, Quota};
use super::running;

/// For one request to a registry.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a registry's answer with a token at most.
const TOKEN_MAX: usize = 64 * 1024;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

pub(super) type Findings = Vec<(&'static str, Finding)>;

/// Everything about a stage and some images.
pub(super) async fn findings(stage: &str, images: &[String]) -> Findings {
    let sdk = Sdk::load().await;
    let Some(region) = sdk.config().region() else {
        let text = "no region; set AWS_REGION to the one of the deployment";
        return vec![("region", Finding::Bad(text.to_owned()))];
    };
    let mut found = vec![("region", Finding::Good(region.to_string()))];
    found.extend(parts(&sdk, stage).await);
    found.extend(running::findings(&sdk, stage).await);
    found.extend(quotas(&sdk).await);
    let mut of_deployed = BTreeSet::new();
    match environment(&sdk, stage).await {
        Ok(variables) => {
            let agent = variables.get("OPERON_AGENT_IMAGE");
            let agent = agent.map_or_else(String::new, Clone::clone);
            found.push(("agent", pull(&sdk, &agent).await));
            let bucket = variables.get("OPERON_DATA_BUCKET");
            found.push(("bucket", running::bucket(&sdk, bucket).await));
            match of_flows(&sdk, &variables).await {
                Ok(images) => of_deployed = images,
                Err(error) => found.push(("flows", Finding::Missing(error))),
            }
        }
        Err(error) => found.push((
            "agent",
            Finding::Missing(format!(
                "which image stands beside containers, which ones flows name and which bucket holds their files is not \
                 known: {error}; may these credentials lambda:GetFunctionConfiguration?"
            )),
        )),
    }
    // All at once: a registry that is out of reach takes its time.
    let pulls = images.iter().chain(&of_deployed);
    let pulled = join_all(pulls.map(|image| pull(&sdk, image))).await;
    let asked = images.len();
    for (at, finding) in pulled.into_iter().enumerate() {
        found.push((
            "image",
            match finding {
                // A task may have `credentials`, which are not used here, and its image be in another account.
                Finding::Bad(text) if at >= asked => Finding::Missing(format!(
                    "{text}; unless its tasks have `credentials` for it"
                )),
                other @ (Finding::Good(_)
                | Finding::Warning(_)
                | Finding::Missing(_)
                | Finding::Bad(_)) => other,
            },
        ));
    }
    found
}

/// The environment of the launcher.
async fn environment(sdk: &Sdk, stage: &str) -> Result<BTreeMap<String, String>, SignedError> {
    let lambda = service(sdk, ServiceName::Lambda);
    let path = format!("/2015-03-31/functions/operon-{stage}-launcher/configuration");
    let answer = lambda.send((Method::GET, &path, &[]), Vec::new(), true);
    let answer: Value = serde_json::from_slice(&answer.await?.body).unwrap_or_default();
    let variables = answer.pointer("/Environment/Variables");
    let variables = variables.and_then(Value::as_object).into_iter().flatten();
    Ok(variables
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect())
}

/// Images that deployed flows name, without those that expressions make.
async fn of_flows(
    sdk: &Sdk,
    variables: &BTreeMap<String, String>,
) -> Result<BTreeSet<String>, String> {
    let config = Config::read(Role::Launcher, |name| variables.get(name).cloned());
    let config = config.map_err(|error| error.to_string())?;
    let flows = World::new(config, sdk.clone()).triggers().flows;
    let deployed = flows.deployed().await.map_err(|error| {
        format!(
            "images that flows name are not known: {error}; may these credentials dynamodb:Query and \
             s3:GetObject?"
        )
    })?;
    let mut images = BTreeSet::new();
    for flow in deployed {
        let plan = serde_json::from_slice(&flow.plan.canonical_json());
        cloud::images_of(&plan.unwrap_or_default(), &mut images);
    }
    Ok(images)
}

pub(super) fn service(sdk: &Sdk, name: ServiceName) -> Service {
    Service::new(sdk, name, TIMEOUT)
}

/// Whether the stack's parts are there and these credentials may look at them.
async fn parts(sdk: &Sdk, stage: &str) -> Findings {
    let name = format!("operon-{stage}");
    let table = sdk
        .dynamodb()
        .describe_table()
        .table_name(&name)
        .send()
        .await;
    let mut found = vec![(
        "table",
        judged(
            &name,
            "dynamodb:DescribeTable",
            table
                .map(|_| ())
                .map_err(|e| e.into_service_error().to_string()),
        ),
    )];
    let clusters = sdk.ecs().describe_clusters().clusters(&name).send().await;
    let cluster = match clusters {
        Ok(answer) if answer.clusters().is_empty() => Err("there is none of that name".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into_service_error().to_string()),
    };
    found.push(("cluster", judged(&name, "ecs:DescribeClusters", cluster)));
    let sqs = sdk.sqs();
    for queue in ["intake", "plan", "launch", "work"] {
        let name = format!("{name}-{queue}");
        let url = sqs.get_queue_url().queue_name(&name).send().await;
        let url = url
            .map(|_| ())
            .map_err(|error| error.into_service_error().to_string());
        found.push(("queue", judged(&name, "sqs:GetQueueUrl", url)));
    }
    found
}

fn judged(name: &str, action: &str, answer: Result<(), String>) -> Finding {
    match answer {
        Ok(()) => Finding::Good(name.to_owned()),
        Err(error) => refused(name, action, &error),
    }
}

pub(super) fn refused(name: &str, action: &str, error: &dyn std::fmt::Display) -> Finding {
    Finding::Bad(format!(
        "{name}: {error}; is the stage deployed in this region, and may these credentials {action}?"
    ))
}

async fn quotas(sdk: &Sdk) -> Findings {
    let quotas = service(sdk, ServiceName::Quotas);
    let mut found = Vec::new();
    for quota in Quota::ALL {
        let (service, code) = quota.code();
        let wish = json!({"ServiceCode": service, "QuotaCode": code});
        let target = "ServiceQuotasV20190624.GetServiceQuota";
        let finding = match quotas.ask(target, "1.1", &wish).await {
            Ok(answer) => answer
                .pointer("/Quota/Value")
                .and_then(Value::as_f64)
                .map_or_else(
                    || Finding::Missing(format!("{service} {code}: AWS tells no value")),
                    |value| quota.judge(value),
                ),
            Err(error) => Finding::Missing(format!(
                "{service} {code}: {error}; may these credentials servicequotas:GetServiceQuota?"
            )),
        };
        found.push(("quota", finding));
    }
    found
}

/// Whether a repository of an account has an image. ECS may pull from those of its own only, and so may hardly anybody
/// else be asked.
async fn of_registry(sdk: &Sdk, account: &str, repository: &str, tag: &str) -> Finding {
    let images = service(sdk, ServiceName::Images);
    let named = match tag.strip_prefix("sha256:") {
        Some(_) => json!({"imageDigest": tag}),
        None => json!({"imageTag": tag}),
    };
    let wish = json!({
        "registryId": account, "repositoryName": repository, "imageIds": [named],
    });
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
    match images.ask(target, "1.1", &wish).await {
        Ok(_) => Finding::Good(format!("{repository}:{tag} is there")),
        Err(error) => Finding::Bad(format!(
            "{repository}:{tag}: {error}; push it, or may these credentials ecr:DescribeImages?"
        )),
    }
}

/// Whether a registry has an image for somebody without an account there, as Fargate is.
async fn pull(sdk: &Sdk, name: &str) -> Finding {
    let Some(image) = Image::parse(name) else {
        return Finding::Bad(format!("`{name}` is no name of an image"));
    };
    if let Some((account, region)) = image.ecr() {
        let own = sdk.region();
        if region != own {
            return Finding::Bad(format!(
                "{name}: ECS may pull from repositories of {own} only; copy the image there"
            ));
        }
        return of_registry(sdk, account, &image.repository, &image.reference).await;
    }
    match ask(&image).await {
        Ok(status) => cloud::judge_manifest(name, status),
        Err(error) => Finding::Bad(format!("{name}: {error}")),
    }
}

async fn ask(image: &Image) -> Result<u16, String> {
    let client = operon_engine::tls::http_client()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let manifest = || {
        client
            .head(image.manifest_url())
            .header("accept", MANIFESTS)
    };
    let first = manifest().send().await.map_err(|error| error.to_string())?;
    let challenge = first.headers().get("www-authenticate");
    let token_url = challenge
        .and_then(|value| value.to_str().ok())
        .and_then(cloud::token_url);
    let (401, Some(token_url)) = (first.status().as_u16(), token_url) else {
        return Ok(first.status().as_u16());
    };
    let answer = client
        .get(token_url)
        .send()
        .await
        .map_err(|error| error.to_string())?;
    if answer
        .content_length()
        .is_some_and(|length| length > TOKEN_MAX as u64)
    {
        return Err("the registry's answer with a token is too long".to_owned());
    }
    let body: Value = answer.json().await.map_err(|error| error.to_string())?;
    let token = body.get("token").or_else(|| body.get("access_token"));
    let token = token.and_then(Value::as_str).unwrap_or_default();
    let second = manifest().bearer_auth(token).send().await;
    Ok(second.map_err(|error| error.to_string())?.status().as_u16())
}
