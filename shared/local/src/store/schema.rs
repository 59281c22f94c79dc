//! Opening the database: settings of a connection, tables, and the schema number.
//!
//! Invariant: a commit that returned survives both `kill -9` and loss of power (`synchronous = FULL` on a
//! write-ahead log; brief claims, see [`super::SqliteStore::claim_briefly`], survive the former), and no connection works on tables whose schema number it does not know.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use operon_engine::ports::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::codec::failed;

/// Number of the tables below, kept in `user_version`. 0 is a database without tables.
pub(super) const SCHEMA: i64 = 3;
/// `Oprn`: tells our databases from others (`application_id`).
const APPLICATION: i64 = 0x4f70_726e;
/// How long a connection waits for a writer of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Switching a new database to a write-ahead log ignores the busy timeout; tried this often, 20 ms apart.
const WAL_TRIES: u32 = 100;
/// Statements kept prepared per connection; more than there are.
const STATEMENTS: usize = 64;

/// Keys of shards are blobs whose byte order is the order of `ShardId` (see `codec::shard_key`).
const TABLES: &str = "
CREATE TABLE plans (
    hash TEXT PRIMARY KEY NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE revisions (
    namespace TEXT NOT NULL,
    flow TEXT NOT NULL,
    hash TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (namespace, flow, hash),
    UNIQUE (namespace, flow, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE executions (
    id TEXT PRIMARY KEY NOT NULL,
    namespace TEXT NOT NULL,
    flow TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    labels TEXT NOT NULL,        -- all of them, for searching
    added_labels TEXT NOT NULL,  -- those added while it ran
    meta TEXT NOT NULL,
    outputs TEXT NOT NULL
) STRICT;
CREATE INDEX executions_created ON executions (created_ms DESC, id DESC);
CREATE INDEX executions_namespace ON executions (namespace, created_ms DESC, id DESC);
CREATE INDEX executions_flow ON executions (namespace, flow, created_ms DESC, id DESC);
CREATE INDEX executions_state ON executions (state, created_ms DESC, id DESC);

CREATE TABLE shards (
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    version INTEGER NOT NULL,
    due_ms INTEGER,
    bytes BLOB NOT NULL,
    UNIQUE (execution, shard)
) STRICT;
CREATE INDEX shards_due ON shards (due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE attempts (
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    task TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    exit_code INTEGER,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    rest TEXT NOT NULL,          -- what is only shown: JSON without defaults
    PRIMARY KEY (execution, shard, slot, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_task ON attempts (execution, task);

CREATE TABLE locks (
    key TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    due_ms INTEGER,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX locks_due ON locks (due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE lock_queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    execution TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (key, execution)
) STRICT;
CREATE INDEX lock_queue_order ON lock_queue (key, priority DESC, created_ms, seq);

CREATE TABLE pairs (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (namespace, key)
) STRICT;

CREATE TABLE task_cache (
    key TEXT PRIMARY KEY NOT NULL,
    outputs TEXT NOT NULL,
    expires_ms INTEGER
) STRICT;

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    event TEXT NOT NULL
) STRICT;

CREATE TABLE claims (
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('launched', 'stopped', 'finished')),
    engine_pid INTEGER,
    boot TEXT,
    pid INTEGER,
    pid_started INTEGER,
    container TEXT,
    PRIMARY KEY (execution, shard, slot, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_live ON claims (execution) WHERE state = 'launched';
";

/// From schema 1 to 2: records beside executions.
const RECORDS: &str = "
CREATE TABLE records (
    kind TEXT NOT NULL,
    partition TEXT NOT NULL,
    sort TEXT NOT NULL,
    version INTEGER NOT NULL,
    value TEXT NOT NULL,
    due_ms INTEGER,
    expires_ms INTEGER,
    PRIMARY KEY (kind, partition, sort)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_due ON records (kind, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX records_expire ON records (expires_ms) WHERE expires_ms IS NOT NULL;
";

/// From schema 2 to 3: what lists of executions are found by. Labels have a table of their own, which the
/// database keeps in step with the executions.
const LISTS: &str = "
ALTER TABLE executions ADD COLUMN given_labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE executions ADD COLUMN parent TEXT
    GENERATED ALWAYS AS (json_extract(meta, '$.parent[0]')) VIRTUAL;
CREATE INDEX executions_parent ON executions (parent, created_ms DESC, id DESC);
CREATE INDEX executions_namespace_state ON executions (namespace, state, created_ms DESC, id DESC);
CREATE INDEX executions_flow_state ON executions (namespace, flow, state, created_ms DESC, id DESC);
CREATE INDEX executions_flow_alone ON executions (flow, created_ms DESC, id DESC);

CREATE TABLE execution_labels (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    execution TEXT NOT NULL,
    PRIMARY KEY (key, value, created_ms DESC, execution DESC)
) STRICT, WITHOUT ROWID;
INSERT INTO execution_labels
    SELECT label.key, label.value, executions.created_ms, executions.id
    FROM executions, json_each(executions.labels) AS label;
CREATE TRIGGER executions_labelled AFTER INSERT ON executions WHEN NEW.labels <> '{}' BEGIN
    INSERT OR IGNORE INTO execution_labels
        SELECT key, value, NEW.created_ms, NEW.id FROM json_each(NEW.labels);
END;
CREATE TRIGGER executions_relabelled AFTER UPDATE OF labels ON executions
    WHEN OLD.labels IS NOT NEW.labels BEGIN
    DELETE FROM execution_labels WHERE created_ms = OLD.created_ms AND execution = OLD.id
        AND (key, value) IN (SELECT key, value FROM json_each(OLD.labels));
    INSERT OR IGNORE INTO execution_labels
        SELECT key, value, NEW.created_ms, NEW.id FROM json_each(NEW.labels);
END;
CREATE TRIGGER executions_unlabelled AFTER DELETE ON executions WHEN OLD.labels <> '{}' BEGIN
    DELETE FROM execution_labels WHERE created_ms = OLD.created_ms AND execution = OLD.id
        AND (key, value) IN (SELECT key, value FROM json_each(OLD.labels));
END;
";

/// What leads from each schema to the next.
const MIGRATIONS: [&str; 3] = [TABLES, RECORDS, LISTS];

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Creates tables and writes.
    Writer,
    /// Only reads; the writer has opened the database before.
    Reader,
}

/// Opens a connection with the settings every one of them has.
pub(super) fn open(path: &Path, role: Role) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let explain = |error: rusqlite::Error| damaged(path, error);
    if role == Role::Writer {
        create_private(path)?;
    }
    let mut connection = Connection::open_with_flags(path, flags).map_err(explain)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(explain)?;
    if role == Role::Writer {
        check_version(&connection, path)?;
        use_wal(&connection, path)?;
    }
    // Negative cache sizes are KiB. The writer needs the upper levels of its B-trees, readers little.
    let cache_size = match role {
        Role::Writer => -16_384,
        Role::Reader => -4_096,
    };
    for (name, value) in [("cache_size", cache_size), ("wal_autocheckpoint", 4_000)] {
        connection
            .pragma_update(None, name, value)
            .map_err(explain)?;
    }
    for (name, value) in [
        ("synchronous", "FULL"),
        ("temp_store", "MEMORY"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
        // The log shrinks to this size after a checkpoint; 64 MiB.
        ("journal_size_limit", "67108864"),
    ] {
        connection
            .pragma_update(None, name, value)
            .map_err(explain)?;
    }
    match role {
        Role::Writer => create(&mut connection, path)?,
        Role::Reader => connection
            .pragma_update(None, "query_only", "ON")
            .map_err(explain)?,
    }
    Ok(connection)
}

/// Creates the file for its owner only; SQLite gives the files beside it the same mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| StoreError::Failed(format!("cannot open {}: {error}", path.display())))
}

/// Brings the tables to the present schema, also in an empty database. Several processes may do so at once.
fn create(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let explain = |error: rusqlite::Error| damaged(path, error);
    if check_version(connection, path)? == SCHEMA {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(explain)?;
    let version = check_version(&transaction, path)?;
    if version != SCHEMA {
        for migration in MIGRATIONS
            .iter()
            .skip(usize::try_from(version).unwrap_or(0))
        {
            transaction.execute_batch(migration).map_err(explain)?;
        }
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(explain)?;
        transaction
            .pragma_update(None, "user_version", SCHEMA)
            .map_err(explain)?;
    }
    transaction.commit().map_err(explain)
}

/// The schema number: [`SCHEMA`], or 0 for an empty database.
fn check_version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| damaged(path, error))
    };
    let (version, application) = (number("user_version")?, number("application_id")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| damaged(path, error))?;
    let shown = path.display();
    if application != APPLICATION && (application != 0 || version != 0 || tables != 0) {
        return Err(StoreError::Corrupt(format!(
            "{shown} is a database of another program; choose another state directory"
        )));
    }
    if version > SCHEMA {
        return Err(StoreError::Corrupt(format!(
            "{shown} has schema {version}, written by a newer release; this one reads up to {SCHEMA}: \
             use the newer release, or another state directory"
        )));
    }
    Ok(version)
}

/// Switches to a write-ahead log, which stays so.
fn use_wal(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    for _ in 0..WAL_TRIES {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(StoreError::Failed(format!(
                    "{} cannot have a write-ahead log (journal mode `{mode}`); \
                     put the state directory on a local file system",
                    path.display()
                )));
            }
            Err(error) if is_busy(&error) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(damaged(path, error)),
        }
    }
    Err(StoreError::Busy(format!(
        "another process keeps {} locked",
        path.display()
    )))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// An error while opening, with the file's name and a remedy where there is one.
fn damaged(path: &Path, error: rusqlite::Error) -> StoreError {
    let shown = path.display();
    match failed(error) {
        StoreError::Corrupt(text) => StoreError::Corrupt(format!(
            "{shown} is damaged or no database ({text}); restore it from a backup, \
             or move it away to begin with empty state"
        )),
        StoreError::Busy(text) => StoreError::Busy(format!("{shown}: {text}")),
        StoreError::Failed(text) => StoreError::Failed(format!("cannot open {shown}: {text}")),
    }
}
