//! Colours, and what stands in their place.

use ratatui::style::{Color, Modifier, Style};

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub(in crate::top) struct Theme {
    /// There are.
    pub(in crate::top) colour: bool,
}

impl Theme {
    fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// What matters less.
    pub(super) fn dim(self) -> Style {
        if self.colour {
            Style::new().add_modifier(Modifier::DIM)
        } else {
            Style::new()
        }
    }

    /// Headings.
    pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

    /// The name of the program.
    pub(super) const HEAD: Style =
        Style::new().add_modifier(Modifier::REVERSED.union(Modifier::BOLD));

    /// The row or page that is chosen.
    pub(super) const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

    /// What is as it should be.
    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What is not.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What wants attention.
    pub(super) fn warn(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// A state.
    pub(super) fn state(self, state: &str) -> Style {
        match state {
            "SUCCESS" => self.good(),
            "WARNING" | "RETRYING" | "RETRY_WAIT" | "PAUSED" | "QUEUED" => self.warn(),
            "FAILED" => self.bad(),
            "KILLED" | "KILLING" | "CANCELLED" => self.coloured(Color::Magenta),
            "RUNNING" | "SUBMITTED" | "LAUNCHING" => self.coloured(Color::Cyan),
            _ => self.dim(),
        }
    }

    /// A level of a log.
    pub(super) fn level(self, level: &str) -> Style {
        match level {
            "ERROR" => self.bad(),
            "WARN" => self.warn(),
            "DEBUG" | "TRACE" => self.dim(),
            _ => Style::new(),
        }
    }
}

/// A sign for a state, one column wide.
pub(super) fn sign(state: &str) -> &'static str {
    match state {
        "SUCCESS" => "✓",
        "WARNING" => "!",
        "FAILED" => "✗",
        "KILLED" | "KILLING" | "CANCELLED" => "■",
        "RUNNING" | "LAUNCHING" | "SUBMITTED" => "●",
        "PAUSED" => "‖",
        "RETRYING" | "RETRY_WAIT" => "↻",
        "SKIPPED" | "OMITTED" => "-",
        _ => "○",
    }
}
