//! One state directory whose engines are killed until they may finish.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::journal::newest_engine;
use crate::random::Random;
use crate::{processes, verdict};

/// How often an engine is looked at.
const LOOK: Duration = Duration::from_millis(3);
/// An engine that nobody kills has this long; with backoff after many losses it needs a minute at worst.
const PATIENCE: Duration = Duration::from_secs(150);
/// Starts of executions that a campaign may add to those it wants, when kills hit them early.
const RUNS_MORE: u64 = 3;

/// Kills over all campaigns.
pub(crate) struct Budget {
    wanted: u32,
    done: AtomicU32,
}

impl Budget {
    /// So many kills.
    pub(crate) const fn new(wanted: u32) -> Self {
        Self {
            wanted,
            done: AtomicU32::new(0),
        }
    }

    /// Whether more are wanted.
    pub(crate) fn is_left(&self) -> bool {
        self.done.load(Ordering::SeqCst) < self.wanted
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }
}

/// What happened, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Engines killed.
    pub(crate) kills: u32,
    /// Executions, those of subflows included.
    pub(crate) executions: usize,
    /// Attempts that began.
    pub(crate) attempts: usize,
    /// Attempts that were lost with their engine and made again.
    pub(crate) repeated: usize,
    /// Task runs that ended `outcome unknown`.
    pub(crate) unknown: usize,
    /// Processes alive right after their engine was killed.
    pub(crate) orphans: usize,
}

impl Tally {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.executions += other.executions;
        self.attempts += other.attempts;
        self.repeated += other.repeated;
        self.unknown += other.unknown;
        self.orphans += other.orphans;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} kills, {} executions, {} attempts of which {} were lost, {} outcomes unknown, {} orphans",
            self.kills, self.executions, self.attempts, self.repeated, self.unknown, self.orphans
        )
    }
}

/// What an engine is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// A new execution, and everything that is unfinished.
    Run,
    /// Everything that is unfinished.
    Resume,
}

/// How an engine ended.
enum End {
    Killed,
    Exited(ExitStatus),
}

/// See the module.
pub(crate) struct Campaign<'a> {
    binary: &'a Path,
    random: Random,
    directory: TempDir,
    engines: u32,
    tally: Tally,
}

impl<'a> Campaign<'a> {
    pub(crate) fn new(binary: &'a Path, seed: u64) -> Self {
        let directory = tempfile::Builder::new()
            .prefix(&format!("operon-crash-{seed}-"))
            .tempdir()
            .unwrap();
        let path = directory.path();
        for part in ["side", "flow", "homes"] {
            fs::create_dir(path.join(part)).unwrap();
        }
        fs::write(path.join("side/attempt.sh"), include_str!("attempt.sh")).unwrap();
        fs::write(path.join("flow/flow.yaml"), include_str!("flow.yaml")).unwrap();
        fs::write(path.join("flow/below.yaml"), include_str!("below.yaml")).unwrap();
        Self {
            binary,
            random: Random::new(seed),
            directory,
            engines: 0,
            tally: Tally::default(),
        }
    }

    /// Leaves everything on disk, for whoever looks into a failure.
    pub(crate) fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    fn path(&self, part: &str) -> PathBuf {
        self.directory.path().join(part)
    }

    /// Kills, resumes, and at last checks everything.
    pub(crate) fn run(&mut self, budget: &Budget) -> Result<Tally, String> {
        let wanted = self.random.between(1, 4);
        let mut kills_left = self.random.between(12, 28);
        let (mut runs, mut task) = (0, Task::Run);
        loop {
            runs += u64::from(task == Task::Run);
            let kill = kills_left > 0 && budget.is_left();
            let delay = kill.then(|| self.delay());
            match self.engine(task, delay)? {
                End::Killed => {
                    budget.count();
                    kills_left -= 1;
                    self.tally.kills += 1;
                    self.tally.orphans += processes::alive(&self.path("side")).len();
                    if self.random.percent(30) {
                        sleep(self.random.micros(0, 300_000));
                    }
                    let another = runs < wanted + RUNS_MORE && self.random.percent(12);
                    task = if another { Task::Run } else { Task::Resume };
                }
                End::Exited(status) => {
                    let all = self.executions()?;
                    let unfinished: Vec<&Value> = all.iter().filter(|row| !is_over(row)).collect();
                    self.check_exit(task, status, &unfinished)?;
                    let began = all.iter().filter(|row| row["flow"] == "crash").count();
                    if !unfinished.is_empty() {
                        task = Task::Resume;
                    } else if u64::try_from(began).unwrap() < wanted {
                        task = Task::Run;
                    } else {
                        break;
                    }
                }
            }
        }
        let shown = self.executions()?;
        let shown: Result<Vec<Value>, String> = shown.iter().map(|row| self.show(row)).collect();
        verdict::check(
            self.directory.path(),
            self.engines,
            &shown?,
            &mut self.tally,
        )?;
        Ok(std::mem::take(&mut self.tally))
    }

    /// When an engine is killed, from its start: at its own start, in the middle, late.
    const fn delay(&mut self) -> Duration {
        match self.random.between(0, 4) {
            0 => self.random.micros(0, 80_000),
            1 | 2 => self.random.micros(50_000, 800_000),
            _ => self.random.micros(500_000, 2_500_000),
        }
    }

    /// Starts an engine and waits for its end, or for the moment at which it is killed.
    fn engine(&mut self, task: Task, kill_after: Option<Duration>) -> Result<End, String> {
        self.engines += 1;
        let number = self.engines;
        let mut engine = self.start(task);
        let start = Instant::now();
        let mut looked = false;
        loop {
            if let Some(status) = engine.try_wait().unwrap() {
                self.look(number + 1)
                    .map_err(|what| self.ended(task, &format!("{status}, and {what}")))?;
                return Ok(End::Exited(status));
            }
            let age = start.elapsed();
            if kill_after.is_some_and(|after| age >= after) {
                // Only the engine itself: `Child::kill` sends SIGKILL to one process.
                engine.kill().unwrap();
                engine.wait().unwrap();
                return Ok(End::Killed);
            }
            if age > PATIENCE {
                engine.kill().unwrap();
                engine.wait().unwrap();
                return Err(format!("engine {number} ({task:?}) does not end"));
            }
            if !looked && newest_engine(&self.path("side/journal")) == number {
                looked = true;
                self.look(number)?;
            }
            sleep(LOOK);
        }
    }

    /// Nothing that an engine before this one started may be alive.
    fn look(&self, engine: u32) -> Result<(), String> {
        let older: Vec<String> = processes::alive(&self.path("side"))
            .into_iter()
            .filter(|process| process.engine < engine)
            .map(|process| process.name)
            .collect();
        if older.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "of engines before number {engine} are alive: {}",
                older.join(", ")
            ))
        }
    }

    fn start(&self, task: Task) -> Child {
        let number = self.engines.to_string();
        let home = self.path("homes").join(&number);
        fs::create_dir(&home).unwrap();
        let file = |name: &str| File::create(home.join(name)).unwrap();
        let mut command = self.command();
        match task {
            Task::Run => {
                let side = format!("side={}", self.path("side").display());
                command
                    .arg("run")
                    .arg(self.path("flow/flow.yaml"))
                    .args(["--input", &side])
            }
            Task::Resume => command.arg("resume"),
        };
        command
            .arg("--state")
            .arg(self.path("state"))
            .args(["--output", "json"])
            .env("HOME", &home)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.binary);
        command.env_remove("OPERON_STATE").env_remove("OPERON_LOG");
        command
    }

    /// What an engine says when it ends by itself must agree with what it left.
    fn check_exit(
        &self,
        task: Task,
        status: ExitStatus,
        unfinished: &[&Value],
    ) -> Result<(), String> {
        let home = self.path("homes").join(self.engines.to_string());
        let out = fs::read_to_string(home.join("out")).unwrap();
        let wrong = |what: String| self.ended(task, &what);
        let mut failed = false;
        for line in out.lines() {
            let execution: Value = serde_json::from_str(line)
                .map_err(|error| wrong(format!("`{line}` is not JSON: {error}")))?;
            if !is_over(&execution) {
                return Err(wrong(format!("{} is not over", execution["id"])));
            }
            failed |= execution["state"] == "FAILED";
        }
        if status.code() != Some(i32::from(failed)) {
            return Err(wrong(format!("ended with {status}, failed: {failed}")));
        }
        if !unfinished.is_empty() {
            return Err(wrong(format!("unfinished: {unfinished:?}")));
        }
        Ok(())
    }

    /// What was wrong with the end of the newest engine, and what it said itself.
    fn ended(&self, task: Task, what: &str) -> String {
        let err = self
            .path("homes")
            .join(self.engines.to_string())
            .join("err");
        let said = fs::read_to_string(err).unwrap();
        format!("{task:?} by engine {}: {what}: {said}", self.engines)
    }

    fn executions(&self) -> Result<Vec<Value>, String> {
        let all = self.read(&["list"])?;
        let rows = all["executions"].as_array();
        rows.cloned()
            .ok_or_else(|| format!("`executions list` gave {all}"))
    }

    fn show(&self, row: &Value) -> Result<Value, String> {
        let id = row["id"].as_str().ok_or("an execution without id")?;
        self.read(&["show", id])
    }

    fn read(&self, arguments: &[&str]) -> Result<Value, String> {
        let output = self
            .command()
            .arg("executions")
            .args(arguments)
            .arg("--state")
            .arg(self.path("state"))
            .args(["--output", "json"])
            .output()
            .unwrap();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("`executions {}`: {said}", arguments.join(" ")));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("`executions {}`: {error}", arguments.join(" ")))
    }
}

fn is_over(execution: &Value) -> bool {
    matches!(execution["state"].as_str(), Some("SUCCESS" | "FAILED"))
}
