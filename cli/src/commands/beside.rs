//! Files beside a flow: sent to a server, each content once.

use std::collections::BTreeMap;
use std::path::Path;

use operon_engine::files;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Client, with_query};
use crate::exit::Usage;

/// Bytes of one file at most: of a body that a server takes.
const FILE_BYTES_MAX: u64 = operon_api::BODY_BYTES_MAX as u64;

/// Sends what the server has not yet, and returns the listing to deploy a flow with.
pub(crate) async fn publish(client: &Client, directory: &Path) -> anyhow::Result<String> {
    let local = files::of_directory(directory, FILE_BYTES_MAX)
        .await
        .map_err(|error| Usage::new(format!("the files of `{}`: {error}", directory.display())))?;
    let hashes: BTreeMap<&String, &String> = local
        .iter()
        .map(|(path, one)| (path, &one.sha256))
        .collect();
    let wish = json!({ "files": hashes });
    // Another deployment may remove nothing, so what is missing the first time is there the second time.
    for _ in 0..2 {
        let answer: Value = client.post("/files/listings", &wish).await?;
        if let Some(uri) = answer["uri"].as_str() {
            return Ok(uri.to_owned());
        }
        let missing = answer["missing"].as_array().into_iter().flatten();
        for path in missing.filter_map(Value::as_str) {
            let Some(one) = local.get(path) else { continue };
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            let bytes = tokio::fs::read(&one.file).await?;
            let request = client
                .request(Method::POST, &with_query("/files", &[("name", name)]))
                .header("content-type", "application/octet-stream")
                .body(bytes);
            let _: Value = client.ask(request).await?;
        }
    }
    Err(Usage::new(format!(
        "the files of `{}` change while they are sent",
        directory.display()
    ))
    .help("deploy again when nothing writes there")
    .into())
}
