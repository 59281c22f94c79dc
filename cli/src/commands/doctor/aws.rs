//! Asks AWS about a deployment: its parts, what these credentials may do there, quotas of the account, and registries
//! about images.
//!
//! Invariant: nothing is changed; every request reads, and a function is only asked whether it could be called.

use std::time::Duration;

use operon_aws::Sdk;
use operon_aws::signed::{Service, ServiceName, SignedError};
use serde_json::{Value, json};

use super::Finding;
use super::cloud::{self, Image, Quota};

/// For one request to a registry.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a registry's answer with a token at most.
const TOKEN_MAX: usize = 64 * 1024;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

type Findings = Vec<(&'static str, Finding)>;

/// Everything about a stage and some images.
pub(super) async fn findings(stage: &str, images: &[String]) -> Findings {
    let sdk = Sdk::load().await;
    let Some(region) = sdk.config().region() else {
        let text = "no region; set AWS_REGION to the one of the deployment";
        return vec![("region", Finding::Bad(text.to_owned()))];
    };
    let mut found = vec![("region", Finding::Good(region.to_string()))];
    found.extend(parts(&sdk, stage).await);
    found.extend(functions(&sdk, stage).await);
    found.extend(quotas(&sdk).await);
    let agent = format!("operon-{stage}-agent");
    let repository = of_registry(&sdk, &agent, "latest").await;
    // Which image the launcher takes is in its configuration, which needs a right of its own.
    found.push((
        "agent",
        match repository {
            Finding::Bad(text) => Finding::Bad(format!(
                "{text} A deployment with the parameter `AgentImage` needs none there: ask with --image for that one."
            )),
            other @ (Finding::Good(_) | Finding::Missing(_)) => other,
        },
    ));
    for image in images {
        found.push(("image", pull(&sdk, image).await));
    }
    found
}

fn service(sdk: &Sdk, name: ServiceName) -> Result<Service, SignedError> {
    Service::new(sdk.config(), name, TIMEOUT)
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
        Err(error) => Finding::Bad(format!(
            "{name}: {error}; is the stage deployed in this region, and may these credentials {action}?"
        )),
    }
}

/// Whether the functions are there and these credentials may call those that are called directly.
async fn functions(sdk: &Sdk, stage: &str) -> Findings {
    let lambda = match service(sdk, ServiceName::Lambda) {
        Ok(lambda) => lambda,
        Err(error) => return vec![("function", Finding::Bad(error.to_string()))],
    };
    let mut found = Vec::new();
    for name in ["intake", "api"] {
        let name = format!("operon-{stage}-{name}");
        let path = format!("/2015-03-31/functions/{name}/invocations");
        // Lambda only says whether it would be called.
        let headers = [("x-amz-invocation-type", "DryRun")];
        let answer = lambda.post(&path, &headers, b"{}".to_vec(), true).await;
        let answer = answer.map(|_| ()).map_err(|error| error.to_string());
        found.push(("function", judged(&name, "lambda:InvokeFunction", answer)));
    }
    found
}

async fn quotas(sdk: &Sdk) -> Findings {
    let quotas = match service(sdk, ServiceName::Quotas) {
        Ok(quotas) => quotas,
        Err(error) => return vec![("quota", Finding::Bad(error.to_string()))],
    };
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

/// Whether a repository of the account has an image.
async fn of_registry(sdk: &Sdk, repository: &str, tag: &str) -> Finding {
    let images = match service(sdk, ServiceName::Images) {
        Ok(images) => images,
        Err(error) => return Finding::Bad(error.to_string()),
    };
    let named = match tag.strip_prefix("sha256:") {
        Some(_) => json!({"imageDigest": tag}),
        None => json!({"imageTag": tag}),
    };
    let wish = json!({"repositoryName": repository, "imageIds": [named]});
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
    if image.is_ecr() {
        return of_registry(sdk, &image.repository, &image.reference).await;
    }
    match ask(&image).await {
        Ok(status) => cloud::judge_manifest(name, status),
        Err(error) => Finding::Bad(format!("{name}: {error}")),
    }
}

async fn ask(image: &Image) -> Result<u16, String> {
    let client = reqwest::Client::builder()
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
