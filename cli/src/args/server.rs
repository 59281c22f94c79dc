//! `operon server`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::EngineArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct ServerArgs {
    /// Where to listen; only addresses of this machine are taken. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8585", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
    /// Deploys the flow files in this directory and below it when the server starts.
    #[arg(long, value_name = "DIR")]
    pub(crate) flows: Option<PathBuf>,
    /// Watches this directory in the place of a bucket; other buckets are directories of their names below
    /// `buckets` of the state directory.
    #[arg(long = "bucket", value_name = "NAME=DIR", value_parser = bucket)]
    pub(crate) buckets: Vec<(String, PathBuf)>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

fn bucket(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, directory)) if !name.is_empty() && !directory.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(directory)))
        }
        _ => Err("write it as `name=directory`".to_owned()),
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "write it as `127.0.0.1:8585`".to_owned())?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(
        "the server is for this machine only: listen on 127.0.0.1, and let others reach it through a tunnel"
            .to_owned(),
    )
}
