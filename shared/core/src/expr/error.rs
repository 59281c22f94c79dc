//! What can be wrong with an expression: always where it is in the template, and what to do.

use std::fmt;
use std::ops::Range;

use super::mask::Masker;

/// Why a template could not be parsed or rendered. Spans are bytes of the template's own source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExprError {
    /// The text is not an expression.
    Syntax {
        /// What was found, and what was expected.
        message: String,
        /// Where.
        span: Range<usize>,
        /// What to write instead.
        help: Option<String>,
    },
    /// A name is neither in the context nor a local variable, or a value has no such key.
    Undefined {
        /// The dotted path up to and including the missing key.
        name: String,
        /// The missing key.
        span: Range<usize>,
        /// The nearest key that exists, as the path that should have been written.
        suggestion: Option<String>,
    },
    /// There is no such filter, function, test or tag.
    Unknown {
        /// `filter`, `function`, `test` or `tag`.
        kind: &'static str,
        /// As it was written.
        name: String,
        /// Where.
        span: Range<usize>,
        /// What to use instead.
        help: String,
    },
    /// A filter, function or operator does not take this value.
    Value {
        /// What was wrong with which value.
        message: String,
        /// The call or operation.
        span: Range<usize>,
    },
    /// A look-up outside the template failed.
    Lookup {
        /// The call.
        span: Range<usize>,
        /// What the resolver said.
        source: LookupError,
    },
    /// The template or its values exceed one of [`limits`](super::limits).
    Limit {
        /// Which limit, its value, and how to stay below it.
        message: String,
        /// Where, if one place is to blame.
        span: Option<Range<usize>>,
    },
    /// A template rendered by `render(…)` is wrong; its positions are those of the inner text.
    Nested {
        /// The call of `render`.
        span: Range<usize>,
        /// The inner error.
        source: Box<ExprError>,
    },
}

impl ExprError {
    /// The bytes of the template's source that the error is about.
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Syntax { span, .. }
            | Self::Undefined { span, .. }
            | Self::Unknown { span, .. }
            | Self::Value { span, .. }
            | Self::Lookup { span, .. }
            | Self::Nested { span, .. } => Some(span.clone()),
            Self::Limit { span, .. } => span.clone(),
        }
    }

    /// Without the secrets that a message may quote.
    pub(super) fn masked(mut self, masker: &Masker) -> Self {
        let hide = |text: &mut String| *text = masker.mask(text).into_owned();
        match &mut self {
            Self::Syntax { message, help, .. } => {
                hide(message);
                help.iter_mut().for_each(hide);
            }
            Self::Undefined {
                name, suggestion, ..
            } => {
                hide(name);
                suggestion.iter_mut().for_each(hide);
            }
            Self::Unknown { name, help, .. } => {
                hide(name);
                hide(help);
            }
            Self::Value { message, .. } | Self::Limit { message, .. } => hide(message),
            Self::Lookup {
                source: LookupError::NotFound { what },
                ..
            } => hide(what),
            Self::Lookup {
                source: LookupError::Unavailable { what, reason },
                ..
            } => {
                hide(what);
                hide(reason);
            }
            Self::Nested { source, .. } => **source = source.as_ref().clone().masked(masker),
        }
        self
    }

    pub(super) fn syntax(message: impl Into<String>, span: Range<usize>) -> Self {
        Self::Syntax {
            message: message.into(),
            span,
            help: None,
        }
    }

    pub(super) fn syntax_help(
        message: impl Into<String>,
        span: Range<usize>,
        help: impl Into<String>,
    ) -> Self {
        Self::Syntax {
            message: message.into(),
            span,
            help: Some(help.into()),
        }
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax {
                message,
                help: Some(help),
                ..
            } => write!(f, "{message}; {help}"),
            Self::Undefined {
                name,
                suggestion: Some(near),
                ..
            } => {
                write!(f, "`{name}` is not defined; did you mean `{near}`?")
            }
            Self::Undefined {
                name,
                suggestion: None,
                ..
            } => write!(
                f,
                "`{name}` is not defined; give a fallback with `{name} ?? …` if it may be missing"
            ),
            Self::Unknown {
                kind, name, help, ..
            } => {
                write!(f, "there is no {kind} `{name}`; {help}")
            }
            Self::Syntax { message, .. }
            | Self::Value { message, .. }
            | Self::Limit { message, .. } => f.write_str(message),
            Self::Lookup { source, .. } => source.fmt(f),
            Self::Nested { source, .. } => write!(f, "in the rendered text: {source}"),
        }
    }
}

impl std::error::Error for ExprError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lookup { source, .. } => Some(source),
            Self::Nested { source, .. } => Some(source.as_ref()),
            Self::Syntax { .. }
            | Self::Undefined { .. }
            | Self::Unknown { .. }
            | Self::Value { .. }
            | Self::Limit { .. } => None,
        }
    }
}

/// Why a [`Resolver`](super::Resolver) has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It does not exist; `??` and `default` take their fallback.
    #[error("{what} does not exist; create it, or give a fallback with `??`")]
    NotFound {
        /// Kind and name, such as "secret `SLACK_WEBHOOK`". Never a value.
        what: String,
    },
    /// It may exist but cannot be read now or here; a fallback does not hide this.
    #[error("{what} cannot be read: {reason}")]
    Unavailable {
        /// Kind and name. Never a value.
        what: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// What an operation gives up with; the runtime adds where.
#[derive(Debug)]
pub(super) enum Fault {
    /// A value does not fit.
    Value(String),
    /// A limit is exceeded.
    Limit(String),
    /// A look-up failed.
    Lookup(LookupError),
    /// The rendered text is wrong.
    Nested(Box<ExprError>),
}

impl Fault {
    pub(super) fn at(self, span: Range<usize>) -> ExprError {
        match self {
            Self::Value(message) => ExprError::Value { message, span },
            Self::Limit(message) => ExprError::Limit {
                message,
                span: Some(span),
            },
            Self::Lookup(source) => ExprError::Lookup { span, source },
            Self::Nested(source) => ExprError::Nested { span, source },
        }
    }
}

impl From<LookupError> for Fault {
    fn from(error: LookupError) -> Self {
        Self::Lookup(error)
    }
}

/// A [`Fault::Value`].
pub(super) fn bad<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Value(message.into()))
}

/// The candidate nearest to `name`, if it is near enough to be a typing error.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = name.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .take(1000) // A map from outside may have any number of keys.
        .filter(|candidate| candidate.len() <= 256)
        .map(|candidate| {
            (
                strsim::jaro_winkler(&wanted, &candidate.to_lowercase().replace('-', "_")),
                candidate,
            )
        })
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
