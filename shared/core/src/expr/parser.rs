//! Pebble's expression grammar: values, paths, calls. The operators are in `operators`.

use std::ops::Range;

use super::ast::{Expr, Node};
use super::catalog::{self, Callable};
use super::error::ExprError;
use super::lexer::{Kind, Token};
use super::limits::MAX_NESTING;

/// Reads expressions from the tokens of one delimiter.
pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    pub(super) tokens: &'a [Token],
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Where the delimiter ends, for errors about missing tokens.
    end: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a str, tokens: &'a [Token], end: usize) -> Self {
        Self {
            source,
            tokens,
            at: 0,
            depth: 0,
            end,
        }
    }

    /// A whole expression: a ternary or what binds tighter.
    pub(super) fn expression(&mut self) -> Result<Expr, ExprError> {
        self.nested(|parser| {
            let test = parser.binary(0)?;
            if !parser.take_sign("?") {
                return Ok(test);
            }
            let yes = parser.expression()?;
            parser.expect_sign(":", "the part after `:` of `test ? yes : no`")?;
            let no = parser.expression()?;
            let span = test.span.start..no.span.end;
            let node = Node::Ternary {
                test: test.into(),
                yes: yes.into(),
                no: no.into(),
            };
            Ok(Expr { node, span })
        })
    }

    /// Fails unless every token was read.
    pub(super) fn finish(&self) -> Result<(), ExprError> {
        match self.tokens.get(self.at) {
            None => Ok(()),
            Some(token) => Err(self.unexpected(token)),
        }
    }

    pub(super) fn peek_span(&self) -> Range<usize> {
        self.tokens
            .get(self.at)
            .map_or(self.end..self.end, |token| token.span.clone())
    }

    pub(super) fn take_name(&mut self) -> Option<(String, Range<usize>)> {
        match self.tokens.get(self.at) {
            Some(Token {
                kind: Kind::Name(name),
                span,
            }) => {
                self.at += 1;
                Some((name.clone(), span.clone()))
            }
            _ => None,
        }
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(0, sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_sign(&mut self, sign: &str, what: &str) -> Result<(), ExprError> {
        if self.take_sign(sign) {
            return Ok(());
        }
        Err(ExprError::syntax(
            format!("`{sign}` is missing: {what}"),
            self.peek_span(),
        ))
    }

    /// `| name(args)` after `input`.
    pub(super) fn filter(&mut self, input: Expr) -> Result<Expr, ExprError> {
        let Some((name, span)) = self.take_name() else {
            return Err(ExprError::syntax(
                "a filter's name must follow `|`",
                self.peek_span(),
            ));
        };
        let callable = catalog::filter(&name, span.clone())?;
        let start = input.span.start;
        self.call(callable, Some(input), span, start)
    }

    pub(super) fn is_sign(&self, ahead: usize, sign: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(Token { kind: Kind::Sign(s), .. }) if *s == sign)
    }

    pub(super) fn is_name(&self, ahead: usize, name: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(Token { kind: Kind::Name(n), .. }) if n == name)
    }

    pub(super) fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ExprError>,
    ) -> Result<T, ExprError> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(ExprError::Limit {
                message: format!(
                    "the expression nests more than {MAX_NESTING} levels; split it with `{{% set %}}`"
                ),
                span: Some(self.peek_span()),
            });
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn unexpected(&self, token: &Token) -> ExprError {
        let text = &self.source[token.span.clone()];
        let help = match text {
            "in" => "use `isIn`".to_owned(),
            "if" => "use `test ? yes : no`".to_owned(),
            "=" => "compare with `==`".to_owned(),
            "startsWith" | "endsWith" => format!("it is a filter: `value | {text}('…')`"),
            _ => "an operator, `|` or the end of the expression was expected".to_owned(),
        };
        ExprError::syntax_help(
            format!("`{text}` is not expected here"),
            token.span.clone(),
            help,
        )
    }

    pub(super) fn postfix(&mut self) -> Result<Expr, ExprError> {
        let mut value = self.primary()?;
        let mut keys = 0;
        loop {
            let dotted = self.take_sign(".");
            if !dotted && !self.take_sign("[") {
                return Ok(value);
            }
            keys += 1;
            if keys > MAX_NESTING {
                return Err(ExprError::Limit {
                    message: format!("a path may have at most {MAX_NESTING} keys"),
                    span: Some(value.span),
                });
            }
            let key = if dotted {
                self.dotted_key()?
            } else {
                self.expression()?
            };
            if !dotted {
                self.expect_sign("]", "the end of `[key]`")?;
            }
            let end = self
                .tokens
                .get(self.at - 1)
                .map_or(key.span.end, |token| token.span.end);
            let span = value.span.start..end;
            value = Expr {
                node: Node::Key {
                    base: value.into(),
                    key: key.into(),
                    dotted,
                },
                span,
            };
        }
    }

    fn dotted_key(&mut self) -> Result<Expr, ExprError> {
        let span = self.peek_span();
        if let Some((name, span)) = self.take_name() {
            if self.is_sign(0, "(") {
                return Err(ExprError::syntax_help(
                    format!("values have no methods such as `.{name}()`"),
                    span,
                    format!("use a filter: `value | {name}`"),
                ));
            }
            return Ok(Expr {
                node: Node::Text(name),
                span,
            });
        }
        if let Some(Token {
            kind: Kind::Int(index),
            span,
        }) = self.tokens.get(self.at)
        {
            self.at += 1;
            return Ok(Expr {
                node: Node::Int(*index),
                span: span.clone(),
            });
        }
        Err(ExprError::syntax_help(
            "a key must follow `.`",
            span,
            "other keys need brackets: `x['key']`",
        ))
    }

    fn primary(&mut self) -> Result<Expr, ExprError> {
        let Some(token) = self.tokens.get(self.at) else {
            return Err(ExprError::syntax("a value is missing", self.peek_span()));
        };
        self.at += 1;
        let span = token.span.clone();
        let node = match &token.kind {
            Kind::Text(value) => Node::Text(value.clone()),
            Kind::Int(value) => Node::Int(*value),
            Kind::Float(value) => Node::Float(*value),
            Kind::Name(name) => match name.as_str() {
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                "null" | "none" => Node::Null,
                _ if self.is_sign(0, "(") => {
                    let callable = catalog::function(name, span.clone())?;
                    return self.call(callable, None, span.clone(), span.start);
                }
                _ => Node::Name(name.clone()),
            },
            Kind::Sign("(") => {
                let mut inner = self.expression()?;
                self.expect_sign(")", "the end of `(…)`")?;
                // So that `(not a) == b` is known from `not a == b`; a name keeps its own place.
                if matches!(inner.node, Node::Not(_)) {
                    inner.span = span.start..self.previous_end();
                }
                return Ok(inner);
            }
            Kind::Sign("[") => Node::List(self.items("]", Self::expression)?),
            Kind::Sign("{") => Node::Map(self.items("}", |parser| {
                let key = parser.expression()?;
                parser.expect_sign(":", "between a map's key and its value")?;
                Ok((key, parser.expression()?))
            })?),
            Kind::Sign(sign) => {
                return Err(ExprError::syntax_help(
                    format!("`{sign}` is not expected here"),
                    span,
                    "a value was expected",
                ));
            }
        };
        Ok(Expr {
            node,
            span: span.start..self.previous_end(),
        })
    }

    fn previous_end(&self) -> usize {
        self.tokens
            .get(self.at.wrapping_sub(1))
            .map_or(self.end, |token| token.span.end)
    }

    /// Comma-separated items up to `close`.
    fn items<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, ExprError>,
    ) -> Result<Vec<T>, ExprError> {
        let mut items = Vec::new();
        while !self.take_sign(close) {
            items.push(item(self)?);
            if !self.take_sign(",") {
                self.expect_sign(close, "items are separated by `,`")?;
                break;
            }
        }
        Ok(items)
    }

    pub(super) fn test(&mut self, input: Expr) -> Result<Expr, ExprError> {
        let negated = self.is_name(0, "not");
        self.at += usize::from(negated);
        let Some((name, span)) = self.take_name() else {
            return Err(ExprError::syntax(
                "a test must follow `is`: defined, empty, null, even, odd, iterable, map or json",
                self.peek_span(),
            ));
        };
        let callable = catalog::test(&name, span.clone())?;
        let start = input.span.start;
        let test = self.call(callable, Some(input), span, start)?;
        let span = test.span.clone();
        Ok(if negated {
            Expr {
                node: Node::Not(test.into()),
                span,
            }
        } else {
            test
        })
    }

    /// The arguments in parentheses, if there are any, bound to the callable's parameters.
    fn call(
        &mut self,
        callable: &'static Callable,
        input: Option<Expr>,
        name: Range<usize>,
        start: usize,
    ) -> Result<Expr, ExprError> {
        let mut args = Vec::new();
        if let Some(input) = input {
            args.push((0, input));
        }
        if self.take_sign("(") {
            let given = self.items(")", |parser| {
                let named = parser.is_sign(1, "=").then(|| parser.take_name()).flatten();
                parser.at += usize::from(named.is_some());
                Ok((named, parser.expression()?))
            })?;
            for (named, value) in given {
                let slot = match named {
                    None => callable.positional(args.len(), &value.span)?,
                    Some((name, span)) => callable.named(&name, &span)?,
                };
                if args.iter().any(|(taken, _)| *taken == slot) {
                    return Err(ExprError::syntax(
                        format!("`{}` is given twice", callable.parameter(slot)),
                        value.span,
                    ));
                }
                args.push((slot, value));
            }
        }
        callable.complete(&args, &name)?;
        let span = start..self.previous_end();
        Ok(Expr {
            node: Node::Call { callable, args },
            span,
        })
    }
}
