//! `operon redrive`: dead letters of a server, listed and put back.

use std::rc::Rc;

use serde_json::{Value, json};

use super::remote::{pages, show};
use crate::args::{RedriveArgs, ValidateOutput};
use crate::client::{Client, part};
use crate::exit::Exit;
use crate::output::Console;
use crate::state::block_on;

const FIELDS: &[&str] = &["id", "queue", "atMs", "putBackMs", "execution", "reason"];

pub(crate) fn redrive(args: &RedriveArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let server = &args.server;
    let client = Client::choose(server.context.as_deref(), &server.state.dir)?;
    block_on(async {
        let mut ids = args.ids.clone();
        if ids.is_empty() {
            let letters = pages(&client, "/dead-letters", &[]).await?;
            if !args.all {
                show(console, server, &letters, FIELDS);
                return Ok(Exit::Success);
            }
            let found = letters.get("items").and_then(Value::as_array);
            // What was put back and did not come again has gone well, or is still on its way.
            let named = found.into_iter().flatten();
            let named = named.filter(|letter| letter.get("putBackMs").is_none());
            ids.extend(named.filter_map(|letter| letter.get("id")?.as_str().map(str::to_owned)));
        }
        // One that fails again does not keep the others back.
        let mut failed = Vec::new();
        for id in &ids {
            let path = format!("/dead-letters/{}/redrive", part(id));
            let sent: anyhow::Result<Value> = client.post(&path, &json!({})).await;
            if let Err(error) = sent {
                failed.push(json!({"id": id, "reason": error.to_string()}));
            }
        }
        let done = ids.len() - failed.len();
        match server.output {
            ValidateOutput::Json => {
                console.line(&json!({"redriven": done, "failed": failed}).to_string());
            }
            ValidateOutput::Human => {
                console.line(&format!("{done} of {} put back", ids.len()));
                for one in &failed {
                    let text = |field: &str| one.get(field).and_then(Value::as_str).unwrap_or("");
                    console.warning(&format!("{}: {}", text("id"), text("reason")));
                }
            }
        }
        Ok(if failed.is_empty() {
            Exit::Success
        } else {
            Exit::Failure
        })
    })
}
