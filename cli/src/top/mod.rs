//! `operon top`: what runs, in the terminal.
//!
//! `model` is what is known, `update` changes it (with `keys` for what is typed), `view` draws it: all three are
//! pure. `link` asks the server and `terminal` owns the terminal; this module carries messages between them.

mod actions;
mod execution;
mod filter;
mod form;
mod keys;
mod link;
mod message;
mod model;
mod pages;
mod terminal;
mod update;
mod view;

#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use operon_engine::ports::Clock as _;
use operon_local::clock::SystemClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::link::Links;
use self::message::{Effect, Message};
use self::model::Model;
use self::terminal::{Screen, key_of};
use self::view::Theme;
use crate::args::TopArgs;
use crate::client::Client;
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::state::block_on;

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(200);
/// How long the thread that reads the keyboard waits before it asks whether it may end.
const KEY_WAIT: Duration = Duration::from_millis(100);

pub(crate) fn top(args: &TopArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    if !console.is_terminal() || !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Usage::new("`operon top` draws on a terminal, and this is none")
            .help("`operon executions list` and `operon executions show ID` print the same; both take `-o json`")
            .into());
    }
    let client = Client::choose(args.context.as_deref(), &args.state.dir)?;
    let name = args
        .context
        .as_deref()
        .map_or_else(String::new, |name| format!("{name} "));
    let server = format!("{name}{}", client.url());
    let model = Model::new(server, SystemClock.now_ms(), jiff::tz::TimeZone::system());
    let theme = Theme {
        colour: console.colour(),
    };
    console.flush();
    block_on(async {
        let (told, heard) = unbounded_channel();
        let links = Links::new(
            args.context.as_deref(),
            args.state.dir.clone(),
            client,
            told.clone(),
        );
        let stop = Arc::new(AtomicBool::new(false));
        let screen = Screen::enter().context("the terminal cannot be taken over")?;
        listen(told, Arc::clone(&stop))?;
        let result = run(screen, model, theme, links, heard).await;
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// Reads the keyboard on a thread of its own: reading cannot be waited for otherwise.
fn listen(told: UnboundedSender<Message>, stop: Arc<AtomicBool>) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name("operon-keys".to_owned());
    thread.spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let read = match crossterm::event::poll(KEY_WAIT) {
                Ok(false) => continue,
                Ok(true) => crossterm::event::read(),
                Err(error) => Err(error),
            };
            let message = match &read {
                Ok(event) => key_of(event).map(Message::Key),
                // There is no terminal any more.
                Err(_) => Some(Message::Key("Ctrl-c".to_owned())),
            };
            // Another size is seen when it is drawn.
            if message.is_some_and(|message| told.send(message).is_err()) || read.is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Until it is left.
async fn run(
    mut screen: Screen,
    mut model: Model,
    theme: Theme,
    mut links: Links,
    mut heard: UnboundedReceiver<Message>,
) -> anyhow::Result<Exit> {
    let catch = |kind| signal(kind).context("signals cannot be received");
    let mut interrupt = catch(SignalKind::interrupt())?;
    let mut terminate = catch(SignalKind::terminate())?;
    let mut hangup = catch(SignalKind::hangup())?;
    // Somebody stopped this process from outside and let it go on: the shell has used the terminal meanwhile.
    let mut resumed = catch(SignalKind::from_raw(
        nix::sys::signal::Signal::SIGCONT as i32,
    ))?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        screen
            .terminal
            .draw(|frame| view::draw(frame, &model, theme))?;
        let first = tokio::select! {
            message = heard.recv() => message.unwrap_or(Message::Key("Ctrl-c".to_owned())),
            _ = tick.tick() => Message::Time(SystemClock.now_ms()),
            _ = interrupt.recv() => return Ok(Exit::Success),
            _ = terminate.recv() => return Ok(Exit::Success),
            _ = hangup.recv() => return Ok(Exit::Success),
            _ = resumed.recv() => {
                screen.resume()?;
                continue;
            }
        };
        // Everything that has come is taken in before it is drawn once.
        let mut next = Some(first);
        while let Some(message) = next {
            for effect in update::update(&mut model, message) {
                match effect {
                    Effect::Quit => return Ok(Exit::Success),
                    Effect::Suspend => screen.suspend()?,
                    Effect::Redraw => screen.terminal.clear()?,
                    other @ (Effect::Ask(_)
                    | Effect::Act(_)
                    | Effect::Watch(_)
                    | Effect::Follow(_)) => {
                        links.carry(other);
                    }
                }
            }
            next = heard.try_recv().ok();
        }
    }
}
