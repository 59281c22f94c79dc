//! Expressions inside texts: parsed here, their names checked when all names are known.

use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::Span;
use super::super::yaml::Node;
use super::Reader;
use super::references::Use;
use crate::expr::{ExprError, Template};

/// Whether a text holds an expression, a tag or a comment.
pub(in super::super) fn has_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether a text is exactly one `{{ … }}`, so that its value keeps its type.
pub(super) fn is_single_template(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("{{") && text.ends_with("}}") && text.matches("{{").count() == 1
}

impl Reader<'_> {
    /// Parses the template `text`, the content of `node`: notes the names it uses, and tells everything that is
    /// wrong with it.
    pub(super) fn template(&mut self, node: &Node, text: &str) {
        let (references, problems) = Template::check(text);
        for reference in references {
            self.uses.push(Use {
                path: reference.path,
                span: self.inside(node, reference.span),
                conditional: reference.conditional,
                here: self.here.clone(),
                expanding: self.expanding.first().cloned(),
            });
        }
        for error in problems {
            let diagnostic = self.expression_error(node, &error);
            self.push(diagnostic);
        }
    }

    fn expression_error(&self, node: &Node, error: &ExprError) -> Diagnostic {
        let span = error
            .span()
            .map_or_else(|| node.span.clone(), |span| self.inside(node, span));
        match error {
            ExprError::Syntax { message, help, .. } => {
                let diagnostic = Diagnostic::error(Rule::ExpressionSyntax, span, message.clone());
                match help {
                    Some(help) => diagnostic.with_help(help.clone()),
                    None => diagnostic,
                }
            }
            ExprError::Unknown {
                kind, name, help, ..
            } => Diagnostic::error(
                Rule::ExpressionUnknown,
                span,
                format!("there is no {kind} `{name}`"),
            )
            .with_help(help.clone()),
            ExprError::Limit { message, .. } => {
                Diagnostic::error(Rule::Limit, span, message.clone())
            }
            ExprError::Undefined { .. }
            | ExprError::Value { .. }
            | ExprError::Lookup { .. }
            | ExprError::Nested { .. } => {
                Diagnostic::error(Rule::ExpressionSyntax, span, error.to_string())
            }
        }
    }

    /// A range of a node's text as a range of the document. A text made by a plugin is not in the
    /// document: then the place of its use.
    fn inside(&self, node: &Node, range: Span) -> Span {
        if has_template(node.raw(self.source)) {
            node.content_span(self.source, range)
        } else {
            node.span.clone()
        }
    }
}
