//! The one thread that writes, with group commit.
//!
//! Work that waits is put into one transaction, so one `fsync` serves all of it, and each piece is answered
//! after the commit. Invariant: nobody is told of a success that is not durable, and a piece that fails
//! leaves nothing behind and does not fail the others.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use operon_engine::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::codec::failed;
use super::schema::{self, Role};

/// Pieces of work that may wait; more makes callers wait instead of memory grow.
const QUEUE: usize = 4_096;
/// Pieces in one transaction at most, which bounds the time until the first is answered.
const GROUP: usize = 512;

/// A piece of work with somebody who waits for it.
trait Piece: Send {
    /// Does it inside a transaction; may be called again after a rollback.
    fn run(&mut self, connection: &Connection) -> Result<(), ()>;
    /// Whether it need not be on the disk before the caller is told: then it outlives the process, which the
    /// system's page cache sees to, but perhaps not a loss of power.
    fn is_brief(&self) -> bool;
    /// Tells the waiting caller; `commit` overrides a success that did not become durable.
    fn answer(self: Box<Self>, commit: Result<(), StoreError>);
}

struct Waiting<F, T> {
    work: F,
    brief: bool,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Piece for Waiting<F, T>
where
    F: FnMut(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), ()> {
        let result = (self.work)(connection);
        let done = result.as_ref().map(drop).map_err(drop);
        self.result = Some(result);
        done
    }

    fn is_brief(&self) -> bool {
        self.brief
    }

    fn answer(self: Box<Self>, commit: Result<(), StoreError>) {
        let result = match (commit, self.result) {
            (Ok(()), Some(result)) | (Err(_), Some(result @ Err(_))) => result,
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(stopped()),
        };
        // Nobody may be waiting any more: the work is done all the same.
        if let Err(Err(error)) = self.reply.send(result) {
            warn!(%error, "a write nobody waits for failed");
        }
    }
}

/// Work that nobody waits for: it goes along with the next transaction, and needs none of its own.
type Lazy = Arc<Mutex<Vec<Box<dyn Piece>>>>;

/// Handle of the thread; dropping it finishes the waiting work and closes the database.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Piece>>>,
    lazy: Lazy,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for dyn Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Piece")
    }
}

impl Writer {
    /// Opens the database, creating it where there is none, and starts the thread.
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let connection = schema::open(path, Role::Writer)?;
        let (queue, work) = mpsc::channel(QUEUE);
        let lazy = Lazy::default();
        let of_thread = Arc::clone(&lazy);
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || serve(&connection, work, &of_thread))
            .map_err(|error| StoreError::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            queue: Some(queue),
            lazy,
            thread: Some(thread),
        })
    }

    /// Does `work` in a transaction and returns its result once that is durable.
    ///
    /// `work` may be called more than once; every call but the last was rolled back.
    pub(super) async fn run<F, T>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.enqueue(work, false).await
    }

    /// [`Self::run`] without waiting for the disk: the work outlives the process but perhaps not a loss of
    /// power. Whatever is durable later makes it durable too.
    pub(super) async fn run_briefly<F, T>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.enqueue(work, true).await
    }

    /// Does `work` with the next transaction, before anything that is asked for later, without waiting for
    /// it: it may be lost with the process. A failure is only logged.
    pub(super) fn submit<F>(&self, work: F)
    where
        F: FnMut(&Connection) -> Result<(), StoreError> + Send + 'static,
    {
        let (reply, _) = oneshot::channel();
        let piece = Box::new(Waiting {
            work,
            brief: true,
            result: None,
            reply,
        });
        self.lazy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(piece);
    }

    async fn enqueue<F, T>(&self, work: F, brief: bool) -> Result<T, StoreError>
    where
        F: FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let piece = Box::new(Waiting {
            work,
            brief,
            result: None,
            reply,
        });
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(piece).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Failed("its writer thread has stopped".to_owned())
}

fn serve(connection: &Connection, mut work: mpsc::Receiver<Box<dyn Piece>>, lazy: &Lazy) {
    let mut waiting = Vec::with_capacity(GROUP);
    loop {
        let more = work.blocking_recv_many(&mut waiting, GROUP) > 0;
        let mut group = std::mem::take(&mut *lazy.lock().unwrap_or_else(PoisonError::into_inner));
        group.append(&mut waiting);
        if group.is_empty() && !more {
            return;
        }
        match commit(connection, &mut group) {
            Ok(()) => answer(&mut group, || Ok(())),
            Err(None) => {
                // One of them failed: find out which, each in a transaction of its own.
                for mut piece in group.drain(..) {
                    let end = commit(connection, std::slice::from_mut(&mut piece));
                    piece.answer(end.or_else(|error| error.map_or(Ok(()), Err)));
                }
            }
            Err(Some(error)) => answer(&mut group, || Err(same(&error))),
        }
    }
}

fn answer(group: &mut Vec<Box<dyn Piece>>, commit: impl Fn() -> Result<(), StoreError>) {
    for piece in group.drain(..) {
        piece.answer(commit());
    }
}

/// One transaction over the group. `Err(None)` says that a piece failed and everything is rolled back.
fn commit(connection: &Connection, group: &mut [Box<dyn Piece>]) -> Result<(), Option<StoreError>> {
    let execute = |sql: &str| {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(failed)
    };
    // In WAL mode the log is synced at the end of a transaction under FULL and not under NORMAL; either way
    // it is written in order, so a durable transaction makes those before it durable.
    let brief = group.iter().all(|piece| piece.is_brief());
    execute(if brief {
        "PRAGMA synchronous = NORMAL"
    } else {
        "PRAGMA synchronous = FULL"
    })
    .map_err(Some)?;
    // Immediate: waiting for a writer of another process happens here and nowhere else.
    execute("BEGIN IMMEDIATE").map_err(Some)?;
    let end = if group.iter_mut().all(|piece| piece.run(connection).is_ok()) {
        execute("COMMIT").map_err(Some)
    } else {
        Err(None)
    };
    if end.is_err() && !connection.is_autocommit() {
        execute("ROLLBACK").map_err(Some)?;
    }
    end
}

/// Errors are not `Clone`; every piece of a group gets the same one.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Busy(text) => StoreError::Busy(text.clone()),
        StoreError::Corrupt(text) => StoreError::Corrupt(text.clone()),
        StoreError::Failed(text) => StoreError::Failed(text.clone()),
    }
}
