//! Secrets of the local engine: from the environment it was started with, and from a file.
//!
//! `OPERON_SECRET_<NAME>` holds a value as it is, Kestra's `SECRET_<NAME>` in base64, `secrets.env` lines
//! `NAME=value`, and `secrets.json` an object of values, or of such objects by namespace. Invariant: values
//! are never printed, not even by `Debug`, and a file that others can read is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use operon_engine::ports::{SecretError, Secrets};
use serde::Deserialize;

/// Names of the file in the state directory.
const FILES: [&str; 2] = ["secrets.env", "secrets.json"];
/// Bytes of the file at most: 1 MiB.
const FILE_MAX: u64 = 1 << 20;
/// Bytes of one value at most: 64 KiB.
const VALUE_MAX: usize = 64 << 10;

/// Secrets, as they were when the engine started.
#[derive(Default)]
pub struct LocalSecrets {
    plain: BTreeMap<String, String>,
    base64: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    // By namespace; also for the namespaces below it.
    scoped: BTreeMap<String, BTreeMap<String, String>>,
}

impl fmt::Debug for LocalSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.plain.len() + self.base64.len() + self.file.len();
        f.debug_struct("LocalSecrets")
            .field("count", &count)
            .finish_non_exhaustive()
    }
}

impl LocalSecrets {
    /// Captures the variables and reads the file: the one given, which must exist, or one of `state_dir`.
    pub fn capture(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&Path>,
        state_dir: &Path,
    ) -> Result<Self, SecretError> {
        let mut secrets = Self::default();
        for (name, value) in variables {
            // What is not Unicode is no secret of ours.
            let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
                continue;
            };
            if let Some(name) = name.strip_prefix("OPERON_SECRET_") {
                secrets.plain.insert(name.to_owned(), value);
            } else if let Some(name) = name.strip_prefix("SECRET_") {
                secrets.base64.insert(name.to_owned(), value);
            }
        }
        let found = match file {
            Some(file) => Some(file.to_owned()),
            None => in_state_dir(state_dir)?,
        };
        if let Some(path) = found {
            let text = read_private(&path)?;
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                secrets.read_json(&path, &text)?;
            } else {
                secrets.file = read_env(&path, &text)?;
            }
        }
        Ok(secrets)
    }

    fn read_json(&mut self, path: &Path, text: &str) -> Result<(), SecretError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Item {
            Value(String),
            Namespace(BTreeMap<String, String>),
        }
        let items: BTreeMap<String, Item> = serde_json::from_str(text).map_err(|error| {
            // The message of the parser may quote a value: only the place is told.
            failed(format!(
                "{}:{}:{}: expected a JSON object of strings, or of such objects by namespace",
                path.display(),
                error.line(),
                error.column()
            ))
        })?;
        for (name, item) in items {
            match item {
                Item::Value(value) => {
                    self.file.insert(name, value);
                }
                Item::Namespace(values) => {
                    self.scoped.insert(name, values);
                }
            }
        }
        Ok(())
    }

    /// The most specific value: environment before file, and in the file the longest namespace first.
    fn find(&self, namespace: &str, name: &str) -> Result<Option<String>, SecretError> {
        // Kestra's names of variables are in capitals whatever the flow writes.
        let capitals = name.to_uppercase();
        let either = |values: &BTreeMap<String, String>| {
            values.get(name).or_else(|| values.get(&capitals)).cloned()
        };
        if let Some(value) = either(&self.plain) {
            return Ok(Some(value));
        }
        if let Some(encoded) = either(&self.base64) {
            return decode(&encoded, name).map(Some);
        }
        let mut namespace = namespace;
        loop {
            let values = self.scoped.get(namespace);
            if let Some(value) = values.and_then(|values| values.get(name)) {
                return Ok(Some(value.clone()));
            }
            match namespace.rsplit_once('.') {
                Some((parent, _)) => namespace = parent,
                None => return Ok(self.file.get(name).cloned()),
            }
        }
    }
}

#[async_trait]
impl Secrets for LocalSecrets {
    async fn secret(&self, namespace: &str, name: &str) -> Result<String, SecretError> {
        let value = self.find(namespace, name)?.ok_or_else(|| {
            let variable = name.to_uppercase();
            SecretError::Missing {
                name: name.to_owned(),
                remedy: format!(
                    "set OPERON_SECRET_{variable}, or add it to secrets.env in the state directory, \
                     and start again"
                ),
            }
        })?;
        if value.len() > VALUE_MAX {
            return Err(failed(format!(
                "`{name}` has {} bytes; a secret has at most {VALUE_MAX}",
                value.len()
            )));
        }
        Ok(value)
    }
}

fn decode(encoded: &str, name: &str) -> Result<String, SecretError> {
    // Tools that encode often end with a newline, or fold lines.
    let packed: String = encoded.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(packed).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            let variable = name.to_uppercase();
            failed(format!(
                "SECRET_{variable} is not base64 of text; encode it, or set OPERON_SECRET_{variable} \
                 to the value itself"
            ))
        })
}

fn in_state_dir(state_dir: &Path) -> Result<Option<PathBuf>, SecretError> {
    let mut found: Vec<PathBuf> = (FILES.iter().map(|name| state_dir.join(name)))
        .filter(|path| path.exists())
        .collect();
    if found.len() > 1 {
        return Err(failed(format!(
            "{} holds both {} and {}; remove one",
            state_dir.display(),
            FILES[0],
            FILES[1]
        )));
    }
    Ok(found.pop())
}

/// The text of a file that only its owner can read.
fn read_private(path: &Path) -> Result<String, SecretError> {
    let shown = path.display();
    let explain = |error: io::Error| failed(format!("{shown}: {error}"));
    let file = File::open(path).map_err(explain)?;
    let metadata = file.metadata().map_err(explain)?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failed(format!(
            "{shown} can be read or changed by others (mode {mode:04o}); run `chmod 600 {shown}`"
        )));
    }
    let mut text = String::new();
    file.take(FILE_MAX + 1)
        .read_to_string(&mut text)
        .map_err(explain)?;
    if text.len() as u64 > FILE_MAX {
        return Err(failed(format!("{shown} is larger than {FILE_MAX} bytes")));
    }
    Ok(text)
}

/// Lines `NAME=value`, `export NAME=value`, `NAME='value'` or `NAME="value"` with `\n`, `\"` and `\\`.
fn read_env(path: &Path, text: &str) -> Result<BTreeMap<String, String>, SecretError> {
    let mut values = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line
            .split_once('=')
            .and_then(|(name, value)| Some((name.trim(), unquote(value.trim())?)))
            .filter(|(name, _)| is_name(name));
        let Some((name, value)) = pair else {
            // The line may hold a secret: it is not shown.
            return Err(failed(format!(
                "{}:{}: expected NAME=value, NAME='value' or NAME=\"value\"",
                path.display(),
                number + 1
            )));
        };
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn unquote(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest
            .strip_suffix('\'')
            .filter(|inner| !inner.contains('\''))
            .map(str::to_owned);
    }
    let Some(rest) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut inner = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(inner),
            '\\' => match characters.next()? {
                'n' => inner.push('\n'),
                't' => inner.push('\t'),
                escaped @ ('"' | '\\' | '$') => inner.push(escaped),
                _ => return None,
            },
            character => inner.push(character),
        }
    }
}

fn failed(message: String) -> SecretError {
    SecretError::Failed(message)
}

#[cfg(test)]
mod tests;
