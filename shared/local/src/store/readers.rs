//! Threads that read, each with a connection of its own.
//!
//! A read sees everything that was committed before it began, because each starts a new snapshot of the
//! write-ahead log. A long list occupies one thread and leaves the other to the planner.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use operon_engine::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema::{self, Role};

/// Connections that read.
const READERS: usize = 2;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Handle of the threads; dropping it ends them.
#[derive(Debug)]
pub(super) struct Readers {
    queue: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Opens the connections. The database must exist.
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let (queue, reads) = channel();
        let reads = Arc::new(Mutex::new(reads));
        let mut readers = Self {
            queue: Some(queue),
            threads: Vec::with_capacity(READERS),
        };
        for number in 0..READERS {
            let connection = schema::open(path, Role::Reader)?;
            let reads = Arc::clone(&reads);
            let thread = std::thread::Builder::new()
                .name(format!("state-reader-{number}"))
                .spawn(move || serve(&connection, &reads))
                .map_err(|error| StoreError::Failed(format!("cannot start a thread: {error}")))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Runs `read` on one of the connections. The queue is as long as callers wait: it needs no bound.
    pub(super) async fn run<F, T>(&self, read: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |connection: &Connection| {
            // A caller that has gone away needs no answer.
            let _ = reply.send(read(connection));
        });
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(read).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Failed("its reader threads have stopped".to_owned())
}

fn serve(connection: &Connection, reads: &Mutex<Receiver<Read>>) {
    loop {
        // The lock is held while waiting: the other threads queue behind it, and are woken in turn.
        let next = reads.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(read) => read(connection),
            Err(_) => return,
        }
    }
}
