//! The only place that writes to standard output and standard error.
//!
//! Invariant: whoever closes the other end of a pipe never makes an execution fail.

use std::cell::{Cell, RefCell};
use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};

use anstyle::Style;

use crate::style;

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColourChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Columns assumed where there is no terminal to ask.
const COLUMNS_DEFAULT: u16 = 100;
/// The same for rows.
const ROWS_DEFAULT: u16 = 24;

/// The terminal, or what stands in its place.
pub(crate) struct Console {
    out: RefCell<BufWriter<Stdout>>,
    out_terminal: bool,
    out_colour: bool,
    err_colour: bool,
    /// Nobody reads any more.
    closed: Cell<bool>,
}

impl Console {
    /// Finds out what standard output and standard error are.
    pub(crate) fn detect(choice: ColourChoice) -> Self {
        let out_terminal = std::io::stdout().is_terminal();
        let err_terminal = std::io::stderr().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = |terminal: bool| match choice {
            ColourChoice::Auto => terminal && !set("NO_COLOR") && !dumb,
            ColourChoice::Always => true,
            ColourChoice::Never => false,
        };
        Self {
            out: RefCell::new(BufWriter::with_capacity(64 * 1024, std::io::stdout())),
            out_terminal: out_terminal && !dumb,
            out_colour: colour(out_terminal),
            err_colour: colour(err_terminal),
            closed: Cell::new(false),
        }
    }

    /// Writes to standard output; visible after [`Self::flush`].
    pub(crate) fn out(&self, text: &str) {
        if !self.closed.get() && self.out.borrow_mut().write_all(text.as_bytes()).is_err() {
            self.closed.set(true);
        }
    }

    /// A line on standard output.
    pub(crate) fn line(&self, text: &str) {
        self.out(text);
        self.out("\n");
    }

    /// Makes visible what was written.
    pub(crate) fn flush(&self) {
        if !self.closed.get() && self.out.borrow_mut().flush().is_err() {
            self.closed.set(true);
        }
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn closed(&self) -> bool {
        self.closed.get()
    }

    /// A line on standard error.
    pub(crate) fn note(&self, text: &str) {
        self.flush();
        // Without anybody who reads it, there is nothing to do.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// `error: …`
    pub(crate) fn error(&self, text: &str) {
        self.said("error", style::ERROR, text);
    }

    /// `warning: …`
    pub(crate) fn warning(&self, text: &str) {
        self.said("warning", style::WARNING, text);
    }

    /// `help: …`, after an error or a warning.
    pub(crate) fn help(&self, text: &str) {
        self.said("help", style::HELP, text);
    }

    fn said(&self, word: &str, style: Style, text: &str) {
        let word = style::paint(self.err_colour, style, word);
        self.note(&format!("{word}: {}", text.trim_end()));
    }

    /// Whether standard output is a terminal that can move its cursor.
    pub(crate) fn is_terminal(&self) -> bool {
        self.out_terminal
    }

    /// Whether standard output is coloured.
    pub(crate) fn colour(&self) -> bool {
        self.out_colour
    }

    /// Whether standard error is coloured.
    pub(crate) fn err_colour(&self) -> bool {
        self.err_colour
    }

    /// Columns and rows of the terminal.
    #[expect(clippy::unused_self, reason = "whoever draws asks the console")]
    pub(crate) fn size(&self) -> (u16, u16) {
        match crossterm::terminal::size() {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
            // Some pretend to be terminals without a size.
            Ok(_) | Err(_) => (COLUMNS_DEFAULT, ROWS_DEFAULT),
        }
    }
}
