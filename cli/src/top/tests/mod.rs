//! The terminal console without a terminal: messages in, pictures and wishes out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod behaviour;
mod data;
mod pictures;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::message::{Answer, Effect, Message};
use super::model::Model;
use super::update::update;
use super::view::{Theme, draw};

/// The console in a test: every wish is kept instead of being carried out.
pub(super) struct Stage {
    pub(super) model: Model,
    pub(super) wishes: Vec<Effect>,
}

impl Stage {
    /// As it is when it begins.
    pub(super) fn new() -> Self {
        let server = "http://127.0.0.1:8585".to_owned();
        let model = Model::new(server, data::NOW, jiff::tz::TimeZone::UTC);
        let mut stage = Self {
            model,
            wishes: Vec::new(),
        };
        stage.pass(0);
        stage
    }

    /// With executions, as an operator.
    pub(super) fn with_executions() -> Self {
        let mut stage = Self::new();
        stage.answer(Answer::Me(data::me("operator")));
        let query = super::filter::query("", 100);
        stage.answer(Answer::Executions(query, data::executions()));
        stage
    }

    /// In the execution that failed.
    pub(super) fn in_failed() -> Self {
        let mut stage = Self::with_executions();
        stage.keys(&["j", "Enter"]);
        stage.answer(Answer::Detail(Box::new(data::failed())));
        stage.answer(data::runs(false));
        stage.pass(200);
        let ticket = stage.model.execution.as_ref().unwrap().log.ticket;
        stage.answer(Answer::Log {
            ticket,
            before: u64::MAX,
            page: data::log(true),
        });
        stage.pass(10);
        stage
    }

    pub(super) fn send(&mut self, message: Message) {
        let wishes = update(&mut self.model, message);
        self.wishes.extend(wishes);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        self.send(Message::Answer(answer));
    }

    pub(super) fn keys(&mut self, keys: &[&str]) {
        for key in keys {
            self.send(Message::Key((*key).to_owned()));
        }
    }

    /// Types a text, character by character.
    pub(super) fn types(&mut self, text: &str) {
        for character in text.chars() {
            self.send(Message::Key(character.to_string()));
        }
    }

    /// So many milliseconds pass.
    pub(super) fn pass(&mut self, ms: u64) {
        let now = self.model.now_ms + ms;
        self.send(Message::Time(now));
    }

    /// What was wished since this was asked last.
    pub(super) fn taken(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.wishes)
    }

    pub(super) fn buffer(&self, columns: u16, rows: u16, colour: bool) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal
            .draw(|frame| draw(frame, &self.model, Theme { colour }))
            .unwrap();
        terminal.backend().buffer().clone()
    }

    /// The characters of a picture, line by line.
    pub(super) fn picture(&self, columns: u16, rows: u16) -> String {
        let buffer = self.buffer(columns, rows, true);
        let lines = buffer.content.chunks(usize::from(columns));
        let lines = lines.map(|cells| {
            cells
                .iter()
                .map(ratatui::buffer::Cell::symbol)
                .collect::<String>()
        });
        lines
            .map(|line| line.trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }
}
