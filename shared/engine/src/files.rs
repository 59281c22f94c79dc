//! Files beside a flow: namespace files of the embedded engine.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

/// `place` under `root`, if it stays there: relative, without `..`.
#[must_use]
pub fn beneath(root: &Path, place: &str) -> Option<PathBuf> {
    let place = place.strip_prefix("nsfile:///").unwrap_or(place);
    let path = Path::new(place);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (inside && !place.is_empty()).then(|| root.join(path))
}

/// Reads a file beside the flow, at most `limit` bytes. The error is a sentence for people.
pub(crate) async fn read_beside(
    flow_dir: Option<&str>,
    place: &str,
    limit: u64,
) -> Result<Bytes, String> {
    let Some(root) = flow_dir else {
        return Err("this execution has no namespace files; use an artifact URI".to_owned());
    };
    let Some(path) = beneath(Path::new(root), place) else {
        return Err("the path must be relative and stay beside the flow".to_owned());
    };
    let size = tokio::fs::metadata(&path)
        .await
        .map_err(|error| error.to_string())?
        .len();
    if size > limit {
        return Err(format!(
            "it has {size} bytes; at most {limit} can be read into an expression"
        ));
    }
    tokio::fs::read(&path)
        .await
        .map(Bytes::from)
        .map_err(|error| error.to_string())
}
