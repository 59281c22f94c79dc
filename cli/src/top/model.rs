//! What `operon top` knows: the lists, one execution, what is typed, and how the connection is.
//!
//! Plain data, changed by `update` only and drawn by `view`. Invariant: everything that is kept has a limit.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use operon_api::dto::{ExecutionSummary, FlowSummary, LockView};
use operon_api::hooks::TriggerSummary;

use super::actions::Action;
use super::execution::ExecutionPage;
use super::form::Form;
use super::message::{Me, Preview};

/// Executions that are asked for at first, and at most.
pub(super) const EXECUTIONS_FIRST: usize = 100;
pub(super) const EXECUTIONS_MAX: usize = 1000;
/// How long a remark is shown.
const NOTICE_MS: u64 = 6_000;
/// How long it is said that the connection is back.
pub(super) const BACK_MS: u64 = 5_000;

/// Rows with one of them chosen.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    /// In their order.
    pub(super) rows: Vec<T>,
    /// Number of the chosen one.
    pub(super) at: usize,
    /// They have come at least once.
    pub(super) loaded: bool,
    /// There are more than these.
    pub(super) more: bool,
    /// Only rows with this text are shown.
    pub(super) needle: String,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            at: 0,
            loaded: false,
            more: false,
            needle: String::new(),
        }
    }
}

impl<T> List<T> {
    /// Other rows; the chosen one stays chosen if it is among them.
    pub(super) fn replace<K: PartialEq>(&mut self, rows: Vec<T>, key: impl Fn(&T) -> K) {
        let chosen = self.rows.get(self.at).map(&key);
        self.rows = rows;
        let there = chosen.and_then(|chosen| self.rows.iter().position(|row| key(row) == chosen));
        self.at = there
            .unwrap_or(self.at)
            .min(self.rows.len().saturating_sub(1));
        self.loaded = true;
    }

    /// Chooses another row.
    pub(super) fn step(&mut self, by: isize) {
        self.at = self
            .at
            .saturating_add_signed(by)
            .min(self.rows.len().saturating_sub(1));
    }

    /// The chosen row.
    pub(super) fn current(&self) -> Option<&T> {
        self.rows.get(self.at)
    }
}

/// A row of the slots: a lock, who holds one of its slots, or who waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotRow {
    /// The lock, how many slots of it are taken, how many wait.
    Lock {
        name: String,
        limit: Option<u32>,
        taken: usize,
        waiting: usize,
    },
    /// An execution that holds a slot; until when it is quarantined.
    Owner {
        lock: String,
        execution: String,
        until_ms: Option<u64>,
    },
    /// An execution that waits, and its place in the queue.
    Waiting {
        lock: String,
        execution: String,
        place: usize,
    },
}

impl SlotRow {
    /// Rows of locks.
    pub(super) fn all(locks: &[LockView]) -> Vec<Self> {
        let mut rows = Vec::new();
        for lock in locks {
            rows.push(Self::Lock {
                name: lock.name.clone(),
                limit: lock.limit,
                taken: lock.owners.len(),
                waiting: lock.queue.len(),
            });
            rows.extend(lock.owners.iter().map(|owner| Self::Owner {
                lock: lock.name.clone(),
                execution: owner.execution.clone(),
                until_ms: owner.quarantined_until_ms,
            }));
            rows.extend(
                lock.queue
                    .iter()
                    .enumerate()
                    .map(|(index, id)| Self::Waiting {
                        lock: lock.name.clone(),
                        execution: id.clone(),
                        place: index + 1,
                    }),
            );
        }
        rows
    }

    /// The execution it is about.
    pub(super) fn execution(&self) -> Option<&str> {
        match self {
            Self::Lock { .. } => None,
            Self::Owner { execution, .. } | Self::Waiting { execution, .. } => Some(execution),
        }
    }

    /// The lock it belongs to.
    pub(super) fn lock(&self) -> &str {
        match self {
            Self::Lock { name, .. } => name,
            Self::Owner { lock, .. } | Self::Waiting { lock, .. } => lock,
        }
    }
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageName {
    /// The list of executions.
    Executions,
    /// One of them.
    Execution,
    /// Flows.
    Flows,
    /// Triggers.
    Triggers,
    /// Locks, who holds their slots, who waits.
    Slots,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing has come yet.
    Connecting,
    /// It works.
    Up,
    /// It does not, and is tried again.
    Lost {
        since_ms: u64,
        why: String,
        tries: u32,
    },
    /// It works again.
    Back { at_ms: u64, after_ms: u64 },
}

/// What stands in front of the page.
#[derive(Debug, Clone)]
pub(super) enum Dialog {
    /// What keys do.
    Help,
    /// A question before something is done.
    Confirm {
        action: Action,
        preview: Option<Preview>,
        sent: bool,
    },
    /// Values that are asked for.
    Form(Form),
    /// The filter that is typed, and what it was.
    Filter { text: String, before: String },
}

/// A remark.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    /// What is said.
    pub(super) text: String,
    /// Something did not work.
    pub(super) bad: bool,
    /// Until then.
    pub(super) until_ms: u64,
}

/// When the page's data is asked for again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Poll {
    /// Not before.
    pub(super) at_ms: u64,
    /// It was asked for, and has not come.
    pub(super) asking: bool,
}

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct Model {
    /// The server, as one knows it.
    pub(super) server: String,
    /// Who we are, when the server has said it.
    pub(super) who: Option<Me>,
    /// The time.
    pub(super) now_ms: u64,
    /// For times of day.
    pub(super) zone: TimeZone,
    /// How the connection is.
    pub(super) link: Link,
    /// What is shown.
    pub(super) page: PageName,
    /// Where Escape leads from an execution.
    pub(super) from: PageName,
    /// Executions; its needle is a filter of the server.
    pub(super) executions: List<ExecutionSummary>,
    /// Executions that are asked for.
    pub(super) limit: usize,
    /// Ids of those that were marked.
    pub(super) marked: BTreeSet<String>,
    /// The execution that is shown.
    pub(super) execution: Option<ExecutionPage>,
    /// Flows.
    pub(super) flows: List<FlowSummary>,
    /// Triggers.
    pub(super) triggers: List<TriggerSummary>,
    /// Slots.
    pub(super) slots: List<SlotRow>,
    /// What stands in front.
    pub(super) dialog: Option<Dialog>,
    /// A remark.
    pub(super) notice: Option<Notice>,
    /// When the page's data is asked for again.
    pub(super) poll: Poll,
    /// Numbers of streams and of logs that were asked for.
    tickets: u64,
}

impl Model {
    /// Nothing known yet.
    pub(super) fn new(server: String, now_ms: u64, zone: TimeZone) -> Self {
        Self {
            server,
            who: None,
            now_ms,
            zone,
            link: Link::Connecting,
            page: PageName::Executions,
            from: PageName::Executions,
            executions: List::default(),
            limit: EXECUTIONS_FIRST,
            marked: BTreeSet::new(),
            execution: None,
            flows: List::default(),
            triggers: List::default(),
            slots: List::default(),
            dialog: None,
            notice: None,
            poll: Poll::default(),
            tickets: 0,
        }
    }

    /// A number that no stream has had.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Says something.
    pub(super) fn say(&mut self, text: impl Into<String>, bad: bool) {
        let until_ms = self.now_ms + if bad { 2 * NOTICE_MS } else { NOTICE_MS };
        self.notice = Some(Notice {
            text: text.into(),
            bad,
            until_ms,
        });
    }

    /// Whether the server would let this caller change anything.
    pub(super) fn may_act(&self) -> bool {
        self.who.as_ref().is_none_or(|who| who.role != "viewer")
    }

    /// The text by which the page is filtered.
    pub(super) fn needle(&self) -> &str {
        match self.page {
            PageName::Executions => &self.executions.needle,
            PageName::Execution => self.execution.as_ref().map_or("", |page| &page.needle),
            PageName::Flows => &self.flows.needle,
            PageName::Triggers => &self.triggers.needle,
            PageName::Slots => &self.slots.needle,
        }
    }

    /// Rows of flows, triggers and slots that the page's filter lets through, by their numbers.
    pub(super) fn shown(&self) -> Vec<usize> {
        fn matching<T>(list: &List<T>, text: impl Fn(&T) -> String) -> Vec<usize> {
            let needle = list.needle.to_lowercase();
            let rows = list.rows.iter().enumerate();
            rows.filter(|(_, row)| needle.is_empty() || text(row).to_lowercase().contains(&needle))
                .map(|(index, _)| index)
                .collect()
        }
        match self.page {
            PageName::Executions => (0..self.executions.rows.len()).collect(),
            PageName::Execution => Vec::new(),
            PageName::Flows => matching(&self.flows, |row| format!("{}/{}", row.namespace, row.id)),
            PageName::Triggers => matching(&self.triggers, |row| {
                format!("{}/{}/{} {}", row.namespace, row.flow, row.id, row.kind)
            }),
            PageName::Slots => matching(&self.slots, |row| {
                format!("{} {}", row.lock(), row.execution().unwrap_or_default())
            }),
        }
    }
}
