//! `sql`: one statement for a `PostgreSQL`, its rows as outputs or as a file.
//!
//! Rows are taken as JSON, whatever the types of their columns are. Invariant: values reach the statement as parameters,
//! never as text of it. Invariant: outputs have at most [`FETCH_BYTES_MAX`] bytes, a file [`STORE_BYTES_MAX`], and a
//! statement ends after [`TIME_MAX`] even when nobody waits for it any more.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use operon_core::exec::Reason;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::props::{Props, scalar_text};
use super::storage::{Scratch, keep};
use super::{TaskCall, TaskError, TaskOutput, counter, outputs};
use crate::ports::LogLevel;
use crate::postgres::{AsText, HostError, address, causes, connect, guarded};

/// Bytes of a statement.
const SQL_BYTES_MAX: usize = 256 * 1024;
/// Parameters of one.
const PARAMETERS_MAX: usize = 100;
/// Bytes of rows that become outputs: more than anybody wants to see in one place.
pub const FETCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of rows that become a file: ten of them fit twice on the disk of a function of the cloud.
pub const STORE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Longest statement; a function of the cloud has five minutes.
pub(super) const TIME_MAX: Duration = Duration::from_mins(15);

/// What becomes of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetch {
    All,
    One,
    Store,
    Nothing,
}

fn fetch_of(props: &Props<'_>) -> Result<Fetch, TaskError> {
    let words = ["FETCH", "FETCH_ONE", "STORE", "NONE"];
    Ok(match props.word("fetchType", &words)? {
        Some("FETCH") => Fetch::All,
        Some("FETCH_ONE") => Fetch::One,
        Some("STORE") => Fetch::Store,
        _ => Fetch::Nothing,
    })
}

/// `:name` becomes `$1`, outside of quotes, comments and casts; the names in the order of their numbers.
fn numbered(sql: &str) -> (String, Vec<String>) {
    let mut out = String::with_capacity(sql.len());
    let mut names: Vec<String> = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let whole = |end: Option<usize>, length: usize| end.map_or(rest.len(), |at| at + length);
        let skipped = match first {
            '\'' | '"' => {
                let inside = rest.get(1..).unwrap_or_default();
                whole(inside.find(first), 2)
            }
            '-' if rest.starts_with("--") => whole(rest.find('\n'), 1),
            '/' if rest.starts_with("/*") => whole(rest.find("*/"), 2),
            ':' if rest.starts_with("::") => 2,
            ':' => 0,
            '$' => dollars(rest),
            other => other.len_utf8(),
        };
        if skipped > 0 {
            let (passed, next) = rest.split_at(skipped.min(rest.len()));
            out.push_str(passed);
            rest = next;
            continue;
        }
        let after = rest.get(1..).unwrap_or_default();
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            out.push(':'); // A slice of an array.
            rest = after;
            continue;
        }
        let known = names.iter().position(|known| known == name);
        let number = known.unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        // Writing to a String cannot fail.
        let _ = write!(out, "${}", number + 1);
        rest = next;
    }
    (out, names)
}

/// Bytes of a text in dollar quotes, `$tag$ … $tag$`; 1 when it is none.
fn dollars(text: &str) -> usize {
    let inner = text.get(1..).unwrap_or_default();
    let Some(end) = inner.find('$') else { return 1 };
    let tag = inner.get(..end).unwrap_or_default();
    if !tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return 1;
    }
    let quote = format!("${tag}$");
    let body = text.get(quote.len()..).unwrap_or_default();
    body.find(&quote)
        .map_or(text.len(), |at| quote.len() + at + quote.len())
}

fn as_text(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| scalar_text(value).unwrap_or_else(|| value.to_string()))
}

/// The values of the statement's parameters.
fn values(props: &Props<'_>, names: &[String]) -> Result<Vec<AsText>, TaskError> {
    let given = props.map("parameters")?;
    if names.len() > PARAMETERS_MAX {
        return Err(props.wrong("sql", &format!("has more than {PARAMETERS_MAX} parameters")));
    }
    let value = |name: &String| {
        let value = given.get(name).ok_or_else(|| {
            props.wrong(
                "parameters",
                &format!("has no `{name}`, which the statement mentions as `:{name}`"),
            )
        })?;
        Ok(AsText(as_text(value)))
    };
    names.iter().map(value).collect()
}

fn broken(what: &str, error: &tokio_postgres::Error) -> TaskError {
    TaskError::failed(format!("{what}: {}", causes(error)))
}

/// Executes a statement.
pub(super) async fn query(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let sql = props.required_text("sql")?;
    if sql.len() > SQL_BYTES_MAX {
        return Err(props.wrong("sql", &format!("has more than {SQL_BYTES_MAX} bytes")));
    }
    let fetch = fetch_of(&props)?;
    let mut config = address(&props.required_text("url")?).map_err(TaskError::invalid)?;
    if let Some(user) = props.text("username")? {
        config.user(&user);
    }
    if let Some(password) = props.text("password")? {
        config.password(&password);
    }
    guarded(&mut config).await.map_err(|error| {
        let reason = match error {
            HostError::NotFound { .. } => Reason::TaskFailed,
            HostError::Missing | HostError::Refused(_) => Reason::InvalidInput,
        };
        TaskError::new(reason, error.to_string())
    })?;
    let authorities = match props.text("sslRootCert")? {
        None => Vec::new(),
        Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|found| !found.is_empty())
            .ok_or_else(|| props.wrong("sslRootCert", "holds no certificate in PEM form"))?,
    };
    let (sql, names) = numbered(sql.trim().trim_end_matches(';'));
    let values = values(&props, &names)?;
    let ssl = props.flag("ssl", true)?;
    let (client, driving, _) = connect(&config, ssl, &authorities)
        .await
        .map_err(TaskError::failed)?;
    // Also when nobody waits for this task any more.
    let _driven = Driven(tokio::spawn(driving));
    let limit = format!("set statement_timeout = {}", TIME_MAX.as_millis());
    let limited = client.batch_execute(&limit).await;
    limited.map_err(|error| broken("the database refuses a time limit", &error))?;
    execute(call, &client, &sql, &values, fetch).await
}

/// A connection that ends when it is not needed.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn execute(
    call: &TaskCall<'_>,
    client: &Client,
    sql: &str,
    values: &[AsText],
    fetch: Fetch,
) -> Result<TaskOutput, TaskError> {
    let failed = |error: tokio_postgres::Error| broken("the statement failed", &error);
    let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let statement = client.prepare(sql).await.map_err(failed)?;
    if statement.columns().is_empty() || fetch == Fetch::Nothing {
        let count = client.execute(&statement, &parameters).await;
        let count = count.map_err(failed)?;
        call.log(LogLevel::Info, &format!("{count} rows"));
        return Ok(outputs([("size", json!(count))]));
    }
    // As JSON, whatever the types are; what changes rows and gives them back can stand there too.
    let wrapped = format!(
        "with operon_row as (\n{sql}\n) select row_to_json(operon_row)::text from operon_row"
    );
    let statement = client.prepare(&wrapped).await.map_err(|error| {
        broken(
            "the statement gives rows that cannot be read; write it as one `select`, or with `fetchType: NONE`",
            &error,
        )
    })?;
    match fetch {
        Fetch::Store => store(call, client, &statement, values).await,
        Fetch::All | Fetch::One | Fetch::Nothing => {
            let rows = rows(client, &statement, values, fetch).await?;
            let count = rows.len();
            call.log(LogLevel::Info, &format!("{count} rows"));
            let mut out = if fetch == Fetch::One {
                let row = rows.into_iter().next().unwrap_or(Value::Null);
                outputs([("row", row), ("size", json!(count))])
            } else {
                outputs([("rows", json!(rows)), ("size", json!(count))])
            };
            out.metrics.push(counter("rows", count));
            Ok(out)
        }
    }
}

fn read(text: &str) -> Result<Value, TaskError> {
    serde_json::from_str(text)
        .map_err(|error| TaskError::failed(format!("a row is no JSON: {error}")))
}

async fn rows(
    client: &Client,
    statement: &Statement,
    values: &[AsText],
    fetch: Fetch,
) -> Result<Vec<Value>, TaskError> {
    let failed = |error: tokio_postgres::Error| broken("the statement failed", &error);
    let stream = client.query_raw(statement, values).await.map_err(failed)?;
    let mut stream = std::pin::pin!(stream);
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = stream.next().await {
        let text: String = row.map_err(failed)?.try_get(0).map_err(failed)?;
        bytes += text.len();
        if bytes > FETCH_BYTES_MAX {
            return Err(TaskError::new(
                Reason::Output,
                format!(
                    "the rows have more than {FETCH_BYTES_MAX} bytes; write them to a file with `fetchType: STORE`"
                ),
            ));
        }
        found.push(read(&text)?);
        if fetch == Fetch::One {
            break;
        }
    }
    Ok(found)
}

/// Rows as JSON, one per line.
async fn store(
    call: &TaskCall<'_>,
    client: &Client,
    statement: &Statement,
    values: &[AsText],
) -> Result<TaskOutput, TaskError> {
    let failed = |error: tokio_postgres::Error| broken("the statement failed", &error);
    let disk = |error: std::io::Error| TaskError::failed(format!("writing the rows: {error}"));
    let scratch = Scratch::new()?;
    let path = scratch.path().join("rows.jsonl");
    let file = tokio::fs::File::create(&path).await.map_err(disk)?;
    let mut file = tokio::io::BufWriter::new(file);
    let stream = client.query_raw(statement, values).await.map_err(failed)?;
    let mut stream = std::pin::pin!(stream);
    let (mut count, mut bytes) = (0_usize, 0_u64);
    while let Some(row) = stream.next().await {
        let mut text: String = row.map_err(failed)?.try_get(0).map_err(failed)?;
        text.push('\n');
        bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        if bytes > STORE_BYTES_MAX {
            return Err(TaskError::new(
                Reason::Output,
                format!(
                    "the rows have more than {STORE_BYTES_MAX} bytes; take fewer at a time, or a container with psql"
                ),
            ));
        }
        file.write_all(text.as_bytes()).await.map_err(disk)?;
        count += 1;
    }
    file.flush().await.map_err(disk)?;
    drop(file);
    let uri = keep(call, &path, "rows.jsonl").await?;
    call.log(LogLevel::Info, &format!("{count} rows, {bytes} bytes"));
    let mut out = outputs([("uri", json!(uri)), ("size", json!(count))]);
    out.metrics.push(counter("rows", count));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_outside_of_quotes_and_casts_are_parameters() {
        let (sql, names) = numbered(
            "select :a::int, ':no', \"x:y\", b[1:2] -- :c\n/* :d */ where e = :e_1 and f = :a and g = $q$ :h $q$",
        );
        assert_eq!(
            sql,
            "select $1::int, ':no', \"x:y\", b[1:2] -- :c\n/* :d */ where e = $2 and f = $1 and g = $q$ :h $q$"
        );
        assert_eq!(names, ["a", "e_1"]);
        for text in ["'open", "$$ open :x", "/* open :x", "a :", "é :é", "$1"] {
            let (same, names) = numbered(text);
            assert_eq!((same.as_str(), names.len()), (text, 0), "{text}");
        }
    }
}
