//! Logins at registries: what a container engine is sent, and that nobody else sees it.
//!
//! The engine is a stand-in behind a Unix socket. It has no image, and its registry refuses every pull, loudly.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::lab::{Done, Lab, finish};
use super::secrets::holding;

/// With characters that the two alphabets of base64 write differently.
const PASSWORD: &str = "s3cr3t>>>???~~~of-the-registry";

/// A request: its first line, and the login that came with it.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Listens until the test is over; gives what it is asked.
fn engine(socket: &Path) -> Seen {
    let (listener, seen) = (UnixListener::bind(socket).unwrap(), Seen::default());
    let all = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), all.clone());
            std::thread::spawn(move || answer(stream, &seen));
        }
    });
    seen
}

fn answer(stream: UnixStream, seen: &Seen) {
    let mut output = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let header = |name: &str| {
            let mut pairs = lines.iter().filter_map(|line| line.split_once(": "));
            let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        let request = lines[0].clone();
        seen.lock()
            .unwrap()
            .push((request.clone(), header("x-registry-auth")));
        let (status, text) = if request.contains("/version ") {
            (200, json!({"ApiVersion": "1.47", "Version": "27.0.0"}))
        } else if request.contains("/images/create") {
            (
                200,
                json!({"error": format!("denied: {PASSWORD} is wrong")}),
            )
        } else if request.contains("/containers/json") {
            (200, json!([]))
        } else {
            (404, json!({"message": "no such image"}))
        };
        let text = format!("{text}\r\n");
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        output
            .write_all(format!("{head}{text}").as_bytes())
            .unwrap();
    }
}

/// What base64 with the alphabet for addresses says. Anything else is not read, as Docker does not.
fn decoded(text: &str) -> Value {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for c in text.trim_end_matches('=').chars() {
        bits = bits << 6 | u32::try_from(ALPHABET.find(c).expect("another alphabet")).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

/// Runs a task of an image with this login; gives what happened and the logins of all pulls.
fn run(lab: &Lab, image: &str, credentials: &str) -> (Done, Vec<Option<String>>) {
    let socket = lab.path().join("engine.sock");
    let _ = fs::remove_file(&socket);
    let seen = engine(&socket);
    lab.flow(
        "pulls",
        &format!(
            "tasks:\n  - id: pull\n    type: container\n    containerImage: {image}\n    taskRunner:\n      type: docker\n{credentials}"
        ),
    );
    let done = lab
        .command(&["run", "pulls.yaml"])
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("OPERON_SECRET_PASSWORD", PASSWORD)
        .env(
            "OPERON_SECRET_LOGIN",
            json!({"username": "robot", "password": PASSWORD}).to_string(),
        )
        .spawn();
    let done = finish(done.unwrap());
    let seen = seen.lock().unwrap().clone();
    for (request, login) in &seen {
        assert!(
            login.is_none() || request.contains("/images/create"),
            "{request}"
        );
    }
    let pulls = seen.into_iter();
    let pulls = pulls.filter(|(request, _)| request.contains("/images/create"));
    (done, pulls.map(|(_, login)| login).collect())
}

#[test]
fn a_login_is_sent_with_the_pull_and_is_nowhere_else() {
    let lab = Lab::new();
    for (credentials, expected) in [
        (
            "      credentials: {username: robot, password: \"{{ secret('PASSWORD') }}\"}\n",
            json!({"username": "robot", "password": PASSWORD, "serveraddress": "ghcr.io"}),
        ),
        (
            "      credentials: {registry: \"https://ghcr.io\", login: \"{{ secret('LOGIN') }}\"}\n",
            json!({"username": "robot", "password": PASSWORD, "serveraddress": "ghcr.io"}),
        ),
        (
            "      credentials: {identityToken: \"{{ secret('PASSWORD') }}\"}\n",
            json!({"identitytoken": PASSWORD, "serveraddress": "ghcr.io"}),
        ),
    ] {
        let (done, pulls) = run(&lab, "ghcr.io/example/private:1", credentials);
        assert_eq!(done.code, Some(1), "{done}");
        assert!(done.to_string().contains("denied"), "{done}");
        assert!(!done.to_string().contains(PASSWORD), "{done}");
        assert!(!pulls.is_empty(), "{done}");
        for login in pulls {
            assert_eq!(decoded(&login.unwrap()), expected);
        }
    }
    let mut found = Vec::new();
    holding(&lab.path().join(".operon"), PASSWORD, &mut found);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_login_goes_to_no_other_registry_and_nobody_needs_one() {
    let lab = Lab::new();
    let other = "      credentials: {registry: ghcr.io, login: \"{{ secret('LOGIN') }}\"}\n";
    let (done, pulls) = run(&lab, "quay.io/example/private:1", other);
    assert_eq!((done.code, pulls.len()), (Some(1), 0), "{done}");
    assert!(done.to_string().contains("its own registry only"), "{done}");
    let (done, pulls) = run(&lab, "quay.io/example/public:1", "");
    assert_eq!(done.code, Some(1), "{done}");
    assert!(
        !pulls.is_empty() && pulls.iter().all(Option::is_none),
        "{done}"
    );
}
