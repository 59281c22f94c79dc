//! One render: what it may look up, what it has used, and which values are secret.
//!
//! Every operation of a template passes through [`Runtime::perform`], so limits, positions and the
//! tracking of secrets are in one place.
//!
//! Invariant: a value that was computed from a secret is marked. The mark is minijinja's "safe" flag,
//! which nothing else uses because nothing is ever escaped here; numbers and text that passed through a
//! block are recognised by their content.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Object, Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::context::Context;
use super::error::{ExprError, Fault, LookupError};
use super::limits::{BYTES_PER_FUEL, MAX_JQ_STEPS, MAX_OUTPUT_BYTES, MAX_RENDERS};
use super::rewrite::{Op, Site};
use super::value::{display, entries, is_missing, is_true, items, weight};
use super::{ops, paths};

/// The name under which a template reaches its runtime; no identifier can be written like this.
pub(super) const NAME: &str = "$runtime";

/// What all templates of one render share, those rendered by `render(…)` included.
#[derive(Debug, Default)]
pub(super) struct Shared {
    secrets: Mutex<BTreeSet<String>>,
    emitted: AtomicBool,
    draws: AtomicU64,
    renders: AtomicUsize,
    jq_steps: AtomicU64,
}

/// How a template came to be rendered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// Calls of `render` around it.
    pub(super) depth: usize,
    /// See [`Runtime::trusted`].
    pub(super) trusted: bool,
}

impl Level {
    /// A template of the flow itself.
    pub(super) const TOP: Self = Self {
        depth: 0,
        trusted: true,
    };
}

/// One template being rendered.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) context: Context,
    pub(super) shared: Arc<Shared>,
    pub(super) depth: usize,
    /// The text was written by the flow's author; only then may it look up secrets and files.
    pub(super) trusted: bool,
    sites: Arc<[Site]>,
    fault: Mutex<Option<ExprError>>,
}

impl Object for Runtime {
    fn repr(self: &Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Plain
    }
}

/// The arguments of a filter, function or test.
pub(super) struct Call<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) name: &'static str,
    pub(super) args: Vec<Option<Value>>,
}

impl Runtime {
    pub(super) fn new(
        context: Context,
        shared: Arc<Shared>,
        level: Level,
        sites: Arc<[Site]>,
    ) -> Self {
        for secret in context.known_secrets() {
            shared.remember(secret);
        }
        let Level { depth, trusted } = level;
        Self {
            context,
            shared,
            depth,
            trusted,
            sites,
            fault: Mutex::new(None),
        }
    }

    /// The error that stopped the render, if an operation did.
    pub(super) fn take_fault(&self) -> Option<ExprError> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn perform(&self, site: &Site, args: Vec<Value>) -> Result<Value, ExprError> {
        // What only passes a value on keeps its marks.
        let tainted = site.op.computes() && self.shared.any_tainted(&args);
        let place = |fault: Fault| match fault {
            Fault::Value(_) | Fault::Limit(_) | Fault::Nested(_) if tainted => ExprError::Value {
                message:
                    "the operation fails for a value computed from a secret (******), which is why \
                          no more is said"
                        .to_owned(),
                span: site.span.clone(),
            },
            fault => fault.at(site.span.clone()),
        };
        let value = match &site.op {
            Op::Const(value) => return Ok(value.clone()),
            Op::Path { root, keys } => paths::resolve(self, site, root.as_deref(), keys, &args)?,
            Op::Local(name) => match args.into_iter().next() {
                Some(value) if !value.is_undefined() || site.lenient => value,
                _ => return Err(paths::undefined(name.clone(), site.span.clone(), None)),
            },
            Op::Emit => {
                self.shared.emitted.fetch_or(tainted, Ordering::Relaxed);
                emit(args).map_err(place)?
            }
            Op::Truth => Value::from(args.first().is_some_and(is_true)),
            Op::Present { undefined_only } => match args.into_iter().next() {
                Some(value) if value.is_undefined() || value.is_none() && !undefined_only => {
                    Value::from(false)
                }
                value => Value::from_object(Present(value.unwrap_or_default())),
            },
            Op::Unwrap => match args.into_iter().next() {
                Some(value) => match value.downcast_object_ref::<Present>() {
                    Some(present) => present.0.clone(),
                    None => value,
                },
                None => Value::UNDEFINED,
            },
            Op::Iterate | Op::List | Op::Map | Op::Negate | Op::Binary(_) => {
                if args.iter().any(Value::is_undefined) && !matches!(site.op, Op::List | Op::Map) {
                    return Ok(Value::UNDEFINED);
                }
                operate(&site.op, args).map_err(place)?
            }
            Op::Call { callable, slots } => {
                let mut bound = vec![None; callable.params.len().max(args.len())];
                for (slot, value) in slots.iter().zip(args) {
                    if let Some(place) = bound.get_mut(*slot) {
                        *place = Some(value);
                    }
                }
                if let Some(input) = pass_through(callable.takes_missing, &bound) {
                    return Ok(input);
                }
                let call = Call {
                    runtime: self,
                    name: callable.name,
                    args: bound,
                };
                match (callable.run)(&call) {
                    Ok(value) => value,
                    Err(Fault::Lookup(LookupError::NotFound { .. })) if site.lenient => {
                        Value::UNDEFINED
                    }
                    Err(fault) => return Err(place(fault)),
                }
            }
        };
        Ok(if tainted {
            self.shared.taint(value)
        } else {
            value
        })
    }

    /// Counts one `render(…)`.
    pub(super) fn count_render(&self) -> Result<(), Fault> {
        if self.shared.renders.fetch_add(1, Ordering::Relaxed) < MAX_RENDERS {
            return Ok(());
        }
        Err(Fault::Limit(format!(
            "more than {MAX_RENDERS} calls of render() in one template; compute the value in a task"
        )))
    }

    /// How many steps jq programs may still take in this render.
    pub(super) fn jq_steps_left(&self) -> u64 {
        MAX_JQ_STEPS.saturating_sub(self.shared.jq_steps.load(Ordering::Relaxed))
    }

    pub(super) fn take_jq_steps(&self, steps: u64) {
        self.shared.jq_steps.fetch_add(steps, Ordering::Relaxed);
    }

    /// The next of a sequence of numbers that is the same whenever the seed is.
    pub(super) fn draw(&self) -> u64 {
        let count = self.shared.draws.fetch_add(1, Ordering::Relaxed);
        let mut z = self
            .context
            .resolver()
            .random_seed()
            .wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // SplitMix64's output function.
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A filter's or test's missing input is its result, unless it asks for missing inputs; another
/// argument may only be undefined where a `??` will catch it.
fn pass_through(takes_missing: bool, bound: &[Option<Value>]) -> Option<Value> {
    if takes_missing {
        return None;
    }
    if let Some(undefined) = bound.iter().flatten().find(|value| value.is_undefined()) {
        return Some(undefined.clone());
    }
    bound.first().cloned().flatten().filter(is_missing)
}

/// The value as text.
fn emit(args: Vec<Value>) -> Result<Value, Fault> {
    let value = args.into_iter().next().unwrap_or_default();
    if value.kind() == ValueKind::String {
        Ok(value)
    } else {
        display(&value).map(Value::from)
    }
}

fn operate(op: &Op, args: Vec<Value>) -> Result<Value, Fault> {
    match (op, args.as_slice()) {
        (Op::Negate, [value]) => ops::negate(value),
        (Op::Binary(op), [left, right]) => ops::binary(*op, left, right),
        (Op::Iterate, [value]) => ops::iterate(value),
        (Op::Map, _) => ops::map(&args),
        _ => Ok(Value::from(args)),
    }
}

/// A left side of `??` that is there, even if it is false or 0.
#[derive(Debug)]
struct Present(Value);

impl Object for Present {
    fn repr(self: &Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Plain
    }
}

impl Shared {
    /// Records a secret.
    pub(super) fn remember(&self, secret: &str) {
        if !secret.is_empty() {
            self.secrets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(secret.to_owned());
        }
    }

    /// Whether a value computed from a secret was written into a text.
    pub(super) fn emitted_secret(&self) -> bool {
        self.emitted.load(Ordering::Relaxed)
    }

    /// All secrets and what was derived from them.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    pub(super) fn any_tainted(&self, values: &[Value]) -> bool {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        !secrets.is_empty() && values.iter().any(|value| is_tainted(&secrets, value))
    }

    /// Marks a value, and everything in it, as derived from a secret.
    pub(super) fn taint(&self, value: Value) -> Value {
        match value.kind() {
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default().to_owned();
                self.remember(&text);
                Value::from_safe_string(text)
            }
            ValueKind::Number => {
                self.remember(&value.to_string());
                value
            }
            ValueKind::Seq | ValueKind::Iterable => items(&value)
                .unwrap_or_default()
                .into_iter()
                .map(|item| self.taint(item))
                .collect(),
            ValueKind::Map => Value::from_pairs(
                entries(&value)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, item)| (self.taint(key), self.taint(item))),
            ),
            _ => match value.downcast_object_ref::<Present>() {
                Some(present) => Value::from_object(Present(self.taint(present.0.clone()))),
                None => value,
            },
        }
    }
}

/// Shortest secret that is looked for inside other texts; a shorter one would be found by chance.
const CONTAINED_BYTES_MIN: usize = 4;

fn is_tainted(secrets: &BTreeSet<String>, value: &Value) -> bool {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            value.is_safe()
                || secrets.contains(text)
                || secrets.iter().any(|secret| {
                    secret.len() >= CONTAINED_BYTES_MIN && text.contains(secret.as_str())
                })
        }
        ValueKind::Number => secrets.contains(&value.to_string()),
        ValueKind::Seq | ValueKind::Iterable => items(value)
            .unwrap_or_default()
            .iter()
            .any(|item| is_tainted(secrets, item)),
        ValueKind::Map => entries(value)
            .unwrap_or_default()
            .iter()
            .any(|(key, item)| is_tainted(secrets, key) || is_tainted(secrets, item)),
        _ => value
            .downcast_object_ref::<Present>()
            .is_some_and(|present| is_tainted(secrets, &present.0)),
    }
}

/// The one function a rewritten template calls: `_(site, arguments…)`.
pub(super) fn dispatch(state: &mut State, site: usize, args: Rest<Value>) -> Result<Value, Error> {
    let runtime = state.lookup(NAME).unwrap_or_default();
    let missing = || Error::new(ErrorKind::InvalidOperation, "the template has no runtime");
    let runtime = runtime
        .downcast_object_ref::<Runtime>()
        .ok_or_else(missing)?;
    let site = runtime.sites.get(site).ok_or_else(missing)?;
    let stop = |error: ExprError| {
        let message = error.to_string();
        *runtime.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Error::new(ErrorKind::InvalidOperation, message)
    };
    // minijinja charges for what a call gives, not for what it reads.
    let taken: usize = if site.op.computes() {
        args.0.iter().map(weight).sum()
    } else {
        0
    };
    let value = runtime.perform(site, args.0).map_err(stop)?;
    if weight(&value) > MAX_OUTPUT_BYTES {
        return Err(stop(ExprError::Limit {
            message: format!(
                "the value is larger than {MAX_OUTPUT_BYTES} bytes; pass it as a file instead"
            ),
            span: Some(site.span.clone()),
        }));
    }
    state.consume_fuel(u64::try_from(taken / BYTES_PER_FUEL).unwrap_or(u64::MAX))?;
    Ok(value)
}
