//! Evaluating a jq program. Every value made or copied is charged by its size, so the number of steps
//! bounds time and memory alike.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::{Opt, Part};
use serde_json::{Map, Value as Json};

use super::super::limits::MAX_JQ_RESULTS;
use super::builtins;
use super::values::{self, compare, is_true, type_name};
use super::{Results, Stop, fail, out_of_steps};

/// Deepest evaluation; a pipeline of this many stages fits.
const MAX_DEPTH: usize = 100;

/// Variables in scope, innermost last.
pub(super) type Vars<'a> = Vec<(&'a str, Json)>;

pub(super) struct Machine {
    left: u64,
    taken: u64,
    depth: usize,
}

impl Machine {
    pub(super) fn new(left: u64) -> Self {
        Self {
            left,
            taken: 0,
            depth: 0,
        }
    }

    /// Steps taken.
    pub(super) fn steps(&self) -> u64 {
        self.taken
    }

    pub(super) fn run(&mut self, program: &Term<&str>, input: &Json) -> Results {
        self.eval(program, &Vec::new(), input)
    }

    /// Charges one step and one for each part of the values.
    pub(super) fn charge(&mut self, values: &[Json]) -> Result<(), Stop> {
        if values.len() > MAX_JQ_RESULTS {
            return Err(Stop::Limit(format!(
                "a jq program may give {MAX_JQ_RESULTS} results; use a task for more"
            )));
        }
        self.charge_steps(
            values
                .iter()
                .fold(1, |sum, value| size(value, 0).saturating_add(sum)),
        )
    }

    /// Charges what comparing each part of one value with each of the other may take.
    pub(super) fn charge_product(&mut self, left: &Json, right: &Json) -> Result<(), Stop> {
        self.charge_steps(size(left, 0).saturating_mul(size(right, 0)))
    }

    fn charge_steps(&mut self, steps: u64) -> Result<(), Stop> {
        self.taken = self.taken.saturating_add(steps);
        if self.taken > self.left {
            Err(out_of_steps())
        } else {
            Ok(())
        }
    }

    pub(super) fn eval<'a>(
        &mut self,
        term: &Term<&'a str>,
        vars: &Vars<'a>,
        input: &Json,
    ) -> Results {
        if self.depth >= MAX_DEPTH {
            return Err(Stop::Limit(format!(
                "a jq program nests at most {MAX_DEPTH} levels"
            )));
        }
        self.charge(&[])?;
        self.depth += 1;
        let results = self.term(term, vars, input);
        self.depth -= 1;
        let results = results?;
        self.charge(&results)?;
        Ok(results)
    }

    /// What `then` makes of each result of a term.
    fn each<'a>(
        &mut self,
        term: &Term<&'a str>,
        vars: &Vars<'a>,
        input: &Json,
        mut then: impl FnMut(&mut Self, &Json) -> Results,
    ) -> Results {
        let mut all = Vec::new();
        for value in self.eval(term, vars, input)? {
            all.extend(then(self, &value)?);
            if all.len() > MAX_JQ_RESULTS {
                self.charge(&all)?;
            }
        }
        Ok(all)
    }

    fn term<'a>(&mut self, term: &Term<&'a str>, vars: &Vars<'a>, input: &Json) -> Results {
        match term {
            Term::Id => Ok(vec![input.clone()]),
            Term::Recurse => {
                let mut all = Vec::new();
                recurse(input, &mut all);
                Ok(all)
            }
            Term::Num(number) => match serde_json::from_str::<Json>(number) {
                Ok(number) => Ok(vec![number]),
                Err(_) => fail(format!("`{number}` is not a number")),
            },
            Term::Str(None, parts) => self.text(parts, vars, input),
            Term::Str(Some(format), _) => fail(format!(
                "formats such as `{format}` are not supported; use a filter behind jq"
            )),
            Term::Arr(None) => Ok(vec![Json::Array(Vec::new())]),
            Term::Arr(Some(items)) => Ok(vec![Json::Array(self.eval(items, vars, input)?)]),
            Term::Obj(entries) => self.object(entries, vars, input),
            Term::Neg(term) => self.each(term, vars, input, |_, value| {
                values::math(Math::Sub, &Json::from(0), value)
            }),
            Term::BinOp(left, op, right) => self.binary(left, op, right, vars, input),
            Term::Fold(kind, source, pattern, args) => {
                self.fold(kind, source, pattern, args, vars, input)
            }
            Term::TryCatch(body, catch) => match (self.eval(body, vars, input), catch) {
                (Err(Stop::Error(error)), Some(catch)) => self.eval(catch, vars, &error),
                (Err(Stop::Error(_)), None) => Ok(Vec::new()),
                (results, _) => results,
            },
            Term::IfThenElse(branches, otherwise) => {
                self.choose(branches, otherwise.as_deref(), vars, input)
            }
            Term::Call(name, args) => builtins::call(self, name, args, vars, input),
            Term::Var(name) => match vars.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => Ok(vec![value.clone()]),
                None => fail(format!("`{name}` is not defined")),
            },
            Term::Path(base, path) => {
                let mut values = match **base {
                    // Without a copy of the whole input.
                    Term::Id => None,
                    _ => Some(self.eval(base, vars, input)?),
                };
                for (part, opt) in &path.0 {
                    let from = values.take();
                    let from = from.as_deref().unwrap_or(std::slice::from_ref(input));
                    let mut next = Vec::new();
                    for value in from {
                        match self.part(part, vars, input, value) {
                            Err(Stop::Error(_)) if matches!(opt, Opt::Optional) => {}
                            found => next.extend(found?),
                        }
                    }
                    self.charge(&next)?;
                    values = Some(next);
                }
                Ok(values.unwrap_or_else(|| vec![input.clone()]))
            }
            Term::Label(..) | Term::Break(_) | Term::Def(..) => {
                fail("definitions and labels are not supported; use a task")
            }
        }
    }

    fn text<'a>(
        &mut self,
        parts: &[StrPart<&'a str, Term<&'a str>>],
        vars: &Vars<'a>,
        input: &Json,
    ) -> Results {
        let mut texts = vec![String::new()];
        for part in parts {
            match part {
                StrPart::Str(text) => texts.iter_mut().for_each(|out| out.push_str(text)),
                StrPart::Char(c) => texts.iter_mut().for_each(|out| out.push(*c)),
                StrPart::Term(term) => {
                    let values = self.eval(term, vars, input)?;
                    let mut next = Vec::new();
                    for value in &values {
                        next.extend(
                            texts
                                .iter()
                                .map(|out| format!("{out}{}", values::to_text(value))),
                        );
                        if next.len() > MAX_JQ_RESULTS {
                            return Err(out_of_steps());
                        }
                    }
                    texts = next;
                }
            }
        }
        Ok(texts.into_iter().map(Json::from).collect())
    }

    fn object<'a>(
        &mut self,
        entries: &[(Term<&'a str>, Option<Term<&'a str>>)],
        vars: &Vars<'a>,
        input: &Json,
    ) -> Results {
        let mut objects = vec![Map::new()];
        for (key, value) in entries {
            let (keys, values) = match (key, value) {
                (Term::Var(name), None) => (
                    vec![Json::from(name.trim_start_matches('$'))],
                    Some(self.eval(key, vars, input)?),
                ),
                (key, Some(value)) => (
                    self.eval(key, vars, input)?,
                    Some(self.eval(value, vars, input)?),
                ),
                (key, None) => (self.eval(key, vars, input)?, None),
            };
            let mut next = Vec::new();
            for key in &keys {
                let Some(name) = key.as_str() else {
                    return fail(format!(
                        "an object's key must be a string, not {}",
                        type_name(key)
                    ));
                };
                let own = [values::index(input, key).unwrap_or(Json::Null)];
                for value in values.as_deref().unwrap_or(&own) {
                    for object in &objects {
                        let mut object = object.clone();
                        object.insert(name.to_owned(), value.clone());
                        let object = [Json::Object(object)];
                        self.charge(&object)?;
                        next.extend(object);
                    }
                }
            }
            objects = next
                .into_iter()
                .filter_map(|object| match object {
                    Json::Object(map) => Some(map),
                    _ => None,
                })
                .collect();
        }
        Ok(objects.into_iter().map(Json::Object).collect())
    }

    fn binary<'a>(
        &mut self,
        left: &Term<&'a str>,
        op: &BinaryOp<&'a str>,
        right: &Term<&'a str>,
        vars: &Vars<'a>,
        input: &Json,
    ) -> Results {
        match op {
            BinaryOp::Pipe(None) => self.each(left, vars, input, |this, value| {
                this.eval(right, vars, value)
            }),
            BinaryOp::Pipe(Some(pattern)) => self.each(left, vars, input, |this, value| {
                let vars = this.bind(pattern, value, vars, input)?;
                this.eval(right, &vars, input)
            }),
            BinaryOp::Comma => {
                let mut all = self.eval(left, vars, input)?;
                all.extend(self.eval(right, vars, input)?);
                Ok(all)
            }
            BinaryOp::Alt => {
                let mut kept = match self.eval(left, vars, input) {
                    Err(Stop::Error(_)) => Vec::new(),
                    results => results?,
                };
                kept.retain(is_true);
                if kept.is_empty() {
                    self.eval(right, vars, input)
                } else {
                    Ok(kept)
                }
            }
            BinaryOp::Or | BinaryOp::And => self.each(left, vars, input, |this, value| {
                if is_true(value) == matches!(op, BinaryOp::Or) {
                    return Ok(vec![Json::from(is_true(value))]);
                }
                this.each(right, vars, input, |_, value| {
                    Ok(vec![Json::from(is_true(value))])
                })
            }),
            BinaryOp::Math(op) => self.each(right, vars, input, |this, right| {
                this.each(left, vars, input, |this, left| {
                    if matches!((op, left), (Math::Sub, Json::Array(_))) {
                        this.charge_product(left, right)?;
                    }
                    let result = values::math(*op, left, right)?;
                    this.charge(&result)?;
                    Ok(result)
                })
            }),
            BinaryOp::Cmp(op) => self.each(right, vars, input, |this, right| {
                this.each(left, vars, input, |_, left| {
                    let order = compare(left, right);
                    Ok(vec![Json::from(match op {
                        Cmp::Lt => order.is_lt(),
                        Cmp::Le => order.is_le(),
                        Cmp::Gt => order.is_gt(),
                        Cmp::Ge => order.is_ge(),
                        Cmp::Eq => order.is_eq(),
                        Cmp::Ne => order.is_ne(),
                    })])
                })
            }),
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => {
                fail("assignment is not supported; use `map`, `with_entries` or `+ {key: value}`")
            }
        }
    }

    /// The variables with those of the pattern.
    fn bind<'a>(
        &mut self,
        pattern: &Pattern<&'a str>,
        value: &Json,
        vars: &Vars<'a>,
        input: &Json,
    ) -> Result<Vars<'a>, Stop> {
        let mut bound = vars.clone();
        match pattern {
            Pattern::Var(name) => bound.push((name, value.clone())),
            Pattern::Arr(items) => {
                for (at, item) in items.iter().enumerate() {
                    let part = values::index(value, &Json::from(at))?;
                    bound = self.bind(item, &part, &bound, input)?;
                }
            }
            Pattern::Obj(entries) => {
                for (key, item) in entries {
                    if let Term::Var(name) = key {
                        let part = values::index(value, &Json::from(name.trim_start_matches('$')))?;
                        bound.push((name, part));
                        continue;
                    }
                    for key in self.eval(key, vars, input)?.iter().take(1) {
                        let part = values::index(value, key)?;
                        bound = self.bind(item, &part, &bound, input)?;
                    }
                }
            }
        }
        let copied: Vec<Json> = bound.iter().map(|(_, value)| value.clone()).collect();
        self.charge(&copied)?;
        Ok(bound)
    }

    fn fold<'a>(
        &mut self,
        kind: &str,
        source: &Term<&'a str>,
        pattern: &Pattern<&'a str>,
        args: &[Term<&'a str>],
        vars: &Vars<'a>,
        input: &Json,
    ) -> Results {
        let (Some(init), Some(update)) = (args.first(), args.get(1)) else {
            return fail(format!("`{kind}` needs a first value and an update"));
        };
        let values = self.eval(source, vars, input)?;
        self.each(init, vars, input, |this, init| {
            let mut state = init.clone();
            let mut all = Vec::new();
            for value in &values {
                let vars = this.bind(pattern, value, vars, input)?;
                let Some(next) = this.eval(update, &vars, &state)?.pop() else {
                    continue;
                };
                state = next;
                if kind == "foreach" {
                    all.extend(match args.get(2) {
                        Some(project) => this.eval(project, &vars, &state)?,
                        None => vec![state.clone()],
                    });
                    this.charge(&all[all.len().saturating_sub(1)..])?;
                }
            }
            Ok(if kind == "foreach" { all } else { vec![state] })
        })
    }

    fn choose<'a>(
        &mut self,
        branches: &[(Term<&'a str>, Term<&'a str>)],
        otherwise: Option<&Term<&'a str>>,
        vars: &Vars<'a>,
        input: &Json,
    ) -> Results {
        let Some(((test, then), rest)) = branches.split_first() else {
            return match otherwise {
                Some(otherwise) => self.eval(otherwise, vars, input),
                None => Ok(vec![input.clone()]),
            };
        };
        self.each(test, vars, input, |this, test| {
            if is_true(test) {
                this.eval(then, vars, input)
            } else {
                this.choose(rest, otherwise, vars, input)
            }
        })
    }

    fn part<'a>(
        &mut self,
        part: &Part<Term<&'a str>>,
        vars: &Vars<'a>,
        input: &Json,
        value: &Json,
    ) -> Results {
        match part {
            Part::Index(key) => self.each(key, vars, input, |_, key| {
                values::index(value, key).map(|found| vec![found])
            }),
            Part::Range(None, None) => values::children(value),
            Part::Range(from, to) => {
                let end = |this: &mut Self, term: &Option<Term<&'a str>>| match term {
                    Some(term) => Ok(this.eval(term, vars, input)?.pop().unwrap_or(Json::Null)),
                    None => Ok(Json::Null),
                };
                let (from, to) = (end(self, from)?, end(self, to)?);
                values::slice(value, &from, &to).map(|found| vec![found])
            }
        }
    }
}

/// The value and everything in it.
fn recurse(value: &Json, all: &mut Vec<Json>) {
    all.push(value.clone());
    match value {
        Json::Array(items) => items.iter().for_each(|item| recurse(item, all)),
        Json::Object(map) => map.values().for_each(|item| recurse(item, all)),
        _ => {}
    }
}

/// Deepest value a program may make: values are walked and freed by recursion.
const MAX_VALUE_DEPTH: usize = 130;

/// Parts of a value, about; more than any limit if it is too deep.
fn size(value: &Json, depth: usize) -> u64 {
    if depth > MAX_VALUE_DEPTH {
        return u64::MAX;
    }
    let sum = |sum: u64, item: &Json| sum.saturating_add(1).saturating_add(size(item, depth + 1));
    match value {
        Json::Array(items) => items.iter().fold(1, sum),
        Json::Object(map) => map.values().fold(1, sum),
        Json::String(text) => 1 + text.len() as u64 / 16,
        _ => 1,
    }
}
