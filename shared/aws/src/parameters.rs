//! Encrypted parameters of Systems Manager's Parameter Store: secrets for whoever keeps them there.
//!
//! Invariant: a value is never printed, and never taken from a parameter that is not encrypted: whoever may list parameters
//! could read that.

use std::fmt;
use std::time::Duration;

use operon_engine::ports::SecretError;
use serde_json::{Value, json};

use crate::sdk::Sdk;
use crate::signed::{Service, ServiceName};

/// One transmission, answer included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a value at most: what an advanced parameter takes.
const VALUE_MAX: usize = 8 << 10;
/// The type of an encrypted parameter.
const ENCRYPTED: &str = "SecureString";

/// A parameter.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its ARN, as ECS wants it.
    pub arn: String,
    /// Its value; encrypted if that was asked for.
    pub value: String,
}

impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameter")
            .field("arn", &self.arn)
            .finish_non_exhaustive()
    }
}

/// How a value is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// As text.
    Value,
    /// As it is stored: for whoever needs the ARN only, and has no business with the value.
    Encrypted,
}

/// The parameters of an account and a region.
#[derive(Debug, Clone)]
pub struct Parameters(Service);

impl Parameters {
    /// With the credentials and the region of the configuration; what is missing there is said when one is asked for.
    #[must_use]
    pub fn new(sdk: &Sdk) -> Self {
        Self(Service::new(sdk, ServiceName::Parameters, TIMEOUT))
    }

    /// The parameter that holds the secret with this full name; none when there is no such parameter.
    pub async fn find(&self, full: &str, wanted: Wanted) -> Result<Option<Parameter>, SecretError> {
        let name = parameter_name(full);
        let body = json!({"Name": name, "WithDecryption": wanted == Wanted::Value});
        match self.0.ask("AmazonSSM.GetParameter", "1.1", &body).await {
            Ok(answer) => read(&name, &answer, wanted).map(Some),
            Err(error) if error.is("ParameterNotFound") => Ok(None),
            Err(error) => Err(SecretError::Failed(format!(
                "reading the parameter `{name}`: {error}"
            ))),
        }
    }
}

/// The name of the parameter for a secret's full name: hierarchies begin with a slash.
#[must_use]
pub fn parameter_name(full: &str) -> String {
    format!("/{}", full.trim_start_matches('/'))
}

fn read(name: &str, answer: &Value, wanted: Wanted) -> Result<Parameter, SecretError> {
    let text = |field: &str| {
        let found = answer.get("Parameter").and_then(|one| one.get(field));
        found.and_then(Value::as_str).unwrap_or_default()
    };
    let (kind, value, arn) = (text("Type"), text("Value"), text("ARN"));
    if kind != ENCRYPTED {
        return Err(SecretError::Failed(format!(
            "the parameter `{name}` is a `{kind}`, which is not encrypted; store it with --type {ENCRYPTED}"
        )));
    }
    if arn.is_empty() {
        return Err(SecretError::Failed(format!(
            "the parameter `{name}` has no ARN"
        )));
    }
    // What is encrypted is longer than what it holds.
    if wanted == Wanted::Value && value.len() > VALUE_MAX {
        return Err(SecretError::Failed(format!(
            "the parameter `{name}` has {} bytes; at most {VALUE_MAX} are read",
            value.len()
        )));
    }
    Ok(Parameter {
        arn: arn.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
