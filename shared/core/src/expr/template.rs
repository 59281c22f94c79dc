//! Templates: parsed once, when a flow is compiled; rendered many times.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

use super::blocks;
use super::context::Context;
use super::error::ExprError;
use super::limits::{MAX_FUEL, MAX_OUTPUT_BYTES, MAX_SOURCE_BYTES};
use super::mask::Masker;
use super::output::Bounded;
use super::rewrite::{Rewriter, Site};
use super::runtime::{self, Level, Runtime, Shared};
use super::value::{is_true, to_json};

/// A parsed text that may hold `{{ … }}` and `{% … %}`.
#[derive(Debug, Clone)]
pub struct Template {
    source: Arc<str>,
    form: Form,
    sites: Arc<[Site]>,
    references: Arc<[Reference]>,
    calls: Arc<[FunctionCall]>,
}

/// What a template is.
#[derive(Debug, Clone)]
enum Form {
    /// Text, comments removed.
    Literal(Arc<str>),
    /// Exactly one `{{ … }}`: its value keeps its type. Holds the Jinja expression.
    Single(Arc<str>),
    /// Anything else. Holds the Jinja template.
    Text(Arc<str>),
}

/// A context value that a template uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The root and the keys, up to the first that is not constant: `["outputs", "align", "vars"]`.
    pub path: Vec<String>,
    /// The bytes of the path in the template.
    pub span: Range<usize>,
    /// A fallback or a test, here or elsewhere in the template, catches its absence: `??`, `default`,
    /// `is defined`, `is null`, `is empty`.
    pub conditional: bool,
}

/// A function that a template calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCall {
    /// The function, such as `secret`, `kv` or `read`.
    pub name: &'static str,
    /// Its first argument, if that is a constant text.
    pub argument: Option<String>,
    /// The bytes of the call in the template.
    pub span: Range<usize>,
    /// A fallback catches the absence of what it looks up.
    pub conditional: bool,
}

/// What a template gave.
#[derive(Clone, PartialEq)]
pub struct Rendered {
    /// The value: text, or for a template that is exactly one `{{ … }}`, whatever that gave.
    pub value: serde_json::Value,
    /// The secrets that were looked up and every text and number computed from one, sorted. They must
    /// not be stored or logged; [`Masker`](super::Masker) takes them.
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for Rendered {
    /// A value that a secret flowed into is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Rendered");
        if self.secrets.is_empty() {
            out.field("value", &self.value);
        }
        out.field("secrets", &self.secrets.len()).finish()
    }
}

impl Template {
    /// Parses `source`. Unknown filters, functions and tests and wrong arguments are found here.
    ///
    /// # Errors
    /// [`ExprError::Syntax`], [`ExprError::Unknown`] or [`ExprError::Limit`], with the place in `source`.
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        let (template, mut problems) = Self::read(source);
        if problems.is_empty() {
            Ok(template)
        } else {
            Err(problems.swap_remove(0))
        }
    }

    /// Reads `source` past what is wrong with it: everything that is, and the context values that the rest uses.
    #[must_use]
    pub fn check(source: &str) -> (Vec<Reference>, Vec<ExprError>) {
        let (template, problems) = Self::read(source);
        (template.references.to_vec(), problems)
    }

    /// The template, which is half of one when there are problems.
    fn read(source: &str) -> (Self, Vec<ExprError>) {
        let template = |form, rewriter: Rewriter, references: Vec<Reference>| Self {
            source: source.into(),
            form,
            sites: rewriter.sites.into(),
            references: references.into(),
            calls: rewriter.calls.into(),
        };
        if source.len() > MAX_SOURCE_BYTES {
            let problem = ExprError::Limit {
                message: format!(
                    "the text is {} bytes long and may have {MAX_SOURCE_BYTES}; put it into a file",
                    source.len()
                ),
                span: None,
            };
            let none = Form::Literal(Arc::default());
            return (template(none, Rewriter::new(), Vec::new()), vec![problem]);
        }
        let mut parsed = blocks::parse(source);
        let form = match parsed.form {
            blocks::Form::Literal(text) => Form::Literal(text.into()),
            blocks::Form::Single => Form::Single(parsed.rewriter.out.as_str().into()),
            blocks::Form::Text => Form::Text(parsed.rewriter.out.as_str().into()),
        };
        let references = guarded(std::mem::take(&mut parsed.rewriter.references));
        // Behind a tag that could not be read, a variable of it would look like a name of the context.
        let references = if parsed.tag_lost {
            Vec::new()
        } else {
            references
        };
        let template = template(form, parsed.rewriter, references);
        if parsed.problems.is_empty() {
            parsed.problems.extend(template.compiles().err());
        }
        (template, parsed.problems)
    }

    /// The text it was parsed from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it holds no expression and no tag, so that it renders to the same text always.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.form, Form::Literal(_))
    }

    /// The context values it uses, in order. Variables of `set` and `for` are not reported, and neither
    /// is what a text given to `render(…)` uses.
    #[must_use]
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The functions it calls, in order.
    #[must_use]
    pub fn calls(&self) -> &[FunctionCall] {
        &self.calls
    }

    /// Renders. A template that is exactly one `{{ … }}` gives that value with its type, anything else a
    /// text, in which null is nothing and lists and maps are JSON.
    ///
    /// # Errors
    /// Any [`ExprError`] but `Syntax` and `Unknown`, with the place in the source.
    pub fn render(&self, context: &Context) -> Result<Rendered, ExprError> {
        let shared = Arc::new(Shared::default());
        let value = self.top(context, &shared)?;
        Ok(Rendered {
            value: self.json(&value)?,
            secrets: shared.secrets(),
        })
    }

    /// Renders and decides as Kestra does: false, null, an empty list or map, and whatever is written
    /// `false`, `0`, `-0` or nothing, spaces aside, are false; everything else is true.
    ///
    /// # Errors
    /// As for [`render`](Self::render).
    pub fn render_condition(&self, context: &Context) -> Result<bool, ExprError> {
        Ok(is_true(&self.top(context, &Arc::new(Shared::default()))?))
    }

    /// Renders; an error says nothing of a secret.
    fn top(&self, context: &Context, shared: &Arc<Shared>) -> Result<Value, ExprError> {
        self.value(context, shared, Level::TOP).map_err(|error| {
            let masker = Masker::new(shared.secrets());
            if masker.is_empty() {
                error
            } else {
                error.masked(&masker)
            }
        })
    }

    fn json(&self, value: &Value) -> Result<serde_json::Value, ExprError> {
        to_json(value).map_err(|fault| fault.at(0..self.source.len()))
    }

    /// Renders as part of the render that `shared` belongs to.
    pub(super) fn value(
        &self,
        context: &Context,
        shared: &Arc<Shared>,
        level: Level,
    ) -> Result<Value, ExprError> {
        if let Form::Literal(text) = &self.form {
            return Ok(Value::from(text.clone()));
        }
        let runtime = Value::from_object(Runtime::new(
            context.clone(),
            shared.clone(),
            level,
            self.sites.clone(),
        ));
        let roots = Value::from_pairs([(runtime::NAME, runtime.clone())]);
        let (result, whole) = match &self.form {
            Form::Single(jinja) => (
                environment()
                    .compile_expression(jinja)
                    .and_then(|expr| expr.eval(roots)),
                false,
            ),
            Form::Text(jinja) | Form::Literal(jinja) => {
                let mut out = Bounded::new(MAX_OUTPUT_BYTES);
                let result = environment()
                    .template_from_str(jinja)
                    .and_then(|template| template.render_captured_to(roots, &mut out).map(drop));
                if out.overflowed() {
                    return Err(ExprError::Limit {
                        message: format!(
                            "the text is longer than {MAX_OUTPUT_BYTES} bytes; write it to a file in a task"
                        ),
                        span: None,
                    });
                }
                (result.map(|()| Value::from(out.into_text())), true)
            }
        };
        let value = result.map_err(|error| explain(&runtime, &error))?;
        let tainted =
            whole && (shared.emitted_secret() || shared.any_tainted(std::slice::from_ref(&value)));
        Ok(if tainted { shared.taint(value) } else { value })
    }

    /// Finds what only minijinja's own parser would: tags that are not balanced.
    fn compiles(&self) -> Result<(), ExprError> {
        let result = match &self.form {
            Form::Literal(_) => return Ok(()),
            Form::Single(jinja) => environment().compile_expression(jinja).map(drop),
            Form::Text(jinja) => environment().template_from_str(jinja).map(drop),
        };
        result.map_err(|error| {
            ExprError::syntax(
                format!(
                    "the text is not a template: {}",
                    error.detail().unwrap_or("unbalanced tags")
                ),
                0..self.source.len(),
            )
        })
    }
}

/// Marks what is read where another place of the template has tested it, as `x` in
/// `x is defined ? x.y : 0`.
fn guarded(mut references: Vec<Reference>) -> Vec<Reference> {
    let tested: HashSet<Vec<String>> = references
        .iter()
        .filter(|found| found.conditional)
        .map(|found| found.path.clone())
        .collect();
    for found in &mut references {
        found.conditional |=
            (1..=found.path.len()).any(|length| tested.contains(&found.path[..length]));
    }
    references
}

/// The error that stopped a render, in the words of this module.
fn explain(runtime: &Value, error: &minijinja::Error) -> ExprError {
    if let Some(fault) = runtime
        .downcast_object_ref::<Runtime>()
        .and_then(Runtime::take_fault)
    {
        return fault;
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return ExprError::Limit {
            message: format!(
                "the template takes more than {MAX_FUEL} operations; compute the value in a task"
            ),
            span: None,
        };
    }
    ExprError::Value {
        message: error.to_string(),
        span: 0..0,
    }
}

/// The one environment: it has no filters and no templates, only the dispatcher.
fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::empty();
        environment.add_function("_", runtime::dispatch);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(MAX_FUEL));
        environment
    })
}
