//! Tokens of one `{{ … }}` or `{% … %}`, with their bytes in the template.

use std::ops::Range;

use super::error::ExprError;

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Name(String),
    Text(String),
    Int(i64),
    Float(f64),
    Sign(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// The tokens between two delimiters.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) list: Vec<Token>,
    /// The first byte after the closing delimiter.
    pub(super) end: usize,
    /// The closing delimiter was `-}}` or `-%}`.
    pub(super) trim_after: bool,
}

/// Longest first.
const SIGNS: [&str; 31] = [
    "???", "??", "?", "==", "!=", "<=", ">=", "&&", "||", "..", "<", ">", "=", "!", "+", "-", "*",
    "/", "%", "~", "|", "(", ")", "[", "]", "{", "}", ",", ":", ".", ";",
];

/// Reads tokens from `start`, the byte after `{{` or `{%`, up to `close` (`}}` or `%}`).
pub(super) fn tokens(source: &str, start: usize, close: &'static str) -> Result<Tokens, ExprError> {
    let bytes = source.as_bytes();
    let mut list = Vec::new();
    let mut at = start;
    let mut braces = 0_usize;
    loop {
        let Some(first) = source[at..].chars().next() else {
            let open = if close == "}}" { "{{" } else { "{%" };
            return Err(ExprError::syntax_help(
                format!("`{open}` is never closed"),
                start - 2..source.len().min(start + 20).max(start),
                format!("add `{close}`"),
            )
            .on_char_boundary(source));
        };
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if braces == 0 {
            let trim_after = source[at..].starts_with('-') && source[at + 1..].starts_with(close);
            if trim_after || source[at..].starts_with(close) {
                let end = at + usize::from(trim_after) + close.len();
                return Ok(Tokens {
                    list,
                    end,
                    trim_after,
                });
            }
        }
        let (kind, length) = if first == '"' || first == '\'' {
            text(source, at)?
        } else if first.is_ascii_digit() {
            number(source, at)?
        } else if first.is_alphabetic() || first == '_' {
            let length = source[at..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(source.len() - at);
            (Kind::Name(source[at..at + length].to_owned()), length)
        } else if let Some(sign) = SIGNS
            .iter()
            .find(|sign| bytes[at..].starts_with(sign.as_bytes()))
        {
            match *sign {
                "{" => braces += 1,
                "}" => braces = braces.saturating_sub(1),
                _ => {}
            }
            (Kind::Sign(sign), sign.len())
        } else {
            return Err(ExprError::syntax_help(
                format!("`{first}` has no meaning in an expression"),
                at..at + first.len_utf8(),
                "quote it if it is text",
            ));
        };
        list.push(Token {
            kind,
            span: at..at + length,
        });
        at += length;
    }
}

impl ExprError {
    /// Moves the end of the span back to a character's first byte.
    fn on_char_boundary(mut self, source: &str) -> Self {
        if let Self::Syntax { span, .. } = &mut self {
            while !source.is_char_boundary(span.end) {
                span.end -= 1;
            }
        }
        self
    }
}

/// A quoted text. `\n`, `\t`, `\r`, `\\` and an escaped quote are translated; any other backslash
/// stays, so that regular expressions can be written as they are.
fn text(source: &str, at: usize) -> Result<(Kind, usize), ExprError> {
    let quote = source[at..].chars().next().unwrap_or('"');
    let mut value = String::new();
    let mut chars = source[at + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        if c == quote {
            return Ok((Kind::Text(value), offset + 2));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        match chars.next() {
            Some((_, 'n')) => value.push('\n'),
            Some((_, 't')) => value.push('\t'),
            Some((_, 'r')) => value.push('\r'),
            Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
            Some((_, other)) => {
                value.push('\\');
                value.push(other);
            }
            None => break,
        }
    }
    Err(ExprError::syntax_help(
        "the text is never closed",
        at..at + 1,
        format!("add {quote}"),
    ))
}

fn number(source: &str, at: usize) -> Result<(Kind, usize), ExprError> {
    let rest = &source.as_bytes()[at..];
    let digits = |from: usize| {
        rest[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut length = digits(0);
    let mut float = false;
    if rest.get(length) == Some(&b'.') && rest.get(length + 1).is_some_and(u8::is_ascii_digit) {
        float = true;
        length += 1 + digits(length + 1);
    }
    let literal = &source[at..at + length];
    // Java's suffix for a 64-bit integer, which Pebble takes.
    let suffix = usize::from(!float && matches!(rest.get(length), Some(b'l' | b'L')));
    let kind = if float {
        literal.parse().ok().map(Kind::Float)
    } else {
        literal.parse().ok().map(Kind::Int)
    };
    let next = source[at + length + suffix..].chars().next();
    if next.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return Err(ExprError::syntax_help(
            format!("`{literal}` is followed by a letter"),
            at..at + length,
            "quote it if it is text; a key that begins with a digit needs brackets: `x['1a']`",
        ));
    }
    match kind {
        Some(kind) => Ok((kind, length + suffix)),
        None => Err(ExprError::syntax_help(
            format!("`{literal}` is too large for a 64-bit integer"),
            at..at + length,
            "quote it if it is an identifier",
        )),
    }
}
