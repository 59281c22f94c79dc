//! `operon server`: the embedded engine, the HTTP interface and the console in one process, on this machine.
//!
//! The engine lives on this thread. The interface has a thread and a runtime of its own, so that neither waits for
//! the other; they share the store, and what is asked for goes to the engine through the store's inbox.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use operon_api::auth::{Auth, LocalToken};
use operon_api::{Api, Console as Pages, EngineDeadLetters, EngineTriggers, Prices, Settings};
use operon_core::lang::Plugins;
use operon_engine::Ports;
use operon_engine::alerts::{Alerts, Sending};
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::Flows;
use operon_engine::metrics::Totals;
use operon_engine::operations::Operations;
use operon_engine::ports::{AttemptRow, ExecutionRow};
use operon_engine::traces::Exporter;
use operon_engine::triggers::{NoWakeups, NoWiring, Notices, Registry, Triggers};
use operon_local::alerts;
use operon_local::embedded::Observer;
use operon_local::flows::{DeployedFile, DeployedFlows, deploy_directory};
use operon_local::laptop::Laptop;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::ServerArgs;
use crate::engine;
use crate::exit::{Exit, Usage};
use crate::load;
use crate::output::Console;

/// The file in the state directory that tells commands of this machine how to reach the server.
pub(crate) const ADDRESS_FILE: &str = "server.json";

/// How long an event stream lives.
const STREAM_LIFE: Duration = Duration::from_mins(10);

/// Hears of executions: for what follows their ends, and for whoever is told. Who wants to know more asks the interface.
struct Heard {
    ended: mpsc::UnboundedSender<ExecutionRow>,
    alerts: alerts::Ends,
}

impl Observer for Heard {
    fn execution(&self, row: &ExecutionRow) {
        if row.ended_ms.is_some() {
            // Nobody listens any more when the server stops; what follows is done when it starts again.
            let _ = self.ended.send(row.clone());
        }
        self.alerts.execution(row);
    }

    fn task_run(&self, _: &AttemptRow) {}
}

pub(crate) fn server(args: &ServerArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let directory = args.flows.clone().unwrap_or_else(|| PathBuf::from("."));
    if !directory.is_dir() {
        return Err(Usage::new(format!("`{}` is no directory", directory.display())).into());
    }
    let plugins = Arc::new(load::plugins(&directory, console)?);
    let listener = TcpListener::bind(args.listen).map_err(|error| {
        Usage::new(format!("nothing can listen on {}: {error}", args.listen))
            .help("choose another port with `--listen`")
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (ends, told) = alerts::ends();
    let ends_too = ends.clone();
    engine::block_on(async {
        let (sender, ended) = mpsc::unbounded_channel();
        let laptop = engine::open_with(
            &args.engine,
            args.buckets.iter().cloned().collect(),
            |ports| Box::new(DeployedFlows(Flows::new(ports, Arc::clone(&plugins)))),
            Box::new(Heard {
                ended: sender,
                alerts: ends,
            }),
        )
        .await?;
        let ports = laptop.engine.evaluator().ports.clone();
        if let Some(directory) = &args.flows {
            deploy(&ports, &plugins, directory, console).await?;
        }
        let token = token()?;
        let _file = announce(&args.engine.state.dir, address, &token)?;
        let totals = Arc::<Totals>::default();
        let notices = Arc::new(alerts::Noticed {
            ends: ends_too,
            measures: Arc::clone(&totals) as Arc<_>,
        });
        let triggers = triggers(&laptop, &ports, &plugins, notices);
        for (key, reason) in triggers.never_fire(None).await? {
            console.warning(&format!("trigger `{key}`: {reason}"));
        }
        let sources = sources(args, triggers.clone());
        let alerts = tell(&laptop, &ports, address, Arc::clone(&totals));
        let api = application(&laptop, &ports, plugins, &token, triggers);
        api.show_totals(totals);
        let _server = serve(listener, api, alerts, told)?;
        laptop.engine.recover().await?;
        console.line(&format!("http://{address}/?token={token}"));
        console.note("Operon listens there, on this machine only. Press Ctrl-C to stop it.");
        console.flush();
        tokio::task::spawn_local(operon_local::triggers::run(sources, ended));
        run(&laptop).await
    })
}

/// Works until it is told to stop. What is in progress is taken up by the next server or `operon resume`.
async fn run(laptop: &Laptop) -> anyhow::Result<Exit> {
    let listen = |kind| signal(kind).context("signals cannot be received");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        result = laptop.engine.serve() => result?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    laptop.logs.flush();
    Ok(Exit::Success)
}

/// What starts flows by itself.
fn triggers(
    laptop: &Laptop,
    ports: &Ports,
    plugins: &Arc<Plugins>,
    notices: Arc<dyn Notices>,
) -> Triggers {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Triggers {
        evaluator: evaluator(ports),
        sink: laptop.store.clone(),
        flows: Arc::new(Registry::new(Flows::new(ports, Arc::clone(plugins)))),
        wakeups: Arc::new(NoWakeups),
        wiring: Arc::new(NoWiring),
        polls: None,
        notices,
        buckets: Vec::new(),
        on_aws: false,
        capacity: u32::try_from(cores).unwrap_or(1),
    }
}

/// Directories of the state directory, and those that were named, stand for buckets.
fn sources(args: &ServerArgs, triggers: Triggers) -> operon_local::triggers::Options {
    let state = &args.engine.state.dir;
    operon_local::triggers::Options {
        triggers,
        buckets: operon_local::triggers::Buckets {
            root: state.join(operon_local::triggers::BUCKETS),
            named: args.buckets.iter().cloned().collect(),
        },
        seen: state.join("triggers"),
    }
}

fn application(
    laptop: &Laptop,
    ports: &Ports,
    plugins: Arc<Plugins>,
    token: &str,
    triggers: Triggers,
) -> Api {
    let letters = Arc::new(EngineDeadLetters::new(triggers.clone(), None));
    let triggers = Arc::new(EngineTriggers(triggers));
    let subject = std::env::var("USER").unwrap_or_else(|_| "local".to_owned());
    Api::new(Settings {
        operations: Operations {
            evaluator: evaluator(ports),
            flows: Flows::new(ports, plugins),
            sink: laptop.store.clone(),
        },
        logs: Arc::new(laptop.logs.reader()),
        auth: Auth::Local(Arc::new(LocalToken::new(token, &subject))),
        console: Pages::embedded(),
        prices: Prices::FARGATE,
        stream_life: STREAM_LIFE,
        webhooks: Some(triggers.clone()),
        triggers: Some(triggers),
        dead_letters: Some(letters),
    })
}

/// Who tells people of executions; links lead to `OPERON_CONSOLE_URL`, or to this address.
fn tell(laptop: &Laptop, ports: &Ports, address: SocketAddr, totals: Arc<Totals>) -> Alerts {
    let url = std::env::var("OPERON_CONSOLE_URL").unwrap_or_else(|_| format!("http://{address}"));
    let logs = Arc::new(laptop.logs.reader());
    let url = url.trim_end_matches('/').to_owned();
    Alerts::new(evaluator(ports), logs, Some(url), totals).tracing(
        Exporter::of(|name| std::env::var(name).ok()),
        Sending::Beside,
    )
}

/// Of its own: what the engine remembers of shards is the engine's.
fn evaluator(ports: &Ports) -> Evaluator {
    Evaluator {
        ports: ports.clone(),
        shards: Arc::default(),
        items: Arc::default(),
    }
}

async fn deploy(
    ports: &Ports,
    plugins: &Arc<Plugins>,
    directory: &Path,
    console: &Console,
) -> anyhow::Result<()> {
    let flows = Flows::new(ports, Arc::clone(plugins));
    let results = deploy_directory(&flows, directory, "operon server").await;
    let results = results.map_err(|error| Usage::new(error.to_string()))?;
    for (path, result) in results {
        match result {
            DeployedFile::Deployed { flow, revision } => {
                console.note(&format!("Deployed `{flow}`, revision {revision}."));
            }
            DeployedFile::Known => {}
            DeployedFile::Refused(reason) => {
                console.warning(&format!("{} is not deployed: {reason}", path.display()));
            }
        }
    }
    Ok(())
}

/// 256 bits that nobody can guess.
fn token() -> anyhow::Result<String> {
    use std::fmt::Write as _;

    let mut bytes = [0_u8; 32];
    let random = std::fs::File::open("/dev/urandom");
    random
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("no random numbers can be read from /dev/urandom")?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}

/// The address file, removed when the server ends.
struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        // A file that is left tells of a server that does not answer; commands say so.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn announce(state: &Path, address: SocketAddr, token: &str) -> anyhow::Result<Announced> {
    let path = state.join(ADDRESS_FILE);
    let text = serde_json::json!({"url": format!("http://{address}"), "token": token}).to_string();
    // Removed first: the mode counts only for a file that is made here.
    let _ = std::fs::remove_file(&path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(Announced(path))
}

/// The interface's thread: it ends with the process.
fn serve(
    listener: TcpListener,
    api: Api,
    alerts: Alerts,
    told: mpsc::UnboundedReceiver<ExecutionRow>,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("operon-api")
        .build()
        .context("the runtime cannot be started")?;
    let thread = std::thread::Builder::new().name("operon-api".to_owned());
    let handle = thread.spawn(move || {
        runtime.block_on(async move {
            tokio::spawn(alerts::run(alerts, told));
            let served = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => operon_api::serve(listener, api).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP interface stopped");
            }
        });
    })?;
    Ok(handle)
}
