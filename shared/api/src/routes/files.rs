//! Files beside flows: kept by their content, then listed, then named by a deployment.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use operon_engine::files::{self, ListError, Listed};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::artifacts::check_name;
use crate::extract::{Json, Query, Raw};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Files of one listing at most: they are looked for within one request.
pub(crate) const FILES_MAX: usize = 1_000;

/// Which file.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// Its name, without directories.
    name: String,
}

/// A file that is kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct KeptFile {
    /// Of its content, in hexadecimal.
    sha256: String,
}

/// Keeps a file that is to be beside flows, at most 4 MiB.
#[utoipa::path(post, path = "/api/v1/files", params(FileQuery), tag = "flows",
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 201, body = KeptFile), (status = 400, body = Problem), (status = 413, body = Problem)))]
pub(crate) async fn keep(
    State(api): State<Api>,
    who: Who,
    Query(query): Query<FileQuery>,
    Raw(body): Raw,
) -> Result<(StatusCode, Answer<KeptFile>), Problem> {
    check_name(&query.name)?;
    let after = json!({"name": query.name, "size": body.len()});
    let change = Change::new("file.keep", &query.name).after(after);
    let keep = files::keep(&*api.ports().artifacts, &query.name, body);
    let sha256 = who.does(&api, change, keep).await?;
    Ok((StatusCode::CREATED, Answer(KeptFile { sha256 })))
}

/// Which files are beside a flow.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    /// SHA-256 by path, which is relative and has `/` between its parts.
    files: BTreeMap<String, String>,
}

/// A listing, or what it lacks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ListingAnswer {
    /// For the header `X-Operon-Files` of a deployment; null while something is missing.
    uri: Option<String>,
    /// Paths of files that have to be kept first.
    missing: Vec<String>,
}

/// Lists kept files, at most 1,000. While some are missing nothing is stored, and the answer names them.
#[utoipa::path(post, path = "/api/v1/files/listings", request_body = Listing, tag = "flows",
    responses((status = 200, body = ListingAnswer), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    who: Who,
    Json(wish): Json<Listing>,
) -> Result<Answer<ListingAnswer>, Problem> {
    if wish.files.len() > FILES_MAX {
        return Err(Problem::bad_request(format!(
            "{} files; at most {FILES_MAX} are deployed with a flow over HTTP",
            wish.files.len()
        )));
    }
    for path in wish.files.keys() {
        check_name(path.rsplit('/').next().unwrap_or(path))?;
    }
    let list = async {
        let listed = files::list(&*api.ports().artifacts, &wish.files).await;
        listed.map_err(|error| match error {
            ListError::Store(error) => error.into(),
            ListError::TooMany(_) | ListError::Path(_) | ListError::Hash(_) => {
                Problem::bad_request(error.to_string())
            }
        })
    };
    // A listing that is stored is used by nothing until a deployment names it; that there is one is written down.
    let after = json!({"files": wish.files.len()});
    let change = Change::new("file.list", "files").after(after);
    Ok(Answer(match who.does(&api, change, list).await? {
        Listed::At(uri) => ListingAnswer {
            uri: Some(uri.to_string()),
            missing: Vec::new(),
        },
        Listed::Missing(missing) => ListingAnswer { uri: None, missing },
    }))
}
