//! From Pebble to Jinja.
//!
//! The rewritten text is never seen by anyone: each operation becomes a call `_(site, …)`, and the
//! [`Site`] holds what it does and where it stands in the original, so that every error points there.
//! minijinja keeps what it is good at: blocks, loops, scopes, short circuits and fuel.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

use minijinja::Value;

use super::ast::{Binary, Expr, Node};
use super::catalog::Callable;
use super::error::ExprError;
use super::limits::MAX_NESTING;
use super::template::{FunctionCall, Reference};

/// One operation of a template.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) span: Range<usize>,
    /// A missing value becomes undefined instead of an error: a `??` or a test will see it.
    pub(super) lenient: bool,
    pub(super) op: Op,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Const(Value),
    /// Keys of a context root, or of the first argument.
    Path {
        root: Option<String>,
        keys: Vec<KeyAt>,
    },
    /// A variable of `set` or `for`.
    Local(String),
    Call {
        callable: &'static Callable,
        slots: Vec<usize>,
    },
    Binary(Binary),
    Negate,
    List,
    Map,
    /// As a condition.
    Truth,
    /// The left side of `??`: wrapped if it is there, else false.
    Present {
        undefined_only: bool,
    },
    /// The result of `??`.
    Unwrap,
    /// What a loop runs over.
    Iterate,
    /// As text.
    Emit,
}

impl Op {
    /// Whether it makes a new value; the others pass one on, or pick one out.
    pub(super) fn computes(&self) -> bool {
        matches!(
            self,
            Self::Call { .. } | Self::Binary(_) | Self::Negate | Self::Emit
        )
    }
}

/// A key of a path; `None` is the next argument.
#[derive(Debug, Clone)]
pub(super) struct KeyAt {
    pub(super) key: Option<Value>,
    pub(super) span: Range<usize>,
}

/// Writes the Jinja form of one template.
#[derive(Debug, Default)]
pub(super) struct Rewriter {
    pub(super) out: String,
    pub(super) sites: Vec<Site>,
    pub(super) references: Vec<Reference>,
    pub(super) calls: Vec<FunctionCall>,
    /// Variables in scope, innermost last; a loop's scope also has the variable `loop`.
    pub(super) scopes: Vec<HashSet<String>>,
    /// The Jinja variable that the next [`Node::Block`] stands for.
    block: Option<String>,
    depth: usize,
}

/// The name of a local variable in Jinja, where no name of Jinja's own begins so.
pub(super) fn local(name: &str) -> String {
    format!("v_{name}")
}

impl Rewriter {
    pub(super) fn new() -> Self {
        Self {
            scopes: vec![HashSet::new()],
            ..Self::default()
        }
    }

    /// Writes one call of an operation; `args` writes each argument after its comma.
    pub(super) fn site(
        &mut self,
        span: Range<usize>,
        lenient: bool,
        op: Op,
        args: impl FnOnce(&mut Self) -> Result<(), ExprError>,
    ) -> Result<(), ExprError> {
        let _infallible = write!(self.out, "_({}", self.sites.len());
        self.sites.push(Site { span, lenient, op });
        args(self)?;
        self.out.push(')');
        Ok(())
    }

    fn argument(&mut self, expr: &Expr, lenient: bool) -> Result<(), ExprError> {
        self.out.push(',');
        self.expression(expr, lenient)
    }

    /// `op` applied to `expr`.
    pub(super) fn wrapped(&mut self, op: Op, expr: &Expr, lenient: bool) -> Result<(), ExprError> {
        self.site(expr.span.clone(), lenient, op, |this| {
            this.argument(expr, lenient)
        })
    }

    fn constant(&mut self, value: Value, span: Range<usize>) -> Result<(), ExprError> {
        self.site(span, false, Op::Const(value), |_| Ok(()))
    }

    /// Writes `expr`. In a lenient place a missing value is undefined and no error.
    pub(super) fn expression(&mut self, expr: &Expr, lenient: bool) -> Result<(), ExprError> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(ExprError::Limit {
                message: format!(
                    "the expression nests more than {MAX_NESTING} levels; split it with `{{% set %}}`"
                ),
                span: Some(expr.span.clone()),
            });
        }
        let span = expr.span.clone();
        let result = match &expr.node {
            Node::Null => self.constant(Value::from(()), span),
            Node::Bool(value) => self.constant(Value::from(*value), span),
            Node::Int(value) => self.constant(Value::from(*value), span),
            Node::Float(value) => self.constant(Value::from(*value), span),
            Node::Text(value) => self.constant(Value::from(value.as_str()), span),
            Node::List(items) => self.site(span, lenient, Op::List, |this| {
                items
                    .iter()
                    .try_for_each(|item| this.argument(item, lenient))
            }),
            Node::Map(entries) => self.site(span, lenient, Op::Map, |this| {
                entries.iter().try_for_each(|(key, value)| {
                    this.argument(key, lenient)?;
                    this.argument(value, lenient)
                })
            }),
            Node::Name(_) | Node::Key { .. } => self.path(expr, lenient),
            Node::Block => {
                let variable = self.block.take().unwrap_or_default();
                self.out.push_str(&variable);
                Ok(())
            }
            Node::Call { callable, args } => self.call(callable, args, span, lenient),
            Node::Not(operand) => self.between("(not ", operand, Op::Truth, lenient, ")"),
            Node::Negate(operand) => self.wrapped_at(span, Op::Negate, operand, lenient),
            Node::And(left, right) => self.junction(left, " and ", right, lenient),
            Node::Or(left, right) => self.junction(left, " or ", right, lenient),
            Node::Coalesce {
                left,
                right,
                undefined_only,
            } => self.site(span, lenient, Op::Unwrap, |this| {
                let op = Op::Present {
                    undefined_only: *undefined_only,
                };
                this.out.push(',');
                this.wrapped(op, left, true)?;
                this.out.push_str(" or ");
                this.expression(right, lenient)
            }),
            Node::Ternary { test, yes, no } => {
                self.out.push('(');
                self.expression(yes, lenient)?;
                self.between(" if ", test, Op::Truth, lenient, " else ")?;
                self.expression(no, lenient)?;
                self.out.push(')');
                Ok(())
            }
            Node::Binary { op, left, right } => self.site(span, lenient, Op::Binary(*op), |this| {
                this.argument(left, lenient)?;
                this.argument(right, lenient)
            }),
        };
        self.depth -= 1;
        result
    }

    fn wrapped_at(
        &mut self,
        span: Range<usize>,
        op: Op,
        expr: &Expr,
        lenient: bool,
    ) -> Result<(), ExprError> {
        self.site(span, lenient, op, |this| this.argument(expr, lenient))
    }

    fn between(
        &mut self,
        before: &str,
        expr: &Expr,
        op: Op,
        lenient: bool,
        after: &str,
    ) -> Result<(), ExprError> {
        self.out.push_str(before);
        self.wrapped(op, expr, lenient)?;
        self.out.push_str(after);
        Ok(())
    }

    fn junction(
        &mut self,
        left: &Expr,
        sign: &str,
        right: &Expr,
        lenient: bool,
    ) -> Result<(), ExprError> {
        self.between("(", left, Op::Truth, lenient, sign)?;
        self.between("", right, Op::Truth, lenient, ")")
    }

    fn call(
        &mut self,
        callable: &'static Callable,
        args: &[(usize, Expr)],
        span: Range<usize>,
        lenient: bool,
    ) -> Result<(), ExprError> {
        if callable.kind == "function" {
            let argument = args
                .iter()
                .find(|(slot, _)| *slot == 0)
                .and_then(|(_, arg)| match &arg.node {
                    Node::Text(text) => Some(text.clone()),
                    _ => None,
                });
            self.calls.push(FunctionCall {
                name: callable.name,
                argument,
                span: span.clone(),
                conditional: lenient,
            });
        }
        let slots = args.iter().map(|(slot, _)| *slot).collect();
        // Others that take null take no name that does not exist: a misspelt one would go unseen.
        let sees_missing =
            callable.takes_missing && (callable.kind == "test" || callable.name == "default");
        self.site(span, lenient, Op::Call { callable, slots }, |this| {
            args.iter().try_for_each(|(slot, arg)| {
                this.argument(arg, lenient || sees_missing && *slot == 0)
            })
        })
    }

    /// A name and the keys after it, as one operation.
    fn path(&mut self, expr: &Expr, lenient: bool) -> Result<(), ExprError> {
        let mut keys: Vec<&Expr> = Vec::new();
        let mut base = expr;
        while let Node::Key {
            base: inner, key, ..
        } = &base.node
        {
            keys.push(key);
            base = inner;
        }
        keys.reverse();
        let root = match &base.node {
            Node::Name(name) if !self.is_local(name) => Some(name.clone()),
            _ => None,
        };
        if let Some(root) = &root {
            self.reference(root, &keys, expr, base, lenient);
        } else if keys.is_empty() {
            return self.local_value(base, lenient);
        }
        let constant = |key: &Expr| match &key.node {
            Node::Text(text) => Some(Value::from(text.as_str())),
            Node::Int(index) => Some(Value::from(*index)),
            _ => None,
        };
        let ats = keys
            .iter()
            .map(|key| KeyAt {
                key: constant(key),
                span: key.span.clone(),
            })
            .collect();
        let has_root = root.is_some();
        let loop_field = match (&base.node, keys.first().map(|key| &key.node)) {
            (Node::Name(name), Some(Node::Text(field))) if name == "loop" && !has_root => {
                Some(loop_field(field, &keys[0].span)?)
            }
            _ => None,
        };
        if let Some(field) = loop_field {
            self.out.push_str(field);
            return Ok(());
        }
        self.site(
            expr.span.clone(),
            lenient,
            Op::Path { root, keys: ats },
            |this| {
                if !has_root {
                    this.out.push(',');
                    if matches!(base.node, Node::Name(_)) {
                        this.local_value(base, lenient)?;
                    } else {
                        this.expression(base, lenient)?;
                    }
                }
                keys.iter()
                    .filter(|key| constant(key).is_none())
                    .try_for_each(|key| this.argument(key, lenient))
            },
        )
    }

    fn local_value(&mut self, base: &Expr, lenient: bool) -> Result<(), ExprError> {
        let Node::Name(name) = &base.node else {
            return self.expression(base, lenient);
        };
        let variable = local(name);
        self.site(
            base.span.clone(),
            lenient,
            Op::Local(name.clone()),
            |this| {
                this.out.push(',');
                this.out.push_str(&variable);
                Ok(())
            },
        )
    }

    /// Writes filters over the text of a block, which is in the Jinja variable `variable`.
    pub(super) fn emit_block(&mut self, variable: &str, filters: &Expr) -> Result<(), ExprError> {
        self.block = Some(variable.to_owned());
        self.wrapped(Op::Emit, filters, false)
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }

    fn reference(
        &mut self,
        root: &str,
        keys: &[&Expr],
        whole: &Expr,
        base: &Expr,
        conditional: bool,
    ) {
        let mut path = vec![root.to_owned()];
        let mut end = base.span.end;
        for key in keys {
            match &key.node {
                Node::Text(text) => path.push(text.clone()),
                Node::Int(index) => path.push(index.to_string()),
                _ => break,
            }
            end = key.span.end;
        }
        if path.len() == keys.len() + 1 {
            end = whole.span.end;
        }
        self.references.push(Reference {
            path,
            span: whole.span.start..end,
            conditional,
        });
    }
}

/// Pebble counts a loop from 0.
fn loop_field(field: &str, span: &Range<usize>) -> Result<&'static str, ExprError> {
    match field {
        "index" => Ok("loop.index0"),
        "revindex" => Ok("loop.revindex0"),
        "first" => Ok("loop.first"),
        "last" => Ok("loop.last"),
        "length" => Ok("loop.length"),
        _ => Err(ExprError::syntax_help(
            format!("`loop` has no `{field}`"),
            span.clone(),
            "it has index (from 0), revindex, first, last and length",
        )),
    }
}
