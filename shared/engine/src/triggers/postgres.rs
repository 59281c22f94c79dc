//! The `postgres` trigger: a query whose rows are events.
//!
//! **Each row once, none left out.** Rows that are read again start nothing, so the only danger is a row that is never
//! read. Numbers of a sequence are given when a row is inserted but seen when its transaction ends: a cursor that has
//! passed 2 would never see 1. So the cursor that the query gets follows only what was read in a look whose
//! transactions have all ended since; what lies between is read again.

use std::time::Duration;

use operon_core::expr::Masker;
use operon_core::triggers::config::Postgres;
use operon_core::triggers::parse::row;
use operon_core::triggers::{Config, Kind, Source, TriggerEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::{DeployedFlow, TriggerKey, Triggers};
use crate::ports::StoreError;
use crate::postgres::{AsText, address, causes, connect, guarded};

/// Rows taken in one look; the next comes at once when there are as many.
pub(super) const ROWS_MAX: usize = 10_000;
/// Longest look.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Looks that are remembered until their transactions have ended.
const MARKS_MAX: usize = 100;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cursor {
    /// Nothing that is still to come lies before it.
    safe: Option<String>,
    /// Newest value read, and the transaction that was to be the next one then.
    marks: Vec<(String, u64)>,
}

impl Cursor {
    /// Every transaction before `oldest` has ended.
    fn settle(&mut self, oldest: u64) {
        while let Some((value, next)) = self.marks.first() {
            if *next > oldest {
                break;
            }
            self.safe = Some(value.clone());
            self.marks.remove(0);
        }
    }

    fn newest(&self) -> Option<&String> {
        self.marks
            .last()
            .map(|(value, _)| value)
            .or(self.safe.as_ref())
    }

    fn mark(&mut self, value: String, next: u64) {
        if self.newest() == Some(&value) {
            return;
        }
        self.marks.push((value, next));
        if self.marks.len() > MARKS_MAX {
            // The second oldest: the oldest stays to be waited for.
            self.marks.remove(1);
        }
    }
}

/// Rows of one look, as JSON texts.
struct Looked {
    rows: Vec<String>,
    /// The next transaction.
    next: u64,
}

impl Triggers {
    /// Looks once, if the trigger is on.
    pub(super) async fn poll_rows(
        &self,
        flow: &DeployedFlow,
        trigger: &Config,
        postgres: &Postgres,
        deadline_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let Some(state) = self.turn(flow, trigger, deadline_ms).await? else {
            return Ok(());
        };
        let key = flow.key(trigger);
        let mut cursor: Cursor = serde_json::from_value(state.poll).unwrap_or_default();
        let looked = tokio::time::timeout(TIMEOUT, self.rows(flow, postgres, &mut cursor)).await;
        let looked =
            looked.unwrap_or_else(|_| Err("the query took longer than two minutes".to_owned()));
        let looked = match looked {
            Ok(looked) => looked,
            Err(message) => {
                return self
                    .failed_look(&key, postgres.interval_ms, &message, None)
                    .await;
            }
        };
        let (mut found, mut newest) = (false, None);
        for text in &looked.rows {
            let (identity, at, value) = match row(text, postgres.cursor.as_deref()) {
                Ok(read) => read,
                Err(error) => {
                    let message = format!("a row cannot be an event: {error}");
                    return self
                        .failed_look(&key, postgres.interval_ms, &message, None)
                        .await;
                }
            };
            let fields = Map::from_iter([("row".to_owned(), value)]);
            let event = TriggerEvent {
                source: Source::Bus { event: Value::Null },
                identity,
                time_ms: None,
                fields,
            };
            let outcome = self.accept(flow, trigger, event).await?;
            found |= !matches!(outcome, super::Outcome::Known(_));
            newest = at.or(newest);
        }
        if let Some(newest) = newest {
            cursor.mark(newest, looked.next);
        }
        let poll = serde_json::to_value(&cursor).unwrap_or_default();
        let soon = (found && looked.rows.len() >= ROWS_MAX).then(|| self.now());
        self.looked(&key, poll, found, soon).await
    }

    /// Asks the database. The error is a sentence for people without secrets.
    async fn rows(
        &self,
        flow: &DeployedFlow,
        postgres: &Postgres,
        cursor: &mut Cursor,
    ) -> Result<Looked, String> {
        let config = self.postgres_config(flow, postgres).await?;
        let (client, driving, _) = connect(&config.0, postgres.ssl, &[])
            .await
            .map_err(|error| Masker::new(&config.1).mask(&error).into_owned())?;
        let driving = tokio::spawn(driving);
        let looked = query(&client, postgres, cursor).await;
        driving.abort();
        looked.map_err(|error| Masker::new(&config.1).mask(&error).into_owned())
    }

    /// Listens on the trigger's channel and looks at the query whenever it is notified. Returns when the trigger is
    /// not there any more; an error means that the connection is gone. The error has no secrets.
    pub async fn listen(&self, key: &TriggerKey) -> Result<(), String> {
        let store = |error: StoreError| error.to_string();
        let flow = self
            .flows
            .deployed_flow(&key.namespace, &key.flow)
            .await
            .map_err(store)?;
        let Some(flow) = flow else { return Ok(()) };
        let Some(Kind::Postgres(postgres)) =
            flow.trigger(&key.trigger).map(|trigger| &trigger.kind)
        else {
            return Ok(());
        };
        let Some(channel) = &postgres.listen else {
            return Ok(());
        };
        let (config, secrets) = self.postgres_config(&flow, postgres).await?;
        let hide = |error: String| Masker::new(&secrets).mask(&error).into_owned();
        let (client, driving, mut notified) =
            connect(&config, postgres.ssl, &[]).await.map_err(hide)?;
        let mut driving = tokio::spawn(driving);
        let quoted = channel.replace('"', "\"\"");
        client
            .batch_execute(&format!("listen \"{quoted}\""))
            .await
            .map_err(|error| hide(causes(&error)))?;
        // What came before is seen now; from here on, every notification is heard.
        self.look(key).await.map_err(store)?;
        loop {
            tokio::select! {
                ended = &mut driving => {
                    drop(ended);
                    return Err("the connection ended".to_owned());
                }
                woken = notified.recv() => {
                    if woken.is_none() {
                        return Err("the connection ended".to_owned());
                    }
                    // Many at once are one look.
                    while notified.try_recv().is_ok() {}
                    self.look(key).await.map_err(store)?;
                }
            }
        }
    }

    /// How to connect, and the secrets in that.
    async fn postgres_config(
        &self,
        flow: &DeployedFlow,
        postgres: &Postgres,
    ) -> Result<(tokio_postgres::Config, Vec<String>), String> {
        let wanted = json!({
            "url": postgres.url, "username": postgres.username, "password": postgres.password,
        });
        let (values, mut secrets) = self
            .rendered_with_secrets(flow, &wanted, Map::new(), "connection")
            .await?;
        let text = |name: &str| values.get(name).and_then(Value::as_str).map(str::to_owned);
        let url = text("url").unwrap_or_default();
        let mut config = address(&url)?;
        if let Some(user) = text("username") {
            config.user(&user);
        }
        if let Some(password) = text("password") {
            config.password(&password);
            secrets.push(password);
        }
        guarded(&mut config)
            .await
            .map_err(|error| Masker::new(&secrets).mask(&error.to_string()).into_owned())?;
        Ok((config, secrets))
    }
}

async fn query(
    client: &Client,
    postgres: &Postgres,
    cursor: &mut Cursor,
) -> Result<Looked, String> {
    let failed = |error: tokio_postgres::Error| format!("the query failed: {}", causes(&error));
    // One snapshot for the question how far transactions are and for the rows; nothing is changed.
    client
        .batch_execute("begin isolation level repeatable read read only")
        .await
        .map_err(failed)?;
    let snapshot = client
        .query_one(
            "select txid_snapshot_xmin(s), txid_snapshot_xmax(s) from txid_current_snapshot() s",
            &[],
        )
        .await
        .map_err(failed)?;
    let number = |at: usize| u64::try_from(snapshot.get::<_, i64>(at)).unwrap_or_default();
    let (oldest, next) = (number(0), number(1));
    let sql = postgres.sql.trim().trim_end_matches(';');
    // Rows as JSON, whatever their types are; the order of the query stays.
    let wrapped = format!(
        "select row_to_json(operon_row)::text from (\n{sql}\n) operon_row limit {ROWS_MAX}"
    );
    let statement = client.prepare(&wrapped).await.map_err(failed)?;
    let parameters = statement.params().len();
    if parameters > 1 {
        return Err(
            "the query has more than one parameter; `$1` is the cursor's last value".to_owned(),
        );
    }
    let first = cursor.safe.clone().or_else(|| postgres.initial.clone());
    let mut rows = fetch(client, &statement, parameters, first.clone())
        .await
        .map_err(failed)?;
    let newest = cursor.newest().cloned();
    if parameters == 1 && newest.is_some() && newest != first {
        // While a transaction stays open, what lies before it may fill the query's own limit: look behind it too.
        rows.extend(
            fetch(client, &statement, parameters, newest)
                .await
                .map_err(failed)?,
        );
    }
    client.batch_execute("rollback").await.map_err(failed)?;
    // Only now: this look has read, from the old place on, whatever those transactions brought.
    cursor.settle(oldest);
    Ok(Looked { rows, next })
}

async fn fetch(
    client: &Client,
    statement: &tokio_postgres::Statement,
    parameters: usize,
    value: Option<String>,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let value = AsText(value);
    let given: &[&(dyn ToSql + Sync)] = if parameters == 1 { &[&value] } else { &[] };
    let rows = client.query(statement, given).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_follows_only_what_no_open_transaction_can_come_before() {
        let mut cursor = Cursor::default();
        // Read 2 while transaction 100 was the next; 99, which holds number 1, is still open.
        cursor.mark("2".to_owned(), 100);
        cursor.settle(99);
        assert_eq!(
            (cursor.safe.as_deref(), cursor.newest().map(String::as_str)),
            (None, Some("2"))
        );
        cursor.settle(100);
        assert_eq!((cursor.safe.as_deref(), cursor.marks.len()), (Some("2"), 0));
        for number in 0..300 {
            cursor.mark(number.to_string(), 200 + number);
        }
        assert_eq!((cursor.marks.len(), cursor.marks[0].1), (MARKS_MAX, 200));
        assert_eq!(cursor.newest().map(String::as_str), Some("299"));
    }
}
