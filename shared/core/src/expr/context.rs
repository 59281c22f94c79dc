//! What a template may see: the roots, and the look-ups that the engine answers.

use std::fmt;
use std::sync::Arc;

use minijinja::Value;

use super::error::LookupError;
use super::value::from_json;

/// Look-ups outside the context, answered by the engine, which has fetched what they need.
///
/// One render must see one world: [`now`](Self::now) and [`random_seed`](Self::random_seed) give the
/// same answer each time, so that rendering twice gives the same text.
pub trait Resolver: Send + Sync {
    /// The value of a secret.
    fn secret(&self, name: &str) -> Result<String, LookupError>;
    /// The value of a key in the key-value store of `namespace`, the execution's own if `None`.
    fn kv(
        &self,
        key: &str,
        namespace: Option<&str>,
    ) -> Result<Option<serde_json::Value>, LookupError>;
    /// The content of a file, as text.
    fn read(&self, uri_or_path: &str) -> Result<String, LookupError>;
    /// The size of a file, in bytes.
    fn file_size(&self, uri: &str) -> Result<u64, LookupError>;
    /// The time of this evaluation.
    fn now(&self) -> jiff::Timestamp;
    /// Where the sequence of `uuid()`, `id()` and `randomInt()` begins: derived from the identity of
    /// the task run and attempt, so that a repeated evaluation repeats its values.
    fn random_seed(&self) -> u64;
}

/// The values a template may look up. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    roots: Arc<Vec<(String, Value)>>,
    resolver: Arc<dyn Resolver>,
    secrets: Arc<[String]>,
}

impl fmt::Debug for Context {
    /// Names only: the values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("roots", &self.root_names().collect::<Vec<_>>())
            .finish()
    }
}

impl Context {
    /// A context with these roots: `inputs`, `outputs`, `vars`, `trigger`, `execution`, `flow`, …
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the context takes the place of the map"
    )]
    pub fn new(
        roots: serde_json::Map<String, serde_json::Value>,
        resolver: Arc<dyn Resolver>,
    ) -> Self {
        let roots = roots
            .iter()
            .map(|(name, value)| (name.clone(), from_json(value)))
            .collect();
        Self {
            roots: Arc::new(roots),
            resolver,
            secrets: Arc::new([]),
        }
    }

    /// Names values among the roots that are secret, such as inputs of type `SECRET`: what is computed
    /// from them is reported like what is computed from `secret(…)`.
    #[must_use]
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.secrets = secrets.into_iter().collect();
        self
    }

    /// The context with one root more, or another value for one: `item` of a fan-out, say.
    #[must_use]
    pub fn with_root(mut self, name: &str, value: &serde_json::Value) -> Self {
        let roots = Arc::make_mut(&mut self.roots);
        roots.retain(|(known, _)| known != name);
        roots.push((name.to_owned(), from_json(value)));
        self
    }

    pub(super) fn root(&self, name: &str) -> Option<&Value> {
        self.roots
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    pub(super) fn root_names(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn resolver(&self) -> &dyn Resolver {
        self.resolver.as_ref()
    }

    pub(super) fn known_secrets(&self) -> &[String] {
        &self.secrets
    }
}
