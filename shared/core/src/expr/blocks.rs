//! The text around expressions: `{{ … }}`, `{% … %}`, `{# … #}` and what lies between.

use std::collections::HashSet;
use std::ops::Range;

use minijinja::Value;

use super::ast::{Expr, Node};
use super::error::{ExprError, nearest};
use super::lexer::{self, Kind, Tokens};
use super::limits::MAX_NESTING;
use super::parser::Parser;
use super::rewrite::{Op, Rewriter, local};

/// What kind of template was parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    Literal(String),
    Single,
    Text,
}

/// A template in its Jinja form; half of one when it has problems.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) form: Form,
    pub(super) rewriter: Rewriter,
    /// What is wrong, in order.
    pub(super) problems: Vec<ExprError>,
    /// A tag that may set a variable could not be read: which are in scope is not known.
    pub(super) tag_lost: bool,
}

/// A tag that waits for its end.
#[derive(Debug, Clone)]
struct Open {
    tag: &'static str,
    span: Range<usize>,
    has_else: bool,
    /// The filters of `{% filter %}`, applied to the variable that holds the block's text.
    filters: Option<(String, Expr)>,
}

struct Scanner<'a> {
    source: &'a str,
    at: usize,
    rewriter: Rewriter,
    open: Vec<Open>,
    /// Text since the last delimiter.
    text: String,
    text_start: usize,
    trim_next: bool,
    expressions: usize,
    tags: usize,
    blocks: usize,
    problems: Vec<ExprError>,
    tag_lost: bool,
    /// Which tags are open is not known.
    open_lost: bool,
}

/// Parses a whole template, past everything that is wrong with it.
pub(super) fn parse(source: &str) -> Parsed {
    if let Some(tokens) = single(source) {
        let mut rewriter = Rewriter::new();
        let parsed = whole(source, &tokens, &mut rewriter);
        return Parsed {
            form: Form::Single,
            rewriter,
            problems: parsed.err().into_iter().collect(),
            tag_lost: false,
        };
    }
    let mut scanner = Scanner {
        source,
        at: 0,
        rewriter: Rewriter::new(),
        open: Vec::new(),
        text: String::new(),
        text_start: 0,
        trim_next: false,
        expressions: 0,
        tags: 0,
        blocks: 0,
        problems: Vec::new(),
        tag_lost: false,
        open_lost: false,
    };
    scanner.scan();
    scanner.expect_closed();
    let literal = scanner.expressions + scanner.tags == 0;
    if !literal && let Err(error) = scanner.flush_text() {
        scanner.problems.push(error);
    }
    Parsed {
        form: if literal {
            Form::Literal(scanner.text)
        } else {
            Form::Text
        },
        rewriter: scanner.rewriter,
        problems: scanner.problems,
        tag_lost: scanner.tag_lost,
    }
}

/// The tokens of a template that is exactly one `{{ … }}`.
fn single(source: &str) -> Option<Tokens> {
    if !source.starts_with("{{") || !source.ends_with("}}") {
        return None;
    }
    let start = 2 + usize::from(source[2..].starts_with('-'));
    // What cannot be read here is told by the scanner, which goes on behind it.
    let tokens = lexer::tokens(source, start, "}}").ok()?;
    (tokens.end == source.len()).then_some(tokens)
}

fn whole(source: &str, tokens: &Tokens, rewriter: &mut Rewriter) -> Result<(), ExprError> {
    let mut parser = Parser::new(source, &tokens.list, source.len());
    let expr = parser.expression()?;
    parser.finish()?;
    rewriter.expression(&expr, false)
}

impl Scanner<'_> {
    fn scan(&mut self) {
        while self.at < self.source.len() {
            let rest = &self.source[self.at..];
            let next = rest.find('{').unwrap_or(rest.len());
            let (text, rest) = rest.split_at(next);
            self.push_text(text);
            self.at += next;
            let start = self.at;
            if rest.starts_with("{{") {
                let printed = self.print();
                self.recover(printed, start, "}}");
            } else if rest.starts_with("{%") {
                let read = self.tag();
                self.recover(read, start, "%}");
            } else if let Some(end) = rest.strip_prefix("{#").and_then(|body| body.find("#}")) {
                // Without an end it is text: shell scripts have `${#array[@]}`.
                let comment = &rest[..end + 4];
                if comment.starts_with("{#-") {
                    self.trim_text();
                }
                self.at += comment.len();
                self.trim_next = comment.ends_with("-#}");
            } else if !rest.is_empty() {
                self.push_text("{");
                self.at += 1;
            }
        }
    }

    /// Notes what is wrong with the delimiter that opened at `start`, and goes on behind it.
    fn recover(&mut self, read: Result<(), ExprError>, start: usize, close: &str) {
        let Err(error) = read else { return };
        if self.at == start {
            // Its tokens could not be read: it ends at its closing sign, or where another one opens.
            let from = error.span().map_or(start, |span| span.start).max(start) + 2;
            let rest = self.source.get(from..).unwrap_or_default();
            let closed = rest.find(close).map(|at| at + close.len());
            let opened = ["{{", "{%"].iter().filter_map(|open| rest.find(open)).min();
            let next = closed.into_iter().chain(opened).min();
            self.at = next.map_or(self.source.len(), |next| from + next);
            self.text_start = self.at;
            // Which tag it was is not known, so what is open is not, either.
            if close == "%}" {
                (self.open_lost, self.tag_lost) = (true, true);
            }
        }
        self.problems.push(error);
    }

    fn expect_closed(&mut self) {
        let Some(open) = self.open.last().filter(|_| !self.open_lost) else {
            return;
        };
        self.problems.push(ExprError::syntax_help(
            format!("`{{% {} %}}` is never closed", open.tag),
            open.span.clone(),
            format!("add `{{% end{} %}}`", open.tag),
        ));
    }

    fn push_text(&mut self, text: &str) {
        let text = if self.trim_next {
            text.trim_start()
        } else {
            text
        };
        if !text.is_empty() {
            self.trim_next = false;
            self.text.push_str(text);
        }
    }

    fn trim_text(&mut self) {
        self.text.truncate(self.text.trim_end().len());
    }

    fn flush_text(&mut self) -> Result<(), ExprError> {
        let span = self.text_start..self.at;
        if !self.text.is_empty() {
            let text = Value::from(std::mem::take(&mut self.text));
            self.rewriter.out.push_str("{{");
            self.rewriter
                .site(span, false, Op::Const(text), |_| Ok(()))?;
            self.rewriter.out.push_str("}}");
        }
        self.text_start = self.at;
        Ok(())
    }

    /// The tokens of the delimiter that opens here; the scan continues behind it.
    fn delimiter(&mut self, close: &'static str) -> Result<(Tokens, Range<usize>), ExprError> {
        let trim = self.source[self.at + 2..].starts_with('-');
        if trim {
            self.trim_text();
        }
        let tokens = lexer::tokens(self.source, self.at + 2 + usize::from(trim), close)?;
        self.flush_text()?;
        let span = self.at..tokens.end;
        self.at = tokens.end;
        self.text_start = tokens.end;
        self.trim_next = tokens.trim_after;
        Ok((tokens, span))
    }

    fn print(&mut self) -> Result<(), ExprError> {
        let (tokens, span) = self.delimiter("}}")?;
        self.expressions += 1;
        let mut parser = Parser::new(self.source, &tokens.list, span.end);
        let expr = parser.expression()?;
        parser.finish()?;
        self.rewriter.out.push_str("{{");
        self.rewriter.wrapped(Op::Emit, &expr, false)?;
        self.rewriter.out.push_str("}}");
        Ok(())
    }

    fn tag(&mut self) -> Result<(), ExprError> {
        let (tokens, span) = self.delimiter("%}")?;
        self.tags += 1;
        let Some(Kind::Name(name)) = tokens.list.first().map(|token| token.kind.clone()) else {
            return Err(ExprError::syntax_help(
                "the tag has no name",
                span,
                "such as `{% if … %}`",
            ));
        };
        let name_span = tokens.list[0].span.clone();
        let source = self.source;
        let mut parser = Parser::new(source, &tokens.list[1..], span.end);
        let open = self.open.len();
        let read = self.named_tag(&name, name_span, &mut parser, &span);
        if read.is_err() {
            if self.open.len() == open {
                self.opened_badly(&name, span);
            }
            // Any other sets no variable.
            let sets_none = matches!(&*name, "if" | "elseif" | "elif" | "else" | "filter");
            self.tag_lost |= !sets_none && !name.starts_with("end");
        }
        read?;
        parser.finish()
    }

    /// A tag that opens a block does so whatever is wrong with it: its end is not wrong as well.
    fn opened_badly(&mut self, name: &str, span: Range<usize>) {
        let Some(tag) = ["if", "for", "filter"].into_iter().find(|tag| *tag == name) else {
            return;
        };
        if tag == "for" {
            self.rewriter.scopes.push(HashSet::new());
        }
        // Too deep already: no more is said of what is open.
        self.open_lost |= self.open(tag, span).is_err();
    }

    fn named_tag(
        &mut self,
        name: &str,
        name_span: Range<usize>,
        parser: &mut Parser<'_>,
        span: &Range<usize>,
    ) -> Result<(), ExprError> {
        match name {
            "if" => self.condition("{%if ", parser, span.clone(), true)?,
            "elseif" | "elif" => {
                self.expect_open(&["if"], name, span)?;
                self.condition("{%elif ", parser, span.clone(), false)?;
            }
            "else" => {
                self.expect_open(&["if", "for"], name, span)?;
                if let Some(open) = self.open.last_mut() {
                    open.has_else = true;
                }
                self.rewriter.out.push_str("{%else%}");
            }
            "for" => self.for_loop(parser, span.clone())?,
            "set" => self.set(parser)?,
            "filter" => self.filter(parser, span.clone())?,
            "endif" => drop(self.close("if", span, "{%endif%}")?),
            "endfor" => {
                self.close("for", span, "{%endfor%}")?;
                self.rewriter.scopes.pop();
            }
            "endfilter" => self.end_filter(span)?,
            "raw" | "verbatim" => self.raw(name, span.clone())?,
            _ => return Err(unknown_tag(name.to_owned(), name_span)),
        }
        Ok(())
    }

    fn open(&mut self, tag: &'static str, span: Range<usize>) -> Result<(), ExprError> {
        if self.open.len() >= MAX_NESTING {
            return Err(ExprError::Limit {
                message: format!("tags nest more than {MAX_NESTING} levels; simplify the template"),
                span: Some(span),
            });
        }
        self.open.push(Open {
            tag,
            span,
            has_else: false,
            filters: None,
        });
        Ok(())
    }

    fn expect_open(&self, tags: &[&str], name: &str, span: &Range<usize>) -> Result<(), ExprError> {
        match self.open.last() {
            Some(open) if tags.contains(&open.tag) && !open.has_else => Ok(()),
            _ if self.open_lost => Ok(()),
            _ => Err(ExprError::syntax(
                format!(
                    "`{{% {name} %}}` has no `{{% {} %}}` that it belongs to",
                    tags.join(" %}` or `{% ")
                ),
                span.clone(),
            )),
        }
    }

    fn close(
        &mut self,
        tag: &'static str,
        span: &Range<usize>,
        jinja: &str,
    ) -> Result<Option<Open>, ExprError> {
        match self.open.pop() {
            Some(open) if open.tag == tag => {
                self.rewriter.out.push_str(jinja);
                Ok(Some(open))
            }
            _ if self.open_lost => Ok(None),
            Some(open) => {
                // The one it is meant for ends here; without one, what was open stays so.
                match self.open.iter().rposition(|outer| outer.tag == tag) {
                    Some(outer) => self.open.truncate(outer),
                    None => self.open.push(open.clone()),
                }
                Err(ExprError::syntax_help(
                    format!("`{{% end{tag} %}}` would close `{{% {} %}}`", open.tag),
                    span.clone(),
                    format!("close that with `{{% end{} %}}` first", open.tag),
                ))
            }
            None => Err(ExprError::syntax(
                format!("`{{% end{tag} %}}` has no `{{% {tag} %}}` before it"),
                span.clone(),
            )),
        }
    }

    fn condition(
        &mut self,
        jinja: &str,
        parser: &mut Parser<'_>,
        span: Range<usize>,
        opens: bool,
    ) -> Result<(), ExprError> {
        let test = parser.expression()?;
        self.rewriter.out.push_str(jinja);
        self.rewriter.wrapped(Op::Truth, &test, false)?;
        self.rewriter.out.push_str("%}");
        if opens { self.open("if", span) } else { Ok(()) }
    }

    fn for_loop(&mut self, parser: &mut Parser<'_>, span: Range<usize>) -> Result<(), ExprError> {
        let form = "a loop is written `{% for item in list %}`";
        let Some((name, _)) = parser.take_name() else {
            return Err(ExprError::syntax(form, parser.peek_span()));
        };
        if parser.take_name().is_none_or(|(word, _)| word != "in") {
            return Err(ExprError::syntax_help(
                form,
                span,
                "for a map's keys and values use `item.key` and `item.value`",
            ));
        }
        let list = parser.expression()?;
        self.rewriter.out.push_str("{%for ");
        self.rewriter.out.push_str(&local(&name));
        self.rewriter.out.push_str(" in ");
        self.rewriter.wrapped(Op::Iterate, &list, false)?;
        self.rewriter.out.push_str("%}");
        self.rewriter
            .scopes
            .push(HashSet::from([name, "loop".to_owned()]));
        self.open("for", span)
    }

    fn set(&mut self, parser: &mut Parser<'_>) -> Result<(), ExprError> {
        let Some((name, _)) = parser.take_name() else {
            return Err(ExprError::syntax(
                "a variable is set with `{% set name = value %}`",
                parser.peek_span(),
            ));
        };
        parser.expect_sign("=", "`{% set name = value %}`")?;
        let value = parser.expression()?;
        self.rewriter.out.push_str("{%set ");
        self.rewriter.out.push_str(&local(&name));
        self.rewriter.out.push('=');
        self.rewriter.expression(&value, false)?;
        self.rewriter.out.push_str("%}");
        if let Some(scope) = self.rewriter.scopes.last_mut() {
            scope.insert(name);
        }
        Ok(())
    }

    /// The block's text goes into a variable, and the filters are applied to it at the end.
    fn filter(&mut self, parser: &mut Parser<'_>, span: Range<usize>) -> Result<(), ExprError> {
        self.blocks += 1;
        let variable = format!("b_{}", self.blocks);
        let mut value = Expr {
            node: Node::Block,
            span: span.clone(),
        };
        loop {
            value = parser.filter(value)?;
            if !parser.take_sign("|") {
                break;
            }
        }
        self.rewriter.out.push_str("{%set ");
        self.rewriter.out.push_str(&variable);
        self.rewriter.out.push_str("%}");
        self.open("filter", span)?;
        if let Some(open) = self.open.last_mut() {
            open.filters = Some((variable, value));
        }
        Ok(())
    }

    fn end_filter(&mut self, span: &Range<usize>) -> Result<(), ExprError> {
        let open = self.close("filter", span, "{%endset%}")?;
        if let Some((variable, value)) = open.and_then(|open| open.filters) {
            self.rewriter.out.push_str("{{");
            self.rewriter.emit_block(&variable, &value)?;
            self.rewriter.out.push_str("}}");
        }
        Ok(())
    }

    fn raw(&mut self, name: &str, span: Range<usize>) -> Result<(), ExprError> {
        let mut from = self.at;
        loop {
            let Some(offset) = self.source[from..].find("{%") else {
                // All that follows was not to be read.
                self.at = self.source.len();
                return Err(ExprError::syntax_help(
                    format!("`{{% {name} %}}` is never closed"),
                    span,
                    format!("add `{{% end{name} %}}`"),
                ));
            };
            let start = from + offset;
            let inner = self.source[start + 2..]
                .trim_start_matches('-')
                .trim_start();
            let closes = inner
                .strip_prefix("end")
                .and_then(|rest| rest.strip_prefix(name));
            if let Some(end) = closes.map(|rest| rest.trim_start().trim_start_matches('-'))
                && let Some(after) = end.strip_prefix("%}")
            {
                let text = &self.source[self.at..start];
                self.push_text(text);
                self.at = self.source.len() - after.len();
                return Ok(());
            }
            from = start + 2;
        }
    }
}

fn unknown_tag(name: String, span: Range<usize>) -> ExprError {
    const TAGS: [&str; 9] = [
        "if", "elseif", "else", "endif", "for", "endfor", "set", "filter", "raw",
    ];
    let help = match name.as_str() {
        "macro" | "block" | "call" => "use `{% set %}` for text used twice".to_owned(),
        "extends" | "include" | "import" | "from" | "embed" => {
            "a template stands alone; use `render(vars.…)` for shared text".to_owned()
        }
        "autoescape" => "nothing is escaped, so it is not needed".to_owned(),
        _ => match nearest(&name, TAGS) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", TAGS.join(", ")),
        },
    };
    ExprError::Unknown {
        kind: "tag",
        name,
        span,
        help,
    }
}
