//! Invariant 8 for what is derived from a secret: each form is masked in logs, outputs, state, alerts and pages.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::lab::Lab;

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(2);

const SECRET: &str = "s3cr3t/Va+lue of-the-test";

/// What the flow makes of it, by variable.
const FORMS: &[(&str, &str, &str)] = &[
    ("PLAIN", "secret('TOKEN')", SECRET),
    (
        "UPPER",
        "secret('TOKEN') | upper",
        "S3CR3T/VA+LUE OF-THE-TEST",
    ),
    (
        "LOWER",
        "secret('TOKEN') | lower",
        "s3cr3t/va+lue of-the-test",
    ),
    (
        "BASE64",
        "secret('TOKEN') | base64encode",
        "czNjcjN0L1ZhK2x1ZSBvZi10aGUtdGVzdA==",
    ),
    ("JOINED", "'begin-' ~ secret('TOKEN') ~ '-end'", SECRET),
    ("JSON", "[secret('TOKEN')] | toJson", SECRET),
    ("URL", "secret('TOKEN') | urlencode", "s3cr3t%2FVa%2Blue"),
];

fn flow(hook: u16) -> String {
    let (mut env, mut words, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
    for (name, expression, _) in FORMS {
        env.push(format!("      {name}: \"{{{{ {expression} }}}}\"\n"));
        words.push(format!(" {name}=${name}"));
        if *name != "JSON" {
            // A line of JSON, made by a shell.
            outputs.push(format!("\\\"{name}\\\":\\\"${name}\\\""));
        }
    }
    let (env, words) = (env.concat(), words.concat());
    format!(
        "notify: [{{id: hook, webhook: {{url: \"http://127.0.0.1:{hook}/\"}}}}]\n\
         tasks:\n  - id: told\n    type: io.kestra.plugin.core.debug.Return\n    format: \"{{{{ secret('TOKEN') | upper }}}}\"\n\
         \x20 - id: leak\n    type: shell\n    env:\n{env}    script: |\n      echo \"the forms are{words}\"\n\
         \x20     echo \"::{{\\\"outputs\\\":{{{}}}}}::\"\n      exit 3\n",
        outputs.join(",")
    )
}

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(host: &str, token: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The message that the flow's channel gets.
fn alert(listener: &TcpListener) -> String {
    listener.set_nonblocking(true).unwrap();
    let until = Instant::now() + PATIENCE;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) => assert!(Instant::now() < until, "nobody was told"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = number.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    reader
        .get_mut()
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .unwrap();
    head + &String::from_utf8_lossy(&body)
}

fn hides(place: &str, text: &str) {
    for (name, _, form) in FORMS {
        assert!(!text.contains(form), "{name} is in {place}: {text}");
    }
}

fn hidden_below(directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hidden_below(&path);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        for (name, _, form) in FORMS {
            let found = bytes
                .windows(form.len())
                .any(|part| part == form.as_bytes());
            assert!(!found, "{name} is in {}", path.display());
        }
    }
}

#[test]
fn every_form_of_a_secret_is_masked_in_logs_outputs_state_alerts_and_pages() {
    let lab = Lab::new();
    let hook = TcpListener::bind("127.0.0.1:0").unwrap();
    lab.write(
        "flows/forms.yaml",
        &format!(
            "id: forms\nnamespace: lab\n{}",
            flow(hook.local_addr().unwrap().port())
        ),
    );
    let mut command = lab.command(&["server", "--listen", "127.0.0.1:0", "--flows", "flows"]);
    let mut server = Server(command.env("OPERON_SECRET_TOKEN", SECRET).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let (host, token) = first
        .trim()
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once("/?token="))
        .unwrap_or_else(|| panic!("{first}"));

    let started = lab.operon(&["flows", "start", "lab/forms", "-o", "json"]);
    assert_eq!(started.code, Some(0), "{started}");
    let id = started.json()["id"].as_str().unwrap().to_owned();
    let told = alert(&hook);
    assert!(
        told.contains("lab/forms failed") && told.contains("the forms are"),
        "{told}"
    );
    hides("the alert", &told);

    for page in [
        String::new(),
        "/task-runs".to_owned(),
        "/logs?limit=1000".to_owned(),
        "/logs/download".to_owned(),
        "/metrics".to_owned(),
        "/graph".to_owned(),
        "/artifacts".to_owned(),
    ] {
        let path = format!("/api/v1/executions/{id}{page}");
        let answer = get(host, token, &path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        hides(&path, &answer);
    }
    for path in [
        "/api/v1/metrics",
        "/api/v1/audit",
        "/api/v1/namespaces/lab/incidents",
        "/api/v1/flows/lab/forms",
    ] {
        hides(path, &get(host, token, path));
    }
    let runs = get(host, token, &format!("/api/v1/executions/{id}/task-runs"));
    let (_, body) = runs.split_once("\r\n\r\n").unwrap();
    let body = body
        .get(body.find('{').unwrap()..=body.rfind('}').unwrap())
        .unwrap();
    let runs: Value = serde_json::from_str(body).unwrap();
    let leak = runs["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|run| run["task"] == "leak")
        .unwrap();
    for (name, ..) in FORMS.iter().filter(|(name, ..)| *name != "JSON") {
        let value = leak["outputs"]["vars"][name]
            .as_str()
            .or(leak["outputs"][name].as_str());
        assert!(
            value.unwrap_or_else(|| panic!("{leak}")).contains("******"),
            "{name}: {leak}"
        );
    }
    let log = get(
        host,
        token,
        &format!("/api/v1/executions/{id}/logs/download"),
    );
    for (name, ..) in FORMS {
        assert!(
            log.contains(&format!("{name}=")),
            "{name} was logged: {log}"
        );
    }
    drop(server);
    hidden_below(&lab.path().join(".operon"));
}
