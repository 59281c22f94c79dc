//! Secrets: by name, never in plain text.

use serde_json::{Map, Value};

use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Task;
use super::super::yaml::Node;
use super::Reader;
use super::convert::short;
use super::fields::{Field, Fields};
use super::templates::has_template;

impl Reader<'_> {
    /// `secrets` become environment variables that look the secret up when the task is launched.
    pub(super) fn secret_variables(
        &mut self,
        field: Field<'_>,
        fields: &Fields<'_>,
        task: &mut Task,
    ) {
        let named: Vec<(String, String)> =
            match self.convert(field.value, &field.info.ty, false, "`secrets`") {
                Some(Value::Array(names)) => {
                    let names = names.iter().filter_map(Value::as_str);
                    names
                        .map(|name| (name.to_owned(), name.to_owned()))
                        .collect()
                }
                Some(Value::Object(map)) => map
                    .iter()
                    .filter_map(|(variable, name)| {
                        Some((variable.clone(), name.as_str()?.to_owned()))
                    })
                    .collect(),
                _ => return,
            };
        let mut env = match task.props.remove("env") {
            Some(Value::Object(env)) => env,
            _ => Map::new(),
        };
        for (variable, name) in named {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
            if name.is_empty() || !name.chars().all(plain) {
                self.push(
                    Diagnostic::error(
                        Rule::InvalidValue,
                        field.value.span.clone(),
                        format!("`{}` is not the name of a secret", short(&name)),
                    )
                    .with_help("use letters, digits, `_`, `-`, `.` and `/`; the value itself is stored elsewhere"),
                );
            } else if env.contains_key(&variable) {
                let other = fields
                    .get("env")
                    .map_or_else(|| field.key.span.clone(), |env| env.key.span.clone());
                self.push(
                    Diagnostic::error(
                        Rule::SameTwice,
                        field.key.span.clone(),
                        format!(
                            "the variable `{}` is in `env` and in `secrets`",
                            short(&variable)
                        ),
                    )
                    .with_label(other, "the other is here")
                    .with_help("remove one of the two"),
                );
            } else {
                env.insert(variable, Value::from(format!("{{{{ secret('{name}') }}}}")));
            }
        }
        task.props.insert("env".to_owned(), Value::Object(env));
    }

    pub(super) fn plain_secrets(&mut self, env: &Node) {
        for (key, value) in env.as_map().unwrap_or_default() {
            let Some(text) = value.as_str().filter(|text| !has_template(text)) else {
                continue;
            };
            if looks_secret(&key.name, text) {
                self.push(
                    Diagnostic::warning(
                        Rule::PlainSecret,
                        value.span.clone(),
                        format!(
                            "`{}` looks like a secret written in plain text",
                            short(&key.name)
                        ),
                    )
                    .with_help(format!(
                        "store it as a secret and write `secrets: {{{}: NAME}}`",
                        short(&key.name)
                    )),
                );
            }
        }
    }

    /// The login at a registry: one form of it, and what is secret in it never in plain text.
    pub(super) fn registry_login(&mut self, field: Field<'_>) {
        const FORMS: [&str; 5] = [
            "login",
            "password",
            "auth",
            "registryToken",
            "identityToken",
        ];
        let Some(entries) = field.value.as_map() else {
            return;
        };
        let given: Vec<_> = entries
            .iter()
            .filter(|(key, _)| FORMS.contains(&key.name.as_str()))
            .collect();
        for (key, value) in &given {
            if value.as_str().is_none_or(|text| !has_template(text)) {
                self.push(
                    Diagnostic::error(
                        Rule::PlainSecret,
                        value.span.clone(),
                        format!("`{}` is written in plain text", short(&key.name)),
                    )
                    .with_help("store it as a secret and write `\"{{ secret('NAME') }}\"`"),
                );
            }
        }
        let named = field.value.get("username").is_some();
        let complete = match given.as_slice() {
            [(key, _)] => (key.name == "password") == named,
            _ => false,
        };
        if !complete {
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    field.key.span.clone(),
                    "`credentials` needs one login",
                )
                .with_help("write `login`, or `username` and `password`, or one of `auth`, `registryToken` and `identityToken`"),
            );
        }
    }

    /// Credentials of an `http` task that are not secrets.
    pub(super) fn http_secrets(&mut self, fields: &Fields<'_>) {
        let auth = fields.value("options").and_then(|node| node.get("auth"));
        let in_auth = ["password", "token"]
            .iter()
            .filter_map(|name| Some((*name, auth?.get(name)?)));
        let headers = fields
            .value("headers")
            .and_then(Node::as_map)
            .unwrap_or_default();
        let in_headers = headers
            .iter()
            .filter(|(key, _)| key.name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| ("authorization", value));
        let found: Vec<_> = in_auth
            .chain(in_headers)
            .filter(|(_, node)| {
                node.as_str()
                    .is_some_and(|text| !text.is_empty() && !has_template(text))
            })
            .map(|(name, node)| (name, node.span.clone()))
            .collect();
        for (name, span) in found {
            self.push(
                Diagnostic::warning(
                    Rule::PlainSecret,
                    span,
                    format!("`{name}` is written in plain text"),
                )
                .with_help("store it as a secret and write `\"{{ secret('NAME') }}\"`"),
            );
        }
    }
}

/// Beginnings of values that are credentials of well-known services.
const SECRET_BEGINNINGS: &[&str] = &[
    "AKIA",
    "ghp_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "-----BEGIN",
    "glpat-",
];

/// Parts of names that are those of secrets.
const SECRET_NAMES: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
];

/// Ends of names that only speak of a secret.
const HARMLESS_ENDS: &[&str] = &[
    "_FILE", "_PATH", "_URL", "_NAME", "_ID", "_HOST", "_TTL", "_TYPE",
];

/// Whether a variable's name or value is that of a secret.
fn looks_secret(name: &str, value: &str) -> bool {
    if SECRET_BEGINNINGS
        .iter()
        .any(|prefix| value.starts_with(prefix))
    {
        return true;
    }
    let name = name.to_ascii_uppercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
        && !HARMLESS_ENDS.iter().any(|end| name.ends_with(end))
        && value.len() >= 4
        && !value.starts_with('/')
        && !matches!(value, "true" | "false")
}
