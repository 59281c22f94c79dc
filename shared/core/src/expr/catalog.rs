//! Which filters, functions and tests there are, and what to say about those there are not.
//!
//! Everything is resolved while a template is parsed: a plan with an unknown filter does not compile.

use std::ops::Range;

use minijinja::Value;

use super::ast::Expr;
use super::error::{ExprError, Fault, nearest};
use super::runtime::Call;
use super::{calendar, collections, dates, encode, functions, jq, numbers, text, yaml};

/// A filter, function or test.
pub(super) struct Callable {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// Parameters in order; a filter's or test's first is its input. A trailing `*` takes any number.
    pub(super) params: &'static [&'static str],
    /// How many of them must be given.
    pub(super) required: usize,
    /// It is called with an undefined or null input, instead of passing it through.
    pub(super) takes_missing: bool,
    pub(super) run: fn(&Call<'_>) -> Result<Value, Fault>,
}

impl std::fmt::Debug for Callable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A filter called `name` with these parameters (the first is its input).
pub(super) const fn filter_of(
    name: &'static str,
    params: &'static [&'static str],
    required: usize,
    run: fn(&Call<'_>) -> Result<Value, Fault>,
) -> Callable {
    Callable {
        name,
        kind: "filter",
        params,
        required,
        takes_missing: false,
        run,
    }
}

/// A function called `name` with these parameters.
pub(super) const fn function_of(
    name: &'static str,
    params: &'static [&'static str],
    required: usize,
    run: fn(&Call<'_>) -> Result<Value, Fault>,
) -> Callable {
    Callable {
        name,
        kind: "function",
        params,
        required,
        takes_missing: true,
        run,
    }
}

impl Callable {
    /// Whether the last parameter takes any number of values.
    fn variadic(&self) -> bool {
        self.params.last() == Some(&"*")
    }

    pub(super) fn parameter(&self, slot: usize) -> &'static str {
        self.params.get(slot).copied().unwrap_or("*")
    }

    /// The slot of the argument at `index`.
    pub(super) fn positional(&self, index: usize, span: &Range<usize>) -> Result<usize, ExprError> {
        if index < self.params.len() || self.variadic() {
            return Ok(index);
        }
        Err(ExprError::syntax_help(
            format!("{} `{}` has too many arguments", self.kind, self.name),
            span.clone(),
            format!("it is used as `{}`", self.usage()),
        ))
    }

    /// The slot of the argument `name=…`.
    pub(super) fn named(&self, name: &str, span: &Range<usize>) -> Result<usize, ExprError> {
        let first = usize::from(self.kind != "function");
        let found = self
            .params
            .iter()
            .skip(first)
            .position(|param| *param == name && *param != "*");
        found.map(|slot| slot + first).ok_or_else(|| {
            ExprError::syntax_help(
                format!("{} `{}` has no argument `{name}`", self.kind, self.name),
                span.clone(),
                format!("it is used as `{}`", self.usage()),
            )
        })
    }

    /// Fails if a required argument is missing.
    pub(super) fn complete(
        &self,
        args: &[(usize, Expr)],
        span: &Range<usize>,
    ) -> Result<(), ExprError> {
        match (0..self.required).find(|slot| args.iter().all(|(given, _)| given != slot)) {
            None => Ok(()),
            Some(slot) => Err(ExprError::syntax_help(
                format!(
                    "{} `{}` lacks its argument `{}`",
                    self.kind,
                    self.name,
                    self.parameter(slot)
                ),
                span.clone(),
                format!("it is used as `{}`", self.usage()),
            )),
        }
    }

    fn usage(&self) -> String {
        let list = |params: &[&str], required: usize| {
            let shown: Vec<String> = params
                .iter()
                .enumerate()
                .map(|(at, param)| match *param {
                    "*" => "…".to_owned(),
                    param if at < required => param.to_owned(),
                    param => format!("{param}=…"),
                })
                .collect();
            if shown.is_empty() {
                String::new()
            } else {
                format!("({})", shown.join(", "))
            }
        };
        let input = self.params.first().copied().unwrap_or("value");
        match self.kind {
            "filter" => {
                format!(
                    "{input} | {}{}",
                    self.name,
                    list(&self.params[1..], self.required - 1)
                )
            }
            "test" => format!("{input} is {}", self.name),
            _ => {
                let args = list(self.params, self.required);
                format!(
                    "{}{}",
                    self.name,
                    if args.is_empty() { "()" } else { &args }
                )
            }
        }
    }
}

/// Names of Kestra's, Pebble's and Jinja's that are left out, and what to use instead.
const LEFT_OUT: &[(&str, &str)] = &[
    ("appLink", "put the console's address in `vars`"),
    ("block", "use `{% set %}` for text used twice"),
    ("count", "use `length`"),
    ("credential", "use `secret('NAME')`"),
    (
        "decrypt",
        "keep the value as a secret and use `secret('NAME')`",
    ),
    (
        "encrypt",
        "keep the value as a secret and use `secret('NAME')`",
    ),
    (
        "env",
        "nothing outside the flow is read: use `vars`, `kv()`, `secret()` or the task's `env`",
    ),
    (
        "errorLogs",
        "logs are not read by expressions: `notify` tells people the last lines of what failed, and `tasks.<id>.state` \
         which task did",
    ),
    ("dayOfMonth", "use `date | date('d') | int`"),
    ("escape", "nothing is escaped; for JSON use `toJson`"),
    (
        "fetchContext",
        "read the value from its root, such as `outputs`",
    ),
    ("fileEmpty", "use `fileSize(uri) == 0`"),
    ("fileExists", "use `(fileSize(uri) ?? -1) >= 0`"),
    ("fileURI", "list the file in `inputFiles`"),
    ("from_json", "use `fromJson(text)`"),
    ("http", "use an `http` task and read its outputs"),
    ("ionDecode", "use `fromIon(text)`"),
    ("isDateAfter", "compare `(a | timestamp) > (b | timestamp)`"),
    (
        "isDateBefore",
        "compare `(a | timestamp) < (b | timestamp)`",
    ),
    (
        "isDateBetween",
        "compare `(date | timestamp) > (from | timestamp) and (date | timestamp) < (to | timestamp)`",
    ),
    (
        "isPublicHoliday",
        "list the days in `vars` and use `vars.holidays contains (trigger.date | date('yyyy-MM-dd'))`",
    ),
    (
        "items",
        "loop over the map: each item has `key` and `value`",
    ),
    ("jsonDecode", "use `fromJson(text)`"),
    ("jsonEncode", "use `value | toJson`"),
    ("json_decode", "use `fromJson(text)`"),
    ("json_encode", "use `toJson`"),
    ("loopOutputs", "read `outputs` of the foreach task"),
    ("map", "use `jq('map(…)')`"),
    (
        "parent",
        "there is no template inheritance; the parent's values are the root `parent`",
    ),
    (
        "printContext",
        "use `operon` to show an execution's context",
    ),
    ("randomPort", "let the task choose a free port"),
    ("raw", "nothing is escaped, so `raw` is not needed"),
    (
        "regexExtract",
        "use `text | replace({'.*(…).*': '$1'}, regexp=true)`",
    ),
    ("regexMatch", "use `text matches '…'`"),
    (
        "regexReplace",
        "use `text | replace({'…': '…'}, regexp=true)`",
    ),
    ("safe", "nothing is escaped, so `safe` is not needed"),
    ("select", "use `jq('map(select(…))')`"),
    ("sha3", "use `sha512`"),
    ("subflow", "use a `subflow` task and read its outputs"),
    ("tasksWithState", "use the `tasks` root: `tasks.<id>.state`"),
    ("tojson", "use `toJson`"),
    ("undefined", "use `is not defined`"),
    ("none", "use `is null`"),
];

fn find(
    kind: &'static str,
    name: &str,
    span: Range<usize>,
    tables: &[&'static [Callable]],
) -> Result<&'static Callable, ExprError> {
    let all = || {
        tables
            .iter()
            .flat_map(|table| table.iter())
            .filter(|known| known.kind == kind)
    };
    if let Some(found) = all().find(|callable| callable.name == name) {
        return Ok(found);
    }
    let left_out = LEFT_OUT
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, advice)| *advice);
    let near = nearest(name, all().map(|callable| callable.name));
    let help = match (left_out, near) {
        (Some(advice), _) => advice.to_owned(),
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => {
            let mut names: Vec<&str> = all().map(|callable| callable.name).collect();
            names.sort_unstable();
            format!("there are {}", names.join(", "))
        }
    };
    Err(ExprError::Unknown {
        kind,
        name: name.to_owned(),
        span,
        help,
    })
}

const FILTERS: [&[Callable]; 7] = [
    text::FILTERS,
    collections::FILTERS,
    numbers::FILTERS,
    encode::FILTERS,
    dates::FILTERS,
    yaml::FILTERS,
    jq::FILTERS,
];

/// Every filter, function and test as `(kind, usage)`, by kind and name: for the documentation.
#[must_use]
pub fn usages() -> Vec<(&'static str, String)> {
    let tables = FILTERS.iter().chain([
        &functions::FUNCTIONS,
        &calendar::FUNCTIONS,
        &functions::TESTS,
    ]);
    let mut all: Vec<_> = tables.flat_map(|table| table.iter()).collect();
    all.sort_by_key(|callable| (callable.kind, callable.name.to_ascii_lowercase()));
    all.iter()
        .map(|callable| (callable.kind, callable.usage()))
        .collect()
}

/// The filter called `name`.
pub(super) fn filter(name: &str, span: Range<usize>) -> Result<&'static Callable, ExprError> {
    find("filter", name, span, &FILTERS)
}

/// The function called `name`.
pub(super) fn function(name: &str, span: Range<usize>) -> Result<&'static Callable, ExprError> {
    find(
        "function",
        name,
        span,
        &[functions::FUNCTIONS, calendar::FUNCTIONS],
    )
}

/// The test called `name`.
pub(super) fn test(name: &str, span: Range<usize>) -> Result<&'static Callable, ExprError> {
    find("test", name, span, &[functions::TESTS])
}
