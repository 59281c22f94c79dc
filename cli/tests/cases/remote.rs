//! Commands that ask a server, with one on this machine.

use std::io::{Read as _, Write as _};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::lab::{Done, Lab, finish};

const PATIENCE: Duration = Duration::from_mins(1);
/// What the server says to people.
const SAID: &str = "server.err";

/// A flow that waits for typed values and says what it was told.
pub(super) const ASKS: &str = "
tasks:
  - id: decide
    type: pause
    onResume:
      - {id: release, type: STRING}
      - {id: copies, type: INT, defaults: 2}
  - id: publish
    type: shell
    env: {RELEASE: \"{{ outputs.decide.onResume.release }}\", COPIES: \"{{ outputs.decide.onResume.copies }}\"}
    script: echo \"$COPIES copies of $RELEASE\" | tee out.txt
    outputFiles: [out.txt]
";

/// A server on the lab's state directory; it ends with the test.
struct Served<'a> {
    lab: &'a Lab,
    server: Child,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = kill(
            Pid::from_raw(i32::try_from(self.server.id()).unwrap()),
            Signal::SIGTERM,
        );
        let _ = self.server.wait();
    }
}

impl<'a> Served<'a> {
    fn new(lab: &'a Lab) -> Self {
        let mut command = lab.command(&["server", "--listen", "127.0.0.1:0", "--flows", "."]);
        // Nobody reads what it says while it works: a pipe would fill.
        let said = std::fs::File::create(lab.path().join(SAID)).unwrap();
        let child = command
            .stdout(std::process::Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        let made = Self { lab, server: child };
        Self::until("the server is there", || {
            lab.path()
                .join(".operon/server.json")
                .exists()
                .then_some(())
        });
        made
    }

    fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "never: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn operon(&self, args: &[&str]) -> Done {
        self.lab.operon(args)
    }

    /// The same, asked over HTTP as from another machine.
    fn elsewhere(&self, args: &[&str]) -> Done {
        let text = std::fs::read_to_string(self.lab.path().join(".operon/server.json")).unwrap();
        let server: Value = serde_json::from_str(&text).unwrap();
        let mut command = self.lab.command(args);
        for (name, field) in [("OPERON_URL", "url"), ("OPERON_TOKEN", "token")] {
            command.env(name, server[field].as_str().unwrap());
        }
        finish(command.spawn().unwrap())
    }

    /// The answer as JSON of a command that must succeed.
    fn json(&self, args: &[&str]) -> Value {
        let done = self.operon(&[args, &["-o", "json"]].concat());
        assert_eq!(done.code, Some(0), "{args:?}: {done}");
        done.json()
    }

    fn start(&self, flow: &str) -> String {
        let started = self.json(&["flows", "start", flow]);
        started["id"].as_str().unwrap().to_owned()
    }

    fn wait(&self, id: &str, state: &str) -> Value {
        Self::until(state, || {
            let shown = self.json(&["executions", "show", id]);
            (shown["state"] == json!(state)).then_some(shown)
        })
    }
}

#[test]
fn a_pause_takes_typed_values_and_what_is_wrong_is_refused() {
    let lab = Lab::new();
    lab.flow("asks", ASKS);
    let served = Served::new(&lab);
    let id = served.start("lab/asks");
    served.wait(&id, "PAUSED");
    let missing = served.operon(&["executions", "resume", &id]);
    assert_eq!(missing.code, Some(2), "{missing}");
    let wrong = [
        "executions",
        "resume",
        &id,
        "-i",
        "release=a",
        "-i",
        "copies=many",
    ];
    let wrong = served.operon(&wrong);
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(wrong.err.contains("copies"), "{wrong}");
    let resumed = served.json(&[
        "executions",
        "resume",
        &id,
        "-i",
        "release=2026-11",
        "-i",
        "copies=3",
    ]);
    assert_eq!(resumed, json!({"resumed": 1}));
    served.wait(&id, "SUCCESS");
    let value = served.json(&[
        "executions",
        "evaluate",
        &id,
        "{{ outputs.decide.onResume.copies + 1 }}",
    ]);
    assert_eq!(value, json!({"result": 4}));
    // A pause keeps the time at which it began.
    let shown = served.json(&["executions", "show", &id]);
    let decide = shown["taskRuns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["id"] == "decide")
        .unwrap();
    assert!(
        decide["started"].as_str() < decide["ended"].as_str(),
        "{decide}"
    );

    let files = served.json(&["artifacts", "list", &id]);
    let uri = files["items"][0]["uri"].as_str().unwrap();
    let preview = served.json(&["artifacts", "preview", uri]);
    assert_eq!(preview["text"], "3 copies of 2026-11\n");
    let saved = served.json(&["artifacts", "download", uri, "--to", "here.txt"]);
    assert_eq!(saved["bytes"], json!(20));
    assert_eq!(
        std::fs::read_to_string(lab.path().join("here.txt")).unwrap(),
        "3 copies of 2026-11\n"
    );
    let again = served.operon(&["artifacts", "download", uri, "--to", "here.txt"]);
    assert_eq!(
        again.code,
        Some(2),
        "what is there is not overwritten: {again}"
    );

    let audit = served.json(&["audit", "--limit", "10"]);
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["action"].as_str().unwrap())
        .collect();
    assert!(actions.contains(&"execution.resume"), "{actions:?}");
    let logs = ["executions", "logs", &id];
    let log = served
        .elsewhere(&[&logs[..], &["-o", "json"]].concat())
        .json();
    let lines = log["lines"].as_array().unwrap();
    let said = |line: &&Value| line["text"] == "3 copies of 2026-11";
    assert_eq!(lines.iter().filter(said).count(), 1, "{log}");
    let ndjson = ["-f", "--search", "COPIES OF", "-o", "ndjson"];
    let found = served.elsewhere(&[&logs[..], &ndjson].concat());
    let line: Value = serde_json::from_str(found.out.trim()).unwrap();
    assert_eq!(line["text"], "3 copies of 2026-11", "{found}");
    let last = served.elsewhere(&[&logs[..], &["publish", "--tail", "1"]].concat());
    assert_eq!(last.out.lines().count(), 1, "{last}");
    let endless = served.elsewhere(&[&logs[..], &["-f", "-o", "json"]].concat());
    assert_eq!(endless.code, Some(2), "{endless}");
    let overview = served.json(&["overview"]);
    assert_eq!(overview["counts"], json!({"SUCCESS": 1}));
}

#[test]
fn an_action_on_many_says_first_what_it_would_do() {
    let lab = Lab::new();
    lab.flow("asks", &format!("concurrency: {{limit: 1}}\n{ASKS}"));
    let served = Served::new(&lab);
    let (first, second) = (served.start("lab/asks"), served.start("lab/asks"));
    served.wait(&first, "PAUSED");
    served.wait(&second, "QUEUED");
    let locks = served.json(&["locks"]);
    let lock = json!({
        "name": "lab/asks", "limit": 1, "owners": [{"execution": first, "quarantinedUntilMs": null}], "queue": [second],
    });
    assert_eq!(locks["items"], json!([lock]));
    let list = ["executions", "list", "--limit"];
    let one = served.elsewhere(&[&list[..], &["1"]].concat());
    assert!(one.err.contains("more than these 1"), "{one}");
    let both = served.elsewhere(&[&list[..], &["5000"]].concat());
    assert_eq!((both.code, both.err.as_str()), (Some(0), ""), "{both}");
    let nothing = served.operon(&["executions", "bulk", "kill"]);
    assert_eq!(nothing.code, Some(2), "not everything there is: {nothing}");
    let kill = [
        "executions",
        "bulk",
        "kill",
        "--flow",
        "asks",
        "--state-is",
        "QUEUED",
    ];
    let preview = served.json(&[&kill[..], &["--dry-run"]].concat());
    assert_eq!(
        (&preview["done"], &preview["matched"]),
        (&json!(1), &json!(1))
    );
    served.wait(&second, "QUEUED");
    let report = served.json(&kill);
    assert_eq!(report["done"], json!(1));
    Served::until("it is over", || {
        let state = served.json(&["executions", "show", &second])["state"].clone();
        (state == "KILLED" || state == "CANCELLED").then_some(())
    });
    let report = served.json(&["executions", "bulk", "kill", &second]);
    assert!(
        report["skipped"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("is over"),
        "{report}"
    );
    let replay = ["executions", "bulk", "replay", &second, "--from", "decide"];
    let report = served.json(&replay);
    assert_eq!(report["started"].as_array().unwrap().len(), 1, "{report}");
}

#[test]
fn without_a_terminal_the_console_in_it_says_what_prints_the_same() {
    let lab = Lab::new();
    let top = lab.operon(&["top"]);
    assert_eq!(top.code, Some(2), "{top}");
    assert!(top.err.contains("operon executions list"), "{top}");
}

#[test]
fn files_are_deployed_beside_a_flow_and_stay_until_others_are() {
    let lab = Lab::new();
    let flow = "tasks:\n  - id: say\n    type: shell\n    namespaceFiles: {enabled: true}\n    script: cat words/greeting.txt\n    outputFiles: [words/greeting.txt]\n";
    std::fs::create_dir_all(lab.path().join("beside/words")).unwrap();
    let greeting = lab.path().join("beside/words/greeting.txt");
    std::fs::write(&greeting, "hello\n").unwrap();
    let served = Served::new(&lab);
    // Not below the directory that the server deploys by itself.
    let file = lab.path().join("apart.yaml");
    std::fs::write(&file, format!("id: apart\nnamespace: lab\n{flow}")).unwrap();
    let deploy = |more: &[&str]| {
        let args = [&["flows", "deploy", "apart.yaml"], more].concat();
        served.json(&args)
    };
    let said = || {
        let id = served.start("lab/apart");
        served.wait(&id, "SUCCESS");
        served.operon(&["executions", "logs", &id]).out
    };
    assert_eq!(deploy(&["--files", "beside"])["revision"], json!(1));
    assert!(said().contains("hello"));
    // Others are another revision; a text alone leaves them as they are.
    std::fs::write(&greeting, "good evening\n").unwrap();
    assert_eq!(deploy(&["--files", "beside"])["revision"], json!(2));
    assert!(said().contains("good evening"));
    std::fs::remove_file(&greeting).unwrap();
    assert_eq!(deploy(&[])["changed"], json!(false));
    assert!(said().contains("good evening"));
    // They are part of the revision, so they come back with it.
    served.json(&["flows", "rollback", "lab/apart", "--to", "1"]);
    assert!(said().contains("hello"));
}

#[test]
fn triggers_that_only_aws_fires_say_so_wherever_one_looks() {
    let lab = Lab::new();
    let rest = "tasks:\n  - {id: t, type: log, message: x}\ntriggers:\n  - {id: events, type: sqs, queueUrl: \"https://sqs.eu-central-1.amazonaws.com/1/q\"}\n";
    lab.flow("first", rest);
    let served = Served::new(&lab);
    let reason = "only a deployment on AWS hears of what fires `sqs` triggers";
    // It is there before it has said so.
    let expected = format!("trigger `lab/first/events`: {reason}");
    Served::until("the warning of the server", || {
        let said = std::fs::read_to_string(lab.path().join(SAID)).unwrap();
        said.contains(&expected).then_some(())
    });
    let second = format!("id: second\nnamespace: lab\n{rest}");
    std::fs::write(lab.path().join("second.txt"), second).unwrap();
    let done = served.operon(&["flows", "deploy", "second.txt"]);
    assert_eq!(done.code, Some(0), "{done}");
    let expected = format!("second.txt:5:1: trigger `events`: {reason}");
    assert!(done.err.contains(&expected), "{done}");
    let listed = served.operon(&["triggers", "list"]);
    assert_eq!(listed.out.matches(reason).count(), 2, "{listed}");
    let listed = served.json(&["triggers", "list"]);
    for trigger in listed["items"].as_array().unwrap() {
        assert!(
            trigger["lastError"].as_str().unwrap().contains(reason),
            "{listed}"
        );
    }
}

#[test]
fn a_webhook_answers_in_the_content_type_of_its_flow() {
    let lab = Lab::new();
    let rest = "tasks:\n  - {id: t, type: return, format: plain words}\noutputs:\n  - {id: text, type: STRING, value: \"{{ outputs.t.value }}\"}\n\
                triggers:\n  - {id: hook, type: webhook, key: abcdefghijklmnopqrst, returnOutputs: true, responseContentType: text/csv}\n";
    lab.flow("hooked", rest);
    let _served = Served::new(&lab);
    let told = std::fs::read_to_string(lab.path().join(".operon/server.json")).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let address = told["url"].as_str().unwrap();
    let address = address.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let path = "/api/v1/webhooks/lab/hooked/abcdefghijklmnopqrst";
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/csv\r\n"), "{answer}");
    assert!(
        answer.ends_with("plain words") || answer.contains("\r\nplain words"),
        "{answer}"
    );
}

#[test]
fn a_file_is_uploaded_for_an_input() {
    let lab = Lab::new();
    let rest = "inputs: [{id: letter, type: FILE}]\ntasks:\n  - {id: t, type: log, message: \"{{ inputs.letter }} {{ read(inputs.letter) }}\"}\n";
    lab.flow("postman", rest);
    let served = Served::new(&lab);
    std::fs::write(lab.path().join("a letter.txt"), "dear all").unwrap();
    let started = served.json(&["flows", "start", "lab/postman", "-f", "letter=a letter.txt"]);
    let id = started["id"].as_str().unwrap();
    served.wait(id, "SUCCESS");
    let said = served.operon(&["executions", "logs", id]).out;
    assert!(said.contains("/a_letter.txt dear all"), "{said}");
    let both = [
        "flows",
        "start",
        "lab/postman",
        "-f",
        "letter=a letter.txt",
        "--idempotency-key",
        "x",
    ];
    assert!(served.operon(&both).err.contains("cannot go with"));
    let done = served.operon(&["flows", "start", "lab/postman", "-f", "letter=none.txt"]);
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.err.contains("none.txt cannot be read"), "{done}");
}

#[test]
fn an_event_of_aws_can_be_delivered_by_hand() {
    let lab = Lab::new();
    let rest = "inputs: [{id: word, type: STRING}]\ntasks:\n  - {id: t, type: log, message: \"{{ inputs.word }}\"}\n\
                triggers:\n  - {id: events, type: sqs, queueUrl: \"https://sqs.eu-central-1.amazonaws.com/1/q\", inputs: {word: \"{{ trigger.body }}\"}}\n";
    lab.flow("reader", rest);
    let served = Served::new(&lab);
    let event = |arn: &str| {
        let record = json!({"eventSource": "aws:sqs", "eventSourceARN": arn, "messageId": "m1", "body": "a letter"});
        std::fs::write(
            lab.path().join("event.json"),
            json!({"Records": [record]}).to_string(),
        )
        .unwrap();
        served.json(&["triggers", "send", "event.json"])
    };
    let sent = event("arn:aws:sqs:eu-central-1:1:q");
    let item = &sent["items"][0];
    assert_eq!(item["state"], json!("started"), "{sent}");
    let id = item["execution"].as_str().unwrap();
    served.wait(id, "SUCCESS");
    let said = served.operon(&["executions", "logs", id]).out;
    assert!(said.contains("a letter"), "{said}");
    // The same event is the same execution, and another queue is nobody's.
    assert_eq!(
        event("arn:aws:sqs:eu-central-1:1:q")["items"][0]["execution"],
        json!(id)
    );
    assert_eq!(
        event("arn:aws:sqs:eu-central-1:1:other")["items"],
        json!([])
    );
    std::fs::write(lab.path().join("event.json"), "{\"operon\": \"look\"}").unwrap();
    let done = served.operon(&["triggers", "send", "event.json"]);
    assert_ne!(done.code, Some(0), "{done}");
    assert!(done.err.contains("not an event of S3"), "{done}");
}
