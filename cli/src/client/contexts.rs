//! Contexts: servers by name, kept for the user in a file that only they can read.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::exit::Usage;

/// The context that means this machine, whatever is chosen otherwise.
pub(crate) const LOCAL: &str = "local";
/// Bytes of a file with contexts or a token at most.
const FILE_MAX: u64 = 1024 * 1024;

/// A server and how it knows us.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Such as `https://…lambda-url.eu-central-1.on.aws`.
    pub(crate) url: String,
    /// Sent as a bearer token.
    pub(crate) token: Option<String>,
    /// Requests are signed with AWS credentials, for this region.
    pub(crate) signed_for: Option<String>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Servers by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Contexts {
    /// The one that is used without `--context`.
    pub(crate) current: Option<String>,
    /// By name.
    pub(crate) contexts: BTreeMap<String, Entry>,
}

/// One server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Its address.
    pub(crate) url: String,
    /// The file that holds the token.
    pub(crate) token_file: Option<PathBuf>,
    /// Requests are signed with the caller's AWS credentials, for this region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signed_for: Option<String>,
}

impl Entry {
    /// How it knows us, for people.
    pub(crate) fn credential(&self) -> String {
        match (&self.signed_for, &self.token_file) {
            (Some(region), _) => format!("signed for {region}"),
            (None, Some(path)) => format!("token of {}", path.display()),
            (None, None) => "token of OPERON_TOKEN".to_owned(),
        }
    }
}

/// The region in the address of a function: `https://<id>.lambda-url.<region>.on.aws`.
pub(crate) fn region_of(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://")?.split(['/', ':']).next()?;
    let (_, rest) = host.split_once(".lambda-url.")?;
    rest.strip_suffix(".on.aws")
}

/// What a server of this machine writes into its state directory.
#[derive(Deserialize)]
struct Announced {
    url: String,
    token: String,
}

impl Contexts {
    fn path() -> anyhow::Result<PathBuf> {
        let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let base = base.filter(|path| path.is_absolute()).or_else(home);
        let base = base.ok_or_else(|| Usage::new("the variable HOME is not set"))?;
        Ok(base.join("operon").join("contexts.json"))
    }

    /// The contexts of this user.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let path = Self::path()?;
        match text(&path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| {
                Usage::new(format!("{} is damaged: {error}", path.display())).into()
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                Err(Usage::new(format!("{} cannot be read: {error}", path.display())).into())
            }
        }
    }

    /// Keeps them.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let path = Self::path()?;
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        Ok(())
    }

    /// The server to ask: of the context named, of the environment, of the context in use, or of this machine.
    pub(crate) fn target(context: Option<&str>, state: &Path) -> anyhow::Result<Option<Target>> {
        if context.is_none()
            && let Some(target) = of_environment()
        {
            return Ok(Some(target));
        }
        let contexts = Self::read()?;
        let name = context.or(contexts.current.as_deref());
        match name {
            None | Some(LOCAL) => of_machine(state),
            Some(name) => contexts.entry(name).map(Some),
        }
    }

    /// Whether a server elsewhere is meant rather than the state directory.
    pub(crate) fn is_remote(context: Option<&str>) -> anyhow::Result<bool> {
        match context {
            Some(name) => Ok(name != LOCAL),
            None if of_environment().is_some() => Ok(true),
            None => Ok(Self::read()?.current.is_some_and(|name| name != LOCAL)),
        }
    }

    fn entry(&self, name: &str) -> anyhow::Result<Target> {
        let entry = self.contexts.get(name).ok_or_else(|| {
            Usage::new(format!("there is no context `{name}`"))
                .help("`operon context list` shows those there are; `operon context add NAME URL` adds one")
        })?;
        let token = match &entry.token_file {
            _ if entry.signed_for.is_some() => None,
            Some(path) => Some(token_of(path)?),
            None => std::env::var("OPERON_TOKEN").ok(),
        };
        Ok(Target {
            url: entry.url.clone(),
            token,
            signed_for: entry.signed_for.clone(),
        })
    }
}

fn text(path: &Path) -> std::io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > FILE_MAX {
        return Err(std::io::Error::other(format!("it has {size} bytes")));
    }
    fs::read_to_string(path)
}

/// A token from a file that only its owner may read.
fn token_of(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let found = fs::metadata(path)
        .map_err(|error| Usage::new(format!("the token file {shown} cannot be read: {error}")))?;
    if found.permissions().mode() & 0o077 != 0 {
        return Err(
            Usage::new(format!("others may read the token file {shown}"))
                .help(format!("`chmod 600 {shown}`"))
                .into(),
        );
    }
    let text = text(path)
        .map_err(|error| Usage::new(format!("the token file {shown} cannot be read: {error}")))?;
    Ok(text.trim().to_owned())
}

fn of_environment() -> Option<Target> {
    let url = std::env::var("OPERON_URL")
        .ok()
        .filter(|url| !url.is_empty())?;
    Some(Target {
        url,
        token: std::env::var("OPERON_TOKEN").ok(),
        signed_for: None,
    })
}

/// The server that works on a state directory of this machine.
fn of_machine(state: &Path) -> anyhow::Result<Option<Target>> {
    let path = state.join(crate::commands::ADDRESS_FILE);
    match text(&path) {
        Ok(text) => {
            let found: Announced = serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged", path.display()))?;
            Ok(Some(Target {
                url: found.url,
                token: Some(found.token),
                signed_for: None,
            }))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn the_address_of_a_function_names_its_region() {
        let url = "https://abc.lambda-url.eu-central-1.on.aws/";
        assert_eq!(region_of(url), Some("eu-central-1"));
        assert_eq!(region_of("https://operon.example.org"), None);
        assert_eq!(region_of("http://abc.lambda-url.eu-central-1.on.aws"), None);
    }
}
