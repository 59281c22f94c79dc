//! What keys, answers and streams change, and what is wished.

use serde_json::json;

use super::{Stage, data};
use crate::top::actions::{Action, Verb};
use crate::top::filter;
use crate::top::message::{Answer, Effect, Message, Request, StreamEvent, Trouble};
use crate::top::model::{Dialog, Link, PageName};
use crate::top::view::clean;

fn acts(wishes: &[Effect]) -> Vec<&Action> {
    let action = |wish: &'_ Effect| matches!(wish, Effect::Act(_));
    let acts = wishes.iter().filter(|wish| action(wish));
    acts.map(|wish| match wish {
        Effect::Act(action) => action,
        other => panic!("{other:?}"),
    })
    .collect()
}

#[test]
fn nothing_is_done_before_it_is_confirmed() {
    for (key, verb) in [
        ("x", Verb::Kill),
        ("R", Verb::Restart),
        ("t", Verb::RetryFailed),
        ("a", Verb::Resume),
    ] {
        let mut stage = Stage::with_executions();
        stage.taken();
        stage.keys(&[key, "Enter", "n", "y"]);
        assert_eq!(acts(&stage.taken()), Vec::<&Action>::new(), "{key}");
        stage.keys(&[key, "y", "y"]);
        let id = "1m8b5a2cce5w9ebx".to_owned();
        assert_eq!(
            acts(&stage.taken()),
            [&Action::One { verb, id }],
            "{key}, once"
        );
    }
}

#[test]
fn who_may_only_look_is_not_asked() {
    let mut stage = Stage::with_executions();
    stage.answer(Answer::Me(data::me("viewer")));
    stage.keys(&["x"]);
    assert!(stage.model.dialog.is_none());
    assert!(stage.model.notice.as_ref().unwrap().bad);
}

#[test]
fn a_flow_and_a_trigger_are_switched() {
    let mut stage = Stage::with_executions();
    stage.keys(&["2"]);
    stage.answer(Answer::Flows(data::flows()));
    stage.keys(&["j", "e", "y"]);
    let flow = |on| Action::Flow {
        namespace: "genomics.pathoplexus".to_owned(),
        flow: "ingest-from-ncbi-with-a-long-name".to_owned(),
        on,
    };
    assert_eq!(acts(&stage.taken()), [&flow(true)]);
    stage.send(Message::Acted(flow(true), Ok(json!({}))));
    stage.keys(&["3"]);
    stage.answer(Answer::Triggers(data::triggers()));
    stage.keys(&["e", "y"]);
    let trigger = Action::Trigger {
        namespace: "genomics.pathoplexus".to_owned(),
        flow: "nightly".to_owned(),
        trigger: "at-3".to_owned(),
        on: false,
    };
    assert_eq!(acts(&stage.taken()), [&trigger]);
    assert_eq!(
        trigger.request().0,
        "/triggers/genomics.pathoplexus/nightly/at-3/disable"
    );
}

#[test]
fn a_pause_is_answered_with_what_was_typed() {
    let mut stage = Stage::with_executions();
    stage.keys(&["j", "j", "Enter"]);
    stage.answer(Answer::Detail(Box::new(data::paused())));
    stage.keys(&["a", "Enter"]);
    assert_eq!(
        acts(&stage.taken()),
        Vec::<&Action>::new(),
        "a required value is missing"
    );
    stage.keys(&["Tab"]);
    stage.types("x26");
    stage.keys(&["Ctrl-u"]);
    stage.types("2026-11");
    stage.keys(&["Tab", "Right", "Enter"]);
    let wishes = stage.taken();
    let [
        Action::Answer {
            run, go_on, inputs, ..
        },
    ] = acts(&wishes)[..]
    else {
        panic!("{wishes:?}");
    };
    assert_eq!((run.as_str(), *go_on), ("0:1", true));
    assert_eq!(
        json!(inputs),
        json!({"release": "2026-11", "channel": "beta"})
    );
    // What the server does not take can be put right without typing it again.
    let refused = Trouble::Refused("`release` is no date".to_owned());
    stage.send(Message::Acted(acts(&wishes)[0].clone(), Err(refused)));
    let Some(Dialog::Form(form)) = &stage.model.dialog else {
        panic!("the form is gone");
    };
    assert_eq!(form.error.as_deref(), Some("`release` is no date"));
    assert_eq!(form.fields[1].value, "2026-11");
}

#[test]
fn a_replay_begins_at_the_chosen_task_and_is_shown() {
    let mut stage = Stage::in_failed();
    stage.keys(&["g", "r", "Tab", "Ctrl-u"]);
    stage.types("2");
    stage.taken();
    stage.keys(&["Enter"]);
    let replay = Action::Replay {
        id: data::FAILED.to_owned(),
        from: "fetch".to_owned(),
        revision: Some(2),
    };
    assert_eq!(acts(&stage.taken()), [&replay]);
    stage.send(Message::Acted(
        replay,
        Ok(json!({"id": "1m8b5a2cce5w9eby", "reused": 1})),
    ));
    assert_eq!(
        stage.model.execution.as_ref().unwrap().id,
        "1m8b5a2cce5w9eby"
    );
}

#[test]
fn the_task_run_that_failed_is_open_with_its_log() {
    let mut stage = Stage::in_failed();
    let page = stage.model.execution.as_ref().unwrap();
    assert_eq!(page.current().unwrap().name, "align[3]");
    assert_eq!(page.log.source.as_ref().unwrap().attempt, 2);
    stage.keys(&[","]);
    stage.pass(200);
    let page = stage.model.execution.as_ref().unwrap();
    assert_eq!(page.log.source.as_ref().unwrap().attempt, 1);
    assert!(page.log.lines.is_empty(), "it is another log");
}

#[test]
fn what_runs_is_followed_until_a_person_chooses() {
    let mut stage = Stage::with_executions();
    stage.keys(&["Enter"]);
    let ticket = stage.model.execution.as_ref().unwrap().ticket;
    let send = |stage: &mut Stage, id: &str, name: &str| {
        let run = data::one_run(id, name, "RUNNING", &[(1, None, "RUNNING")]);
        stage.send(Message::Stream(ticket, StreamEvent::TaskRun(Box::new(run))));
    };
    send(&mut stage, "0:0", "fetch");
    send(&mut stage, "0:1", "align");
    let chosen = |stage: &Stage| {
        stage
            .model
            .execution
            .as_ref()
            .unwrap()
            .current()
            .unwrap()
            .name
            .clone()
    };
    assert_eq!(chosen(&stage), "align");
    stage.keys(&["k"]);
    send(&mut stage, "0:2", "report");
    assert_eq!(chosen(&stage), "fetch");
}

#[test]
fn a_log_has_each_line_once_and_in_order() {
    let mut stage = Stage::with_executions();
    stage.keys(&["j", "Enter"]);
    stage.answer(data::runs(false));
    stage.pass(200);
    let ticket = stage.model.execution.as_ref().unwrap().log.ticket;
    stage.taken();
    stage.answer(Answer::Log {
        ticket,
        before: u64::MAX,
        page: data::log(false),
    });
    let wishes = stage.taken();
    assert!(
        wishes
            .iter()
            .any(|wish| matches!(wish, Effect::Follow(Some((of, _, Some(2)))) if *of == ticket)),
        "the stream goes on after the last line of the page: {wishes:?}"
    );
    // A stream that was connected again repeats; another log's stream is late.
    for (of, seq) in [
        (ticket, 2),
        (ticket, 3),
        (ticket, 3),
        (ticket + 100, 4),
        (ticket, 4),
    ] {
        stage.send(Message::Stream(
            of,
            StreamEvent::Line(data::line(seq, "INFO", "more")),
        ));
    }
    let log = &stage.model.execution.as_ref().unwrap().log;
    let numbers: Vec<u64> = log.lines.iter().map(|line| line.seq).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    stage.send(Message::Stream(ticket, StreamEvent::End));
    assert!(stage.model.execution.as_ref().unwrap().log.ended);
}

#[test]
fn a_lost_connection_is_tried_again_with_pauses_and_everything_is_read_again() {
    let mut stage = Stage::with_executions();
    stage.taken();
    let mut asked = 0;
    for _ in 0..300 {
        stage.pass(200);
        for wish in stage.taken() {
            if let Effect::Ask(request @ Request::Executions(_)) = wish {
                asked += 1;
                stage.send(Message::Trouble(request, Trouble::Lost("gone".to_owned())));
            }
        }
    }
    // A minute: after 2 s, then 1, 2, 4, 8, 10, 10 … seconds apart.
    assert!((6..=10).contains(&asked), "asked {asked} times");
    assert!(matches!(stage.model.link, Link::Lost { .. }));
    let query = filter::query("", 100);
    stage.answer(Answer::Executions(query, data::executions()));
    assert!(matches!(stage.model.link, Link::Back { .. }));
    stage.pass(200);
    assert!(
        stage
            .taken()
            .iter()
            .any(|wish| matches!(wish, Effect::Ask(Request::Executions(_))))
    );
    stage.pass(6_000);
    assert_eq!(stage.model.link, Link::Up);
}

#[test]
fn the_answer_to_an_older_filter_is_late() {
    let mut stage = Stage::with_executions();
    stage.keys(&["/"]);
    stage.types("state:FAILED");
    stage.keys(&["Enter"]);
    stage.answer(Answer::Executions(
        filter::query("", 100),
        data::executions(),
    ));
    assert!(stage.model.executions.rows.is_empty());
    stage.answer(Answer::Executions(
        filter::query("state:FAILED", 100),
        data::executions(),
    ));
    assert_eq!(stage.model.executions.rows.len(), 7);
}

#[test]
fn a_filter_is_what_the_server_understands() {
    let text = "state:FAILED s:killed flow:align label:a:b label:c:d new york x:y";
    let expected = [
        ("state", "FAILED,killed"),
        ("flow", "align"),
        ("label", "a:b,c:d"),
        ("q", "new york x:y"),
        ("limit", "100"),
    ];
    let expected = expected.map(|(key, value)| (key, value.to_owned()));
    assert_eq!(filter::query(text, 100), expected);
}

#[test]
fn the_chosen_row_stays_chosen_when_others_come_before_it() {
    let mut stage = Stage::with_executions();
    stage.keys(&["j", "j"]);
    let mut page = data::executions();
    let mut newer = page.items[0].clone();
    newer.id = "1m8b5a2cce5w9ezz".to_owned();
    page.items.insert(0, newer);
    stage.answer(Answer::Executions(filter::query("", 100), page));
    assert_eq!(stage.model.executions.current().unwrap().state, "PAUSED");
}

#[test]
fn leaving_an_execution_ends_its_streams() {
    let mut stage = Stage::in_failed();
    stage.taken();
    stage.keys(&["Esc"]);
    let wishes = stage.taken();
    assert!(
        wishes.contains(&Effect::Watch(None)) && wishes.contains(&Effect::Follow(None)),
        "{wishes:?}"
    );
    assert_eq!(stage.model.page, PageName::Executions);
    stage.keys(&["q"]);
    assert_eq!(stage.taken(), [Effect::Quit]);
}

#[test]
fn what_programs_wrote_cannot_move_the_cursor() {
    assert_eq!(
        clean("a\u{1b}[31;1mred\u{1b}[0m\u{1b}[2J\tb\r\u{7}\u{202e}c"),
        "ared    b  c"
    );
}
