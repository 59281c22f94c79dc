//! The parsed form of one expression.

use std::ops::Range;

use super::catalog::Callable;

/// An expression and its bytes in the template.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) node: Node,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// A context root or a local variable, and what is taken from it.
    Name(String),
    /// The text of the `{% filter %}` block that is being closed.
    Block,
    /// One key of a value: `base.key` or `base[key]`.
    Key {
        base: Box<Expr>,
        key: Box<Expr>,
        dotted: bool,
    },
    /// A filter (its input is the first argument), function or test.
    Call {
        callable: &'static Callable,
        args: Vec<(usize, Expr)>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// `??`, or `???` when only an undefined left side falls back.
    Coalesce {
        left: Box<Expr>,
        right: Box<Expr>,
        undefined_only: bool,
    },
    Ternary {
        test: Box<Expr>,
        yes: Box<Expr>,
        no: Box<Expr>,
    },
    Binary {
        op: Binary,
        left: Box<Expr>,
        right: Box<Expr>,
    },
}

/// An operator that evaluates both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Concat,
    Range,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Contains,
    Matches,
    IsIn,
}

impl Binary {
    /// The operator and its precedence, which is Pebble's.
    pub(super) fn parse(token: &str) -> Option<(Self, u8)> {
        Some(match token {
            "contains" => (Self::Contains, 20),
            "matches" => (Self::Matches, 20),
            "isIn" => (Self::IsIn, 20),
            "==" | "equals" => (Self::Equal, 30),
            "!=" => (Self::NotEqual, 30),
            "<" => (Self::Less, 30),
            "<=" => (Self::LessEqual, 30),
            ">" => (Self::Greater, 30),
            ">=" => (Self::GreaterEqual, 30),
            "+" => (Self::Add, 40),
            "-" => (Self::Subtract, 40),
            "*" => (Self::Multiply, 60),
            "/" => (Self::Divide, 60),
            "%" => (Self::Remainder, 60),
            "~" => (Self::Concat, 110),
            ".." => (Self::Range, 120),
            _ => return None,
        })
    }
}
