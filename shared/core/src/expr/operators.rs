//! Operators, by precedence climbing.
//!
//! The precedences are Pebble's and differ from Jinja's: `??` binds tighter than a filter, so
//! `a ?? b | upper` is `(a ?? b) | upper`, and `~` too.

use super::ast::{Binary, Expr, Node};
use super::error::ExprError;
use super::lexer::{Kind, Token};
use super::limits::MAX_NESTING;
use super::parser::Parser;

const OR: u8 = 10;
const AND: u8 = 15;
const TEST: u8 = 20;
const COMPARE: u8 = 30;
const FILTER: u8 = 100;
const COALESCE: u8 = 120;

impl Parser<'_> {
    /// Operators that bind at least as tightly as `minimum`, and their operands.
    pub(super) fn binary(&mut self, minimum: u8) -> Result<Expr, ExprError> {
        let mut left = self.unary()?;
        // A left-associative chain is as deep as it is long.
        let mut length = self.depth;
        loop {
            let before = self.at;
            let Some(next) = self.continue_with(&mut left, minimum)? else {
                return Ok(left);
            };
            left = next;
            debug_assert!(self.at > before);
            length += 1;
            if length > MAX_NESTING {
                return Err(ExprError::Limit {
                    message: format!(
                        "the expression chains more than {MAX_NESTING} operators; split it with `{{% set %}}`"
                    ),
                    span: Some(left.span),
                });
            }
        }
    }

    /// Applies the next operator to `left` if it binds at least as tightly as `minimum`.
    fn continue_with(&mut self, left: &mut Expr, minimum: u8) -> Result<Option<Expr>, ExprError> {
        let Some(token) = self.tokens.get(self.at) else {
            return Ok(None);
        };
        let sign = match &token.kind {
            Kind::Sign(sign) => *sign,
            Kind::Name(name) => name.as_str(),
            Kind::Text(_) | Kind::Int(_) | Kind::Float(_) => return Ok(None),
        };
        let precedence = match sign {
            "or" | "||" => OR,
            "and" | "&&" => AND,
            "is" => TEST,
            "|" => FILTER,
            "??" | "???" => COALESCE,
            _ => match Binary::parse(sign) {
                Some((_, precedence)) => precedence,
                None => return Ok(None),
            },
        };
        if precedence < minimum {
            return Ok(None);
        }
        if (TEST..=COMPARE).contains(&precedence) && matches!(left.node, Node::Not(_)) {
            let first = self.source.as_bytes().get(left.span.start);
            if first != Some(&b'(') {
                return Err(ExprError::syntax_help(
                    format!("`not` binds tighter than `{sign}`"),
                    left.span.start..token.span.end,
                    "write `not (…)` around the comparison",
                ));
            }
        }
        self.refuse_hyphenated_key(left, token)?;
        self.at += 1;
        let empty = Expr {
            node: Node::Null,
            span: left.span.clone(),
        };
        let left = std::mem::replace(left, empty);
        if sign == "|" {
            return self.filter(left).map(Some);
        }
        if sign == "is" {
            return self.test(left).map(Some);
        }
        let right = Box::new(self.nested(|parser| parser.binary(precedence + 1))?);
        let span = left.span.start..right.span.end;
        let left = Box::new(left);
        let node = match (sign, Binary::parse(sign)) {
            ("or" | "||", _) => Node::Or(left, right),
            ("and" | "&&", _) => Node::And(left, right),
            (_, Some((op, _))) => Node::Binary { op, left, right },
            (_, None) => Node::Coalesce {
                left,
                right,
                undefined_only: sign == "???",
            },
        };
        Ok(Some(Expr { node, span }))
    }

    /// `outputs.sequence-qc.x` would subtract; the author means the key `sequence-qc`.
    fn refuse_hyphenated_key(&self, left: &Expr, minus: &Token) -> Result<(), ExprError> {
        let Node::Key {
            base,
            key,
            dotted: true,
        } = &left.node
        else {
            return Ok(());
        };
        let Some(next) = self.tokens.get(self.at + 1) else {
            return Ok(());
        };
        let touching = left.span.end == minus.span.start && minus.span.end == next.span.start;
        if minus.kind != Kind::Sign("-") || !touching || !matches!(next.kind, Kind::Name(_)) {
            return Ok(());
        }
        let end = self.source[next.span.start..]
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .map_or(self.source.len(), |length| next.span.start + length);
        let end = if self.source[..end].ends_with('-') {
            end - 1
        } else {
            end
        };
        let base = &self.source[base.span.clone()];
        let name = &self.source[key.span.start..end];
        Err(ExprError::syntax_help(
            format!("the key `{name}` contains `-`"),
            key.span.start..end,
            format!("write `{base}['{name}']`, or put spaces around `-` to subtract"),
        ))
    }

    fn unary(&mut self) -> Result<Expr, ExprError> {
        let start = self.peek_span().start;
        let not = self.is_name(0, "not") || self.is_sign(0, "!");
        if !not && !self.is_sign(0, "-") && !self.is_sign(0, "+") {
            return self.postfix();
        }
        let plus = self.is_sign(0, "+");
        self.at += 1;
        let operand = self.nested(Self::unary)?;
        if plus {
            return Ok(operand);
        }
        let span = start..operand.span.end;
        let node = match operand.node {
            node if not => Node::Not(
                Expr {
                    node,
                    span: operand.span,
                }
                .into(),
            ),
            Node::Int(value) => Node::Int(value.saturating_neg()),
            Node::Float(value) => Node::Float(-value),
            node => Node::Negate(
                Expr {
                    node,
                    span: operand.span,
                }
                .into(),
            ),
        };
        Ok(Expr { node, span })
    }
}
