//! Invariant 8 for what is derived from a secret: each form is masked in logs, outputs, state, alerts and pages.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;

use super::lab::Lab;

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(2);

/// With what JSON, addresses and shells write differently.
const SECRET: &str = r#"s3cr3t/Va+lue "of" the\test"#;

/// What the flow makes of it: name, expression, and what must be seen nowhere.
const FORMS: &[(&str, &str, &str)] = &[
    ("PLAIN", "secret('TOKEN')", SECRET),
    (
        "UPPER",
        "secret('TOKEN') | upper",
        r#"S3CR3T/VA+LUE "OF" THE\TEST"#,
    ),
    (
        "LOWER",
        "secret('TOKEN') | lower",
        r#"s3cr3t/va+lue "of" the\test"#,
    ),
    (
        "BASE64",
        "secret('TOKEN') | base64encode",
        "czNjcjN0L1ZhK2x1ZSAib2YiIHRoZVx0ZXN0",
    ),
    ("JOINED", "'begin-' ~ secret('TOKEN') ~ '-end'", SECRET),
    (
        "JSON",
        "[secret('TOKEN')] | toJson",
        r#"s3cr3t/Va+lue \"of\" the\\test"#,
    ),
    ("URL", "secret('TOKEN') | urlencode", "s3cr3t%2FVa%2Blue"),
];

/// Each form goes into the log, into outputs of a task by the protocol of programs, as text and inside JSON, and into
/// outputs of the flow by an expression.
fn flow(hook: u16) -> String {
    let (mut env, mut words, mut told) = (Vec::new(), Vec::new(), Vec::new());
    let (mut outputs, mut within) = (Vec::new(), Vec::new());
    for (name, expression, _) in FORMS {
        env.push(format!(
            "      {name}: \"{{{{ {expression} }}}}\"\n      {name}_J: \"{{{{ {expression} | toJson }}}}\"\n"
        ));
        words.push(format!(" {name}=${name}"));
        told.push(format!("\\\"{name}\\\":${name}_J"));
        outputs.push(format!(
            "  - {{id: {name}, type: STRING, value: \"{{{{ {expression} }}}}\"}}\n"
        ));
        within.push(format!("{name}: \"{{{{ {expression} }}}}\""));
    }
    let told = told.join(",");
    format!(
        "notify:\n  - {{id: hook, webhook: {{url: \"http://127.0.0.1:{hook}/\"}}}}\n  - {{id: mail, email: {{to: [ops@example.org]}}}}\n\
         tasks:\n  - id: told\n    type: io.kestra.plugin.core.debug.Return\n    format: \"{{{{ secret('TOKEN') | upper }}}}\"\n\
         \x20 - id: leak\n    type: shell\n    env:\n{}    script: |\n      printf '%s\\n' \"the forms are{}\"\n\
         \x20     printf '%s\\n' \"::{{\\\"outputs\\\":{{{told},\\\"LIST\\\":[$JSON],\\\"DEEP\\\":{{{told}}}}}}}::\"\n      exit 3\n\
         outputs:\n{}  - {{id: DEEP, type: JSON, value: {{{}}}}}\n",
        env.concat(),
        words.concat(),
        outputs.concat(),
        within.join(", ")
    )
}

/// Ends the server with the test.
pub(super) struct Server(pub(super) Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(host: &str, token: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
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

/// A form as it may stand in a place: as it is, in JSON, in HTML.
fn written(form: &str) -> [String; 3] {
    let json = Value::from(form).to_string();
    let html = form.replace('&', "&amp;").replace('"', "&quot;");
    [form.to_owned(), json.trim_matches('"').to_owned(), html]
}

fn hides(place: &str, text: &str) {
    for (name, _, form) in FORMS {
        for form in written(form) {
            assert!(!text.contains(&form), "{name} is in {place}: {text}");
        }
    }
}

/// Each form has been there, and is not to be seen.
fn masks(place: &str, text: &str) {
    hides(place, text);
    for (name, ..) in FORMS {
        let shown = text.match_indices(&format!("{name}=")).any(|(at, _)| {
            let rest = text.get(at..).unwrap_or_default();
            rest.chars()
                .take(name.len() + 12)
                .collect::<String>()
                .contains("***")
        });
        assert!(shown, "{name} never came to {place}: {text}");
    }
}

/// Each form is a masked output.
fn masked_outputs(place: &str, outputs: &Value) {
    for (name, ..) in FORMS {
        for value in [&outputs[name], &outputs["DEEP"][name]] {
            let text = value
                .as_str()
                .unwrap_or_else(|| panic!("{place}: {outputs}"));
            assert!(text.contains("******"), "{name} in {place}: {outputs}");
        }
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
        hides(
            &path.display().to_string(),
            &String::from_utf8_lossy(&bytes),
        );
    }
}

/// A mail server that takes everything, and what it took, decoded.
struct Mail {
    port: u16,
    taken: mpsc::Receiver<String>,
}

impl Mail {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, taken) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = mail(stream, &sender);
            }
        });
        Self { port, taken }
    }
}

fn mail(stream: TcpStream, taken: &mpsc::Sender<String>) -> std::io::Result<()> {
    let mut write = stream.try_clone()?;
    write.write_all(b"220 test\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        let answer: &[u8] = match line.get(..4).unwrap_or_default() {
            "DATA" => {
                write.write_all(b"354 go on\r\n")?;
                let mut data = Vec::new();
                while let Some(line) = lines.next().transpose()?.filter(|line| line != ".") {
                    data.push(line);
                }
                let _ = taken.send(readable(&data.join("\n")));
                b"250 taken\r\n"
            }
            "QUIT" => return write.write_all(b"221 bye\r\n"),
            _ => b"250 ok\r\n",
        };
        write.write_all(answer)?;
    }
    Ok(())
}

/// A message whose body is what people read.
fn readable(data: &str) -> String {
    let (head, body) = data.split_once("\n\n").unwrap_or((data, ""));
    if head.contains("base64") {
        let packed: String = body.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
        return format!("{head}\n\n{}", String::from_utf8_lossy(&bytes.unwrap()));
    }
    let body = body.replace("=\n", "");
    format!("{head}\n\n{}", body.replace("=3D", "="))
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
    let mail = Mail::start();
    let mut command = lab.command(&["server", "--listen", "127.0.0.1:0", "--flows", "flows"]);
    command
        .env("OPERON_SECRET_TOKEN", SECRET)
        .env("OPERON_SMTP_URL", format!("smtp://127.0.0.1:{}", mail.port))
        .env("OPERON_MAIL_FROM", "operon@example.org");
    let mut server = Server(command.spawn().unwrap());
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
    let text = told.replace("\\\"", "\"");
    assert!(told.contains("lab/forms failed"), "{told}");
    hides("the alert", &told);
    masks("the alert", &text);
    let letter = mail.taken.recv_timeout(PATIENCE).unwrap();
    assert!(letter.contains("lab/forms failed"), "{letter}");
    masks("the e-mail", &letter);

    let own = |page: &str| format!("/api/v1/executions/{id}{page}");
    for page in ["/logs?limit=1000", "/logs/download", "/logs/stream"] {
        let answer = get(host, token, &own(page));
        assert!(answer.starts_with("HTTP/1.1 200"), "{page}: {answer}");
        hides(page, &answer);
        masks(page, &answer.replace("\\\"", "\""));
    }
    for path in [
        own(""),
        own("/task-runs"),
        own("/events"),
        own("/metrics"),
        own("/graph"),
        own("/artifacts"),
        format!("/executions/{id}"),
        "/api/v1/executions?q=the%20forms".to_owned(),
        "/api/v1/overview".to_owned(),
        "/api/v1/metrics".to_owned(),
        "/api/v1/audit".to_owned(),
        "/api/v1/dead-letters".to_owned(),
        "/api/v1/namespaces/lab/incidents".to_owned(),
        "/api/v1/flows/lab/forms".to_owned(),
        "/api/v1/flows/lab/forms/source".to_owned(),
    ] {
        let answer = get(host, token, &path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        hides(&path, &answer);
    }
    let runs = body(&get(host, token, &own("/task-runs")));
    let mut runs = runs["items"].as_array().unwrap().iter();
    let leak = runs.find(|run| run["task"] == "leak").unwrap();
    let vars = &leak["outputs"]["vars"];
    masked_outputs("a task run", vars);
    assert!(vars["LIST"].to_string().contains("******"), "{vars}");
    masked_outputs(
        "the execution",
        &body(&get(host, token, &own("")))["outputs"],
    );
    // What people see in a terminal; what asks for the secret itself is refused.
    for (arguments, code) in [
        (&["executions", "logs", &id][..], Some(0)),
        (&["executions", "show", &id], Some(0)),
        (&["executions", "show", &id, "-o", "json"], Some(0)),
        (
            &["executions", "evaluate", &id, "{{ outputs.leak.vars }}"],
            Some(0),
        ),
        (
            &[
                "executions",
                "evaluate",
                &id,
                "{{ secret('TOKEN') | upper }}",
            ],
            Some(2),
        ),
    ] {
        let done = lab.operon(arguments);
        assert_eq!(done.code, code, "{arguments:?}: {done}");
        hides(&format!("{arguments:?}"), &done.to_string());
    }
    drop(server);
    hidden_below(&lab.path().join(".operon"));
}

/// The document of an answer.
fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let ends = (body.find('{').unwrap(), body.rfind('}').unwrap());
    serde_json::from_str(body.get(ends.0..=ends.1).unwrap()).unwrap()
}
