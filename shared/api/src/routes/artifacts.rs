//! Artifacts: what an execution wrote, heads of files, downloads and uploads.

use std::collections::BTreeSet;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use operon_engine::ids;
use operon_engine::ports::ArtifactUri;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::executions::{existing, id_of, run_text};
use crate::cursor;
use crate::dto::Page;
use crate::extract::{Path, Query, Raw};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Bytes of a preview at most, and unless asked otherwise.
const PREVIEW_MAX: u64 = 256 * 1024;
const PREVIEW_DEFAULT: u64 = 32 * 1024;
/// Bytes of one piece of a download.
const PIECE: u64 = 1024 * 1024;
/// Bytes of an upload at most: larger files are put where the flow can read them.
pub(super) const UPLOAD_BYTES_MAX: usize = 100 * 1024 * 1024;
/// Bytes of a file's name at most.
const NAME_MAX: usize = 200;
/// Depth to which outputs are searched for artifacts.
const DEPTH_MAX: usize = 16;

/// An artifact of an execution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArtifactSummary {
    /// `operon:///…`
    uri: String,
    /// The last part of it.
    name: String,
    /// The task run that wrote it; null for an input.
    task_run: Option<String>,
    /// Of the task in the flow.
    task: Option<String>,
}

/// A page of artifacts.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ArtifactQuery {
    /// Task runs looked at in one page, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

fn find(value: &Value, depth: usize, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if ArtifactUri::is_uri(text) => {
            found.insert(text.clone());
        }
        Value::Array(items) if depth > 0 => {
            for item in items {
                find(item, depth - 1, found);
            }
        }
        Value::Object(entries) if depth > 0 => {
            for entry in entries.values() {
                find(entry, depth - 1, found);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {}
    }
}

fn name_of(uri: &str) -> String {
    uri.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Artifacts that an execution's inputs and outputs name.
#[utoipa::path(get, path = "/api/v1/executions/{id}/artifacts", params(("id" = String, Path), ArtifactQuery),
    tag = "artifacts",
    responses((status = 200, body = Page<ArtifactSummary>), (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<ArtifactQuery>,
) -> Result<Answer<Page<ArtifactSummary>>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let limit = cursor::limit(query.limit)?;
    let after = cursor::read(query.cursor.as_deref())?;
    let mut items = Vec::new();
    if after.is_none() {
        let mut found = BTreeSet::new();
        find(
            &Value::Object(row.meta.inputs.clone()),
            DEPTH_MAX,
            &mut found,
        );
        items.extend(found.into_iter().map(|uri| ArtifactSummary {
            name: name_of(&uri),
            uri,
            task_run: None,
            task: None,
        }));
    }
    let page = api
        .ports()
        .store
        .attempts_page(&row.meta.id, after, limit)
        .await?;
    let full = page.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = page.last().filter(|_| full);
    let next = next.and_then(|last| cursor::write(&(&last.task_run, last.attempt)));
    for row in page {
        let mut found = BTreeSet::new();
        find(&Value::Object(row.outputs), DEPTH_MAX, &mut found);
        found.extend(row.outputs_uri);
        items.extend(found.into_iter().map(|uri| ArtifactSummary {
            name: name_of(&uri),
            uri,
            task_run: Some(run_text(&row.task_run)),
            task: Some(row.task.clone()),
        }));
    }
    Ok(Answer(Page { items, next }))
}

/// Which artifact.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PreviewQuery {
    /// `operon:///…`
    uri: String,
    /// How much of its beginning; 32 KiB without it, 256 KiB at most.
    #[serde(default)]
    bytes: Option<u64>,
}

/// The beginning of a file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Preview {
    /// `text`, `csv`, `json`, `fasta` or `binary`.
    kind: String,
    /// Of the whole file, in bytes.
    size: u64,
    /// The file is longer than what is here.
    truncated: bool,
    /// What is shown; null of a binary file.
    text: Option<String>,
}

fn readable(uri: &ArtifactUri) -> Result<(), Problem> {
    // Revisions of flows, plans and logs have routes of their own.
    let key = uri.key();
    if key.starts_with("executions/") || key.starts_with("uploads/") {
        return Ok(());
    }
    Err(Problem::not_found(format!("there is no artifact {uri}")))
}

/// The beginning of a file: as text, or that it is none.
#[utoipa::path(get, path = "/api/v1/artifacts/preview", params(PreviewQuery), tag = "artifacts",
    responses((status = 200, body = Preview), (status = 404, body = Problem), (status = 400, body = Problem)))]
pub(crate) async fn preview(
    State(api): State<Api>,
    Query(query): Query<PreviewQuery>,
) -> Result<Answer<Preview>, Problem> {
    let uri: ArtifactUri = query.uri.parse()?;
    readable(&uri)?;
    let wanted = query.bytes.unwrap_or(PREVIEW_DEFAULT).clamp(1, PREVIEW_MAX);
    let artifacts = &api.ports().artifacts;
    let size = artifacts.size(&uri).await?;
    let bytes = artifacts.get_range(&uri, 0..wanted.min(size)).await?;
    let truncated = u64::try_from(bytes.len()).unwrap_or(u64::MAX) < size;
    let text = head(&bytes, truncated);
    Ok(Answer(Preview {
        kind: text
            .map_or("binary", |text| kind(uri.key(), text))
            .to_owned(),
        size,
        truncated,
        text: text.map(str::to_owned),
    }))
}

/// The text of a file's beginning: a character that is cut at the end is left out.
fn head(bytes: &[u8], truncated: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if truncated && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn kind(key: &str, text: &str) -> &'static str {
    let name = key.rsplit('/').next().unwrap_or_default().to_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    if ends(&[".fasta", ".fa", ".fna", ".faa"]) || text.starts_with('>') {
        "fasta"
    } else if ends(&[".csv", ".tsv"]) {
        "csv"
    } else if ends(&[".json", ".ndjson", ".jsonl"]) || text.trim_start().starts_with(['{', '[']) {
        "json"
    } else {
        "text"
    }
}

/// Which artifact.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DownloadQuery {
    /// `operon:///…`
    uri: String,
}

/// A whole file; never shown by the browser as a page of ours. Where the store can say so the answer is the address of
/// the file, which works for a few minutes and needs no token: send none there.
#[utoipa::path(get, path = "/api/v1/artifacts/download", params(DownloadQuery), tag = "artifacts",
    responses((status = 200, content_type = "application/octet-stream", body = String),
        (status = 307, description = "The file is at `Location`, for a few minutes"), (status = 404, body = Problem)))]
pub(crate) async fn download(
    State(api): State<Api>,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, Problem> {
    let uri: ArtifactUri = query.uri.parse()?;
    readable(&uri)?;
    let size = api.ports().artifacts.size(&uri).await?;
    if let Some(link) = api.ports().artifacts.download_link(&uri).await? {
        let link = HeaderValue::from_str(&link)
            .map_err(|_| Problem::internal("the link to the file is no address"))?;
        let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
        response.headers_mut().insert(header::LOCATION, link);
        return Ok(response);
    }
    let name: String = name_of(uri.key())
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let pieces = stream::unfold((api, uri, 0_u64), move |(api, uri, at)| async move {
        if at >= size {
            return None;
        }
        let end = at.saturating_add(PIECE).min(size);
        match api.ports().artifacts.get_range(&uri, at..end).await {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => {
                let next = at + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Some((Ok(bytes), (api, uri, next)))
            }
            Err(error) => {
                let error = std::io::Error::other(error.to_string());
                Some((Err(error), (api, uri, size)))
            }
        }
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, octets);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// What the file is called.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// Letters, digits, `.`, `_` and `-`.
    name: String,
}

/// A file that was stored.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Uploaded {
    /// Give it as the value of a FILE input.
    uri: String,
    /// In bytes.
    size: usize,
}

/// Whether a file may have this name here.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(good) || name.starts_with('.')
    {
        return Err(Problem::bad_request(format!(
            "`{name}`: the name of a file has 1 to {NAME_MAX} letters, digits, `.`, `_` and `-`, and does not begin with `.`"
        )));
    }
    Ok(())
}

/// Stores a file, at most 100 MiB, for a FILE input.
#[utoipa::path(post, path = "/api/v1/artifacts", params(UploadQuery), tag = "artifacts",
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 201, body = Uploaded), (status = 400, body = Problem), (status = 413, body = Problem)))]
pub(crate) async fn upload(
    State(api): State<Api>,
    who: Who,
    Query(query): Query<UploadQuery>,
    Raw(body): Raw,
) -> Result<(StatusCode, Answer<Uploaded>), Problem> {
    let name = &query.name;
    check_name(name)?;
    let id = ids::new_execution(api.ports().clock.now_ms());
    let uri = ArtifactUri::new(&format!("uploads/{id}/{name}"))?;
    let size = body.len();
    let change = Change::new("artifact.upload", uri.to_string()).after(json!({"size": size}));
    who.does(&api, change, api.ports().artifacts.put(&uri, body))
        .await?;
    Ok((
        StatusCode::CREATED,
        Answer(Uploaded {
            uri: uri.to_string(),
            size,
        }),
    ))
}
