//! What is drawn, at 80x24 and on a wide terminal.

use insta::assert_snapshot;
use ratatui::style::Color;

use super::{Stage, data};
use crate::top::actions::{Action, Verb};
use crate::top::message::{Answer, Message, Preview, Request, Skipped, Trouble};

const SMALL: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (140, 40);

fn small(stage: &Stage) -> String {
    stage.picture(SMALL.0, SMALL.1)
}

fn wide(stage: &Stage) -> String {
    stage.picture(WIDE.0, WIDE.1)
}

fn on(page: &str, answer: Answer) -> Stage {
    let mut stage = Stage::with_executions();
    stage.keys(&[page]);
    stage.answer(answer);
    stage
}

#[test]
fn executions() {
    let mut stage = Stage::with_executions();
    stage.keys(&["j", " "]);
    assert_snapshot!("executions_80", small(&stage));
    assert_snapshot!("executions_140", wide(&stage));
}

#[test]
fn nothing_has_come_yet() {
    assert_snapshot!("connecting_80", small(&Stage::new()));
}

#[test]
fn an_execution_that_failed() {
    let stage = Stage::in_failed();
    assert_snapshot!("execution_80", small(&stage));
    assert_snapshot!("execution_140", wide(&stage));
}

#[test]
fn its_log_on_the_whole_page() {
    let mut stage = Stage::in_failed();
    stage.keys(&["l"]);
    assert_snapshot!("log_80", small(&stage));
}

#[test]
fn flows() {
    let stage = on("2", Answer::Flows(data::flows()));
    assert_snapshot!("flows_80", small(&stage));
    assert_snapshot!("flows_140", wide(&stage));
}

#[test]
fn triggers() {
    let stage = on("3", Answer::Triggers(data::triggers()));
    assert_snapshot!("triggers_80", small(&stage));
    assert_snapshot!("triggers_140", wide(&stage));
}

#[test]
fn slots_and_their_owners() {
    let stage = on("4", Answer::Slots(data::locks()));
    assert_snapshot!("slots_80", small(&stage));
    assert_snapshot!("slots_140", wide(&stage));
}

#[test]
fn a_question_says_what_happens_to_containers() {
    let mut stage = Stage::with_executions();
    stage.keys(&["x"]);
    assert_snapshot!("kill_80", small(&stage));
}

#[test]
fn a_question_about_many_says_what_would_be_done() {
    let mut stage = Stage::with_executions();
    stage.keys(&[" ", " ", "x"]);
    let ids = stage.model.marked.iter().cloned().collect();
    let action = Action::Many {
        verb: Verb::Kill,
        ids,
    };
    let skipped = vec![Skipped {
        id: data::FAILED.to_owned(),
        reason: "it is over".to_owned(),
    }];
    stage.answer(Answer::Preview(action, Preview { done: 1, skipped }));
    assert_snapshot!("kill_many_80", small(&stage));
}

#[test]
fn a_form_for_a_pause() {
    let mut stage = Stage::with_executions();
    stage.keys(&["j", "j", "Enter"]);
    stage.answer(Answer::Detail(Box::new(data::paused())));
    stage.keys(&["a", "Tab"]);
    stage.types("2026-11");
    assert_snapshot!("answer_80", small(&stage));
}

#[test]
fn help() {
    let mut stage = Stage::in_failed();
    stage.keys(&["?"]);
    assert_snapshot!("help_80", small(&stage));
}

#[test]
fn a_lost_connection_is_seen_and_its_return_too() {
    let mut stage = Stage::with_executions();
    let why = "the server at http://127.0.0.1:8585 cannot be reached; is it running, and is the address right?";
    stage.send(Message::Trouble(Request::Me, Trouble::Lost(why.to_owned())));
    stage.pass(7_000);
    assert_snapshot!("lost_80", small(&stage));
    let query = crate::top::filter::query("", 100);
    stage.answer(Answer::Executions(query, data::executions()));
    assert_snapshot!("back_80", small(&stage));
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    let stage = Stage::in_failed();
    assert_snapshot!("small_50", stage.picture(50, 12));
    // The smallest that is taken is taken on every page, and with every dialog.
    for key in ["?", "x", "r", "Esc", "l", "1", "2", "3", "4", "/"] {
        let mut stage = Stage::in_failed();
        stage.keys(&[key]);
        assert!(!stage.picture(60, 16).contains("characters"), "{key}");
    }
}

#[test]
fn without_colours_there_are_none() {
    let mut stage = Stage::in_failed();
    for key in ["l", "x", "Esc", "?"] {
        stage.keys(&[key]);
        let coloured = |colour: bool| {
            let buffer = stage.buffer(SMALL.0, SMALL.1, colour);
            buffer
                .content
                .iter()
                .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
                .count()
        };
        assert_eq!(coloured(false), 0, "after {key}");
        assert!(coloured(true) > 0, "after {key}");
    }
    // The same characters with and without.
    let (with, without) = (stage.buffer(80, 24, true), stage.buffer(80, 24, false));
    let symbols = |buffer: &ratatui::buffer::Buffer| -> Vec<String> {
        buffer
            .content
            .iter()
            .map(|cell| cell.symbol().to_owned())
            .collect()
    };
    assert_eq!(symbols(&with), symbols(&without));
}

#[test]
fn the_chosen_row_is_seen_without_colours() {
    let mut stage = Stage::with_executions();
    stage.keys(&["j"]);
    let buffer = stage.buffer(80, 24, false);
    let reversed: Vec<u16> = (3..22)
        .filter(|row| {
            let cell = buffer.cell((20, *row)).unwrap();
            cell.modifier.contains(ratatui::style::Modifier::REVERSED)
        })
        .collect();
    assert_eq!(reversed, [5]);
}
