//! Logins at registries of images: the property `credentials` of a container.
//!
//! Invariant: the values of a login go to whoever pulls the image and nowhere else. They are in no environment, in no
//! argument and in no stored item, and nothing shows them that prints an attempt.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::script::text_of;

/// Where images without a host come from.
const DOCKER_HUB: &str = "docker.io";
/// Other names of the same registry.
const DOCKER_HUB_NAMES: [&str; 3] = [
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];

/// A login at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The only registry it is for; none means that of the image.
    pub registry: Option<String>,
    /// What shows who pulls.
    pub proof: Proof,
}

/// What shows a registry who pulls.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// A name and a password.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// `base64(name:password)`, as in Docker's own configuration.
    Auth(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
    /// A token that gets tokens from the registry.
    IdentityToken(String),
    /// A document `{"username": …, "password": …}`: what ECS reads from Secrets Manager by itself.
    Document(String),
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.registry.as_deref().unwrap_or("the image's registry");
        write!(f, "RegistryLogin({registry})")
    }
}

#[derive(Deserialize)]
struct Document {
    username: String,
    password: String,
}

impl RegistryLogin {
    /// Takes the rendered `credentials` out of the options of a container.
    pub fn take(options: &mut Map<String, Value>) -> Result<Option<Self>, String> {
        let Some(Value::Object(runner)) = options.get_mut("taskRunner") else {
            return Ok(None);
        };
        match runner.remove("credentials") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(given)) => Self::read(&given).map(Some),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err("`credentials` must be a map".to_owned())
            }
        }
    }

    fn read(given: &Map<String, Value>) -> Result<Self, String> {
        let text = |key: &str| given.get(key).map(text_of).filter(|text| !text.is_empty());
        let proof = if let Some(document) = text("login") {
            Proof::Document(document)
        } else if let Some(token) = text("registryToken") {
            Proof::RegistryToken(token)
        } else if let Some(token) = text("identityToken") {
            Proof::IdentityToken(token)
        } else if let Some(auth) = text("auth") {
            Proof::Auth(auth)
        } else if let (Some(username), Some(password)) = (text("username"), text("password")) {
            Proof::Password { username, password }
        } else {
            return Err(
                "`credentials` has no login: the secrets it names are empty; it takes `login`, or `username` and \
                 `password`, or `auth`, `registryToken` or `identityToken`"
                    .to_owned(),
            );
        };
        Ok(Self {
            registry: text("registry"),
            proof,
        })
    }

    /// What must not be shown anywhere.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        match &self.proof {
            Proof::Password { password, .. } => vec![password.clone()],
            Proof::Auth(value)
            | Proof::RegistryToken(value)
            | Proof::IdentityToken(value)
            | Proof::Document(value) => {
                let password = self.password().ok().flatten();
                let password = password.map(|(_, password)| password);
                [value.clone()].into_iter().chain(password).collect()
            }
        }
    }

    /// Name and password, where the login has these.
    pub fn password(&self) -> Result<Option<(String, String)>, String> {
        match &self.proof {
            Proof::Password { username, password } => {
                Ok(Some((username.clone(), password.clone())))
            }
            Proof::Auth(value) => {
                let wrong = || "`credentials.auth` is not base64 of `name:password`".to_owned();
                let bytes = STANDARD.decode(value.trim()).map_err(|_| wrong())?;
                let text = String::from_utf8(bytes).map_err(|_| wrong())?;
                let (name, password) = text.split_once(':').ok_or_else(wrong)?;
                Ok(Some((name.to_owned(), password.to_owned())))
            }
            Proof::Document(value) => {
                // What the parser says of the text could show a part of it.
                let found: Document = serde_json::from_str(value).map_err(|_| {
                    "the secret of `credentials.login` is not `{\"username\": \"…\", \"password\": \"…\"}`".to_owned()
                })?;
                Ok(Some((found.username, found.password)))
            }
            Proof::RegistryToken(_) | Proof::IdentityToken(_) => Ok(None),
        }
    }

    /// The registry that gets the login when `image` is pulled. A login for another one is not sent.
    pub fn registry_for(&self, image: &str) -> Result<String, String> {
        let wanted = registry_of(image);
        match self.registry.as_deref().map(host) {
            Some(given) if given != wanted => Err(format!(
                "`credentials.registry` is `{given}`, and `{image}` is pulled from `{wanted}`: a login is sent to its \
                 own registry only; correct one of the two"
            )),
            Some(_) | None => Ok(wanted),
        }
    }
}

/// The host in the address of a registry.
fn host(address: &str) -> String {
    let plain = address
        .split_once("://")
        .map_or(address, |(_, after)| after);
    let host = plain.split('/').next().unwrap_or(plain).to_lowercase();
    if DOCKER_HUB_NAMES.contains(&host.as_str()) {
        DOCKER_HUB.to_owned()
    } else {
        host
    }
}

/// The registry that an image comes from, as container engines read its name.
fn registry_of(image: &str) -> String {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => host(first),
        Some(_) | None => DOCKER_HUB.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn login(given: &Value) -> Result<RegistryLogin, String> {
        let mut options = Map::new();
        options.insert(
            "taskRunner".to_owned(),
            json!({"type": "docker", "credentials": given}),
        );
        let found = RegistryLogin::take(&mut options)?.unwrap();
        assert_eq!(options["taskRunner"], json!({"type": "docker"}));
        Ok(found)
    }

    #[test]
    fn every_form_of_a_login_is_read() {
        let pair = |name: &str| Some((name.to_owned(), "pw:1".to_owned()));
        for (given, expected) in [
            (json!({"username": "u", "password": "pw:1"}), pair("u")),
            (json!({"auth": "dTpwdzox"}), pair("u")),
            (
                json!({"login": "{\"username\":\"u\",\"password\":\"pw:1\"}"}),
                pair("u"),
            ),
            (json!({"registryToken": "tok-1"}), None),
            (json!({"identityToken": "tok-1"}), None),
        ] {
            let login = login(&given).unwrap();
            assert_eq!(login.password().unwrap(), expected, "{given}");
            let hidden = login.secrets();
            let secret = expected.map_or_else(|| "tok-1".to_owned(), |(_, password)| password);
            assert!(hidden.contains(&secret), "{given}");
            assert!(!format!("{login:?}").contains(&secret), "{given}");
        }
    }

    #[test]
    fn a_login_that_is_none_is_told_without_its_text() {
        let empty = login(&json!({"registry": "ghcr.io", "password": ""})).unwrap_err();
        assert!(empty.contains("registryToken"), "{empty}");
        for given in [json!({"auth": "hush hush"}), json!({"login": "hush hush"})] {
            let error = login(&given).unwrap().password().unwrap_err();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_login_goes_to_its_own_registry_only() {
        let of = |registry: Option<&str>| RegistryLogin {
            registry: registry.map(str::to_owned),
            proof: Proof::RegistryToken("t".to_owned()),
        };
        for (registry, image, expected) in [
            (None, "ghcr.io/a/b:1", "ghcr.io"),
            (None, "busybox", "docker.io"),
            (None, "library/busybox", "docker.io"),
            (None, "localhost/b", "localhost"),
            (Some("https://index.docker.io/v1/"), "a/b", "docker.io"),
            (Some("http://Host:5000"), "host:5000/a", "host:5000"),
        ] {
            let found = of(registry).registry_for(image);
            assert_eq!(found.as_deref(), Ok(expected), "{image}");
        }
        for (registry, image) in [("ghcr.io", "busybox"), ("ghcr.io", "ghcr.io.evil.org/a")] {
            let error = of(Some(registry)).registry_for(image).unwrap_err();
            assert!(error.contains("its own registry only"), "{error}");
        }
    }
}
