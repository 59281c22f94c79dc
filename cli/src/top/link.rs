//! The connection: carries out what the model wants done, and tells what came of it.
//!
//! Each wish is a task of its own, so that a slow answer holds up nothing. After a connection was lost the server is
//! looked up again: one that was started anew on this machine has another address and token.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use operon_api::dto::{Page, TaskRun};
use operon_core::lang::model::Input;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::actions::Action;
use super::execution::RUNS_MAX;
use super::message::{Answer, Effect, Message, Request, Source, StreamEvent, Trouble};
use crate::client::{Client, Events, Lost, part, with_query};

/// How long an answer may take: longer than any, short enough to be noticed.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Lines of a log that are asked for at once.
const LINES: &str = "500";
/// Rows of lists that are read whole.
const ROWS: &str = "1000";
/// Pauses between two tries to reach a stream.
const RETRY: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
];

/// Knows the server.
#[derive(Clone)]
pub(super) struct Link {
    context: Option<String>,
    state: PathBuf,
    client: Arc<Mutex<Client>>,
    told: UnboundedSender<Message>,
}

/// What is followed now.
pub(super) struct Links {
    link: Link,
    watch: Option<AbortHandle>,
    follow: Option<AbortHandle>,
}

impl Links {
    /// The server of a context, or of this machine.
    pub(super) fn new(
        context: Option<&str>,
        state: PathBuf,
        client: Client,
        told: UnboundedSender<Message>,
    ) -> Self {
        let link = Link {
            context: context.map(str::to_owned),
            state,
            client: Arc::new(Mutex::new(client)),
            told,
        };
        Self {
            link,
            watch: None,
            follow: None,
        }
    }

    /// Carries out a wish; what is about the terminal is not for here.
    pub(super) fn carry(&mut self, effect: Effect) {
        let link = self.link.clone();
        match effect {
            Effect::Ask(request) => drop(tokio::spawn(link.ask(request))),
            Effect::Act(action) => drop(tokio::spawn(link.act(action))),
            Effect::Watch(wanted) => {
                stop(&mut self.watch);
                self.watch = wanted.map(|(ticket, id)| {
                    let path = format!("/executions/{}/events", part(&id));
                    tokio::spawn(link.stream(ticket, path, Vec::new())).abort_handle()
                });
            }
            Effect::Follow(wanted) => {
                stop(&mut self.follow);
                self.follow = wanted.map(|(ticket, source, after)| {
                    let path = format!("/executions/{}/logs/stream", part(&source.execution));
                    let mut query = of_source(&source);
                    query.extend(after.map(|after| ("after", after.to_string())));
                    tokio::spawn(link.stream(ticket, path, query)).abort_handle()
                });
            }
            Effect::Redraw | Effect::Suspend | Effect::Quit => {}
        }
    }
}

fn stop(task: &mut Option<AbortHandle>) {
    if let Some(task) = task.take() {
        task.abort();
    }
}

fn of_source(source: &Source) -> Vec<(&'static str, String)> {
    vec![
        ("taskRun", source.run.clone()),
        ("attempt", source.attempt.to_string()),
    ]
}

impl Link {
    fn client(&self) -> Client {
        self.client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Looks the server up again; whether it is another one now.
    fn choose(&self) -> bool {
        let Ok(client) = Client::choose(self.context.as_deref(), &self.state) else {
            return false;
        };
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let other = !known.same(&client);
        *known = client;
        other
    }

    /// Whether asking again may help. A server that was started anew refuses the token of the one before.
    fn trouble(&self, error: &anyhow::Error) -> Trouble {
        let text = format!("{error:#}");
        if self.choose() || error.is::<Lost>() {
            Trouble::Lost(text)
        } else {
            Trouble::Refused(text)
        }
    }

    fn tell(&self, message: Message) {
        // Nobody listens any more when the program is left.
        let _ = self.told.send(message);
    }

    async fn ask(self, request: Request) {
        let answer = tokio::time::timeout(ANSWER_MAX, self.answer(&request)).await;
        let message = match answer {
            Ok(Ok(answer)) => Message::Answer(answer),
            Ok(Err(error)) => Message::Trouble(request, self.trouble(&error)),
            Err(_) => {
                let url = self.client().url().to_owned();
                Message::Trouble(
                    request,
                    Trouble::Lost(format!("the server at {url} does not answer in time")),
                )
            }
        };
        self.tell(message);
    }

    async fn answer(&self, request: &Request) -> anyhow::Result<Answer> {
        let client = self.client();
        let all = || vec![("limit", ROWS.to_owned())];
        Ok(match request {
            Request::Me => Answer::Me(client.get("/me", &[]).await?),
            Request::Executions(query) => {
                Answer::Executions(query.clone(), client.get("/executions", query).await?)
            }
            Request::Detail(id) => Answer::Detail(Box::new(
                client
                    .get(&format!("/executions/{}", part(id)), &[])
                    .await?,
            )),
            Request::TaskRuns { id, states } => task_runs(&client, id, states).await?,
            Request::Flows => Answer::Flows(client.get("/flows", &all()).await?),
            Request::Triggers => Answer::Triggers(client.get("/triggers", &all()).await?),
            Request::Slots => Answer::Slots(client.get("/locks", &all()).await?),
            Request::Log {
                source,
                before,
                ticket,
            } => {
                let path = format!("/executions/{}/logs", part(&source.execution));
                let mut query = of_source(source);
                query.push(("before", before.to_string()));
                query.push(("limit", LINES.to_owned()));
                let page = client.get(&path, &query).await?;
                Answer::Log {
                    ticket: *ticket,
                    before: *before,
                    page,
                }
            }
            Request::Inputs { namespace, flow } => {
                #[derive(Deserialize)]
                struct Inputs {
                    items: Vec<Input>,
                }
                let path = format!("/flows/{}/{}/inputs", part(namespace), part(flow));
                let found: Inputs = client.get(&path, &[]).await?;
                Answer::Inputs {
                    namespace: namespace.clone(),
                    flow: flow.clone(),
                    inputs: found.items,
                }
            }
            Request::Preview(action) => {
                let (path, mut body) = action.request();
                if let Some(body) = body.as_object_mut() {
                    body.insert("dryRun".to_owned(), json!(true));
                }
                Answer::Preview(action.clone(), client.post(&path, &body).await?)
            }
        })
    }

    async fn act(self, action: Action) {
        let client = self.client();
        let (path, body) = action.request();
        let result: anyhow::Result<Value> = client
            .ask(client.request(Method::POST, &path).json(&body))
            .await;
        let result = result.map_err(|error| self.trouble(&error));
        self.tell(Message::Acted(action, result));
    }

    /// Follows a stream until its end; a connection that breaks off is taken up after the last event.
    async fn stream(self, ticket: u64, path: String, query: Vec<(&'static str, String)>) {
        let mut last: Option<String> = None;
        let mut tries = 0;
        loop {
            let path = with_query(&path, &query);
            let opened = tokio::time::timeout(
                ANSWER_MAX,
                self.client().events(&path, &[], last.as_deref()),
            )
            .await;
            let why = match opened {
                Ok(Ok(events)) => {
                    tries = 0;
                    self.tell(Message::Stream(ticket, StreamEvent::Up));
                    match self.read(ticket, events, &mut last).await {
                        Read::Ended => return,
                        // The server ends streams after a while; the next one begins where this one was left.
                        Read::Closed => continue_after_close(&mut tries).await,
                        Read::Broken(error) => self.broken(ticket, &error).await,
                    }
                    continue;
                }
                Ok(Err(error)) => match self.trouble(&error) {
                    Trouble::Lost(why) => why,
                    Trouble::Refused(_) => return,
                },
                Err(_) => "the server does not answer in time".to_owned(),
            };
            self.tell(Message::Stream(ticket, StreamEvent::Lost(why)));
            let pause = RETRY
                .get(tries)
                .or(RETRY.last())
                .copied()
                .unwrap_or_default();
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn broken(&self, ticket: u64, error: &anyhow::Error) {
        self.tell(Message::Stream(
            ticket,
            StreamEvent::Lost(format!("{error:#}")),
        ));
        tokio::time::sleep(RETRY[0]).await;
        self.choose();
    }

    async fn read(&self, ticket: u64, mut events: Events, last: &mut Option<String>) -> Read {
        loop {
            match events.next().await {
                Ok(None) => return Read::Closed,
                Err(error) => return Read::Broken(error),
                Ok(Some(event)) => {
                    let told = match event.name.as_str() {
                        "execution" => data(event.data)
                            .map(|summary| StreamEvent::Execution(Box::new(summary))),
                        "task-run" => data::<TaskRun>(event.data)
                            .map(|run| StreamEvent::TaskRun(Box::new(run))),
                        "refresh" => Some(StreamEvent::Refresh),
                        "line" => data(event.data).map(StreamEvent::Line),
                        "end" => Some(StreamEvent::End),
                        _ => None,
                    };
                    *last = Some(event.id);
                    let ended = matches!(told, Some(StreamEvent::End));
                    if let Some(told) = told {
                        self.tell(Message::Stream(ticket, told));
                    }
                    if ended {
                        return Read::Ended;
                    }
                }
            }
        }
    }
}

/// How a stream came to its end.
enum Read {
    /// Nothing will follow.
    Ended,
    /// The server closed it, and goes on in another.
    Closed,
    /// The connection broke.
    Broken(anyhow::Error),
}

/// A server that closes at once is not asked without a pause.
async fn continue_after_close(tries: &mut usize) {
    *tries += 1;
    tokio::time::sleep(RETRY[0]).await;
}

fn data<T: DeserializeOwned>(value: Value) -> Option<T> {
    // What a newer server tells and this release does not understand is left out.
    serde_json::from_value(value).ok()
}

async fn task_runs(client: &Client, id: &str, states: &str) -> anyhow::Result<Answer> {
    let path = format!("/executions/{}/task-runs", part(id));
    let mut runs: Vec<TaskRun> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = vec![("limit", ROWS.to_owned())];
        if !states.is_empty() {
            query.push(("state", states.to_owned()));
        }
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page: Page<TaskRun> = client.get(&path, &query).await?;
        runs.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || runs.len() >= RUNS_MAX {
            runs.truncate(RUNS_MAX);
            let (id, states) = (id.to_owned(), states.to_owned());
            return Ok(Answer::TaskRuns {
                id,
                states,
                runs,
                more: cursor.is_some(),
            });
        }
    }
}
