#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let pairs = pairs.iter();
    pairs.map(|(a, b)| (a.into(), b.into())).collect()
}

fn write(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[tokio::test]
async fn the_environment_comes_before_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let text = "# comment\n\nA=file\nB=file\n export C = 'it # is' \nD=\"a\\n\\\"b\\\"\"\nE=a=b\n";
    write(directory.path(), "secrets.env", text, 0o600);
    let variables = variables(&[
        ("OPERON_SECRET_A", "plain"),
        ("SECRET_A", "!!"),
        ("SECRET_B", "ZW5j\nb2RlZA==\n"),
        ("OTHER", "x"),
    ]);
    let secrets = LocalSecrets::capture(variables, None, directory.path()).unwrap();
    let expected = [
        ("A", "plain"),
        ("a", "plain"),
        ("B", "encoded"),
        ("C", "it # is"),
        ("D", "a\n\"b\""),
        ("E", "a=b"),
    ];
    for (name, value) in expected {
        assert_eq!(secrets.secret("ns", name).await.unwrap(), value, "{name}");
    }
    let text = secrets.secret("ns", "token").await.unwrap_err().to_string();
    assert!(text.contains("OPERON_SECRET_TOKEN"), "{text}");
    assert!(!format!("{secrets:?}").contains("plain"));
}

#[tokio::test]
async fn namespaces_inherit_from_those_above() {
    let directory = tempfile::tempdir().unwrap();
    let text = r#"{"A": "all", "x": {"A": "x", "B": "bx"}, "x.y": {"A": "xy"}}"#;
    let path = write(directory.path(), "mine.json", text, 0o400);
    let secrets = LocalSecrets::capture([], Some(&path), directory.path()).unwrap();
    for (namespace, name, value) in [
        ("x.y.z", "A", "xy"),
        ("x.y", "A", "xy"),
        ("x.z", "A", "x"),
        ("x.y", "B", "bx"),
        ("xy", "A", "all"),
    ] {
        assert_eq!(secrets.secret(namespace, name).await.unwrap(), value);
    }
    assert!(secrets.secret("xy", "B").await.is_err());
}

#[tokio::test]
async fn a_variable_that_is_not_base64_fails_only_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let variables = variables(&[("SECRET_KEY", "not base64!")]);
    let secrets = LocalSecrets::capture(variables, None, directory.path()).unwrap();
    let text = secrets.secret("ns", "KEY").await.unwrap_err().to_string();
    assert!(text.contains("OPERON_SECRET_KEY"), "{text}");
    assert!(!text.contains("not base64!"), "{text}");
}

#[test]
fn bad_files_are_refused_without_showing_values() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let error = |path: &Path| {
        let captured = LocalSecrets::capture([], Some(path), root);
        captured.unwrap_err().to_string()
    };
    for mode in [0o640, 0o604, 0o622] {
        let text = error(&write(root, "a.env", "A=b", mode));
        assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
        assert!(text.contains("chmod 600"), "{text}");
    }
    for (name, content, place) in [
        ("b.env", "A=b\nhunter2\n", "b.env:2:"),
        ("c.env", "A='hunter2\n", "c.env:1:"),
        ("d.env", "A=\"hunter2\\q\"\n", "d.env:1:"),
        ("e.json", "{\"A\":\n hunter2}", "e.json:2:"),
        ("f.json", "{\"A\": [\"hunter2\"]}", "f.json:1:"),
    ] {
        let text = error(&write(root, name, content, 0o600));
        assert!(text.contains(place), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = error(&root.join("none.env"));
    assert!(text.contains("none.env"), "{text}");
    for name in FILES {
        write(root, name, "{}", 0o600);
    }
    let both = LocalSecrets::capture([], None, root).unwrap_err();
    assert!(both.to_string().contains("remove one"), "{both}");
}
