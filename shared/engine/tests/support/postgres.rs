//! A real `PostgreSQL` for one test: from `.tools/postgres-bin` (tests/tools/postgres.py puts it there, `make test` does
//! so), from `OPERON_TEST_POSTGRES`, or the one of the machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// `nobody`: the database refuses to be started by root.
const NOBODY: u32 = 65_534;

/// A server that ends with its owner.
pub(crate) struct Server {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory with `initdb` and `postgres`.
fn programs() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let given = std::env::var_os("OPERON_TEST_POSTGRES").map(PathBuf::from);
    given
        .into_iter()
        .chain([root.join(".tools/postgres-bin")])
        .chain(std::env::split_paths(&path))
        .filter_map(|directory| directory.join("initdb").canonicalize().ok())
        .filter_map(|program| program.parent().map(Path::to_owned))
        .find(|directory| directory.join("postgres").is_file())
        .expect("no PostgreSQL for this test; run `python3 tests/tools/postgres.py`, or name the directory of its programs in OPERON_TEST_POSTGRES")
}

impl Server {
    /// Starts one; it takes connections some time later.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let directory = TempDir::new().unwrap();
        let root = directory.path().metadata().unwrap().uid() == 0;
        if root {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .current_dir(directory.path());
            if root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let data = directory.path().join("data");
        let made = command("initdb")
            .arg("-D")
            .arg(&data)
            .args([
                "-U",
                "operon",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = command("postgres")
            .arg("-D")
            .arg(&data)
            .args([
                "-p",
                &port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-c", "fsync=off"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            _directory: directory,
        }
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A connection, once the server takes any.
    pub(crate) async fn client(&self) -> Client {
        let address = format!("postgresql://operon@127.0.0.1:{}/postgres", self.port);
        for _ in 0..600 {
            if let Ok((client, connection)) = tokio_postgres::connect(&address, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the database does not answer");
    }
}
