//! Embeds the console's files, so that the binary needs nothing beside it. Without them it still builds.
#![allow(
    clippy::print_stdout,
    reason = "a build script talks to cargo by lines"
)]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("../../web/dist");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    collect(&dist, &dist, &mut files);
    files.sort();
    let mut code =
        String::from("/// The console's files.\npub(crate) const ASSETS: &[Asset] = &[\n");
    for (name, path) in files {
        let Ok(bytes) = fs::read(&path) else { continue };
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        // Writing to a string cannot fail.
        let _ = writeln!(
            code,
            "    Asset {{ path: {name:?}, bytes: include_bytes!({:?}), etag: {tag:?} }},",
            path.display().to_string()
        );
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    if let Err(error) = fs::write(out.join("console.rs"), code) {
        println!("cargo:error=the console's files cannot be embedded: {error}");
    }
}

fn collect(top: &Path, directory: &Path, files: &mut Vec<(String, PathBuf)>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(top, &path, files);
        } else if let (Ok(name), Ok(full)) = (path.strip_prefix(top), path.canonicalize()) {
            // Source maps are for who builds the console.
            if path.extension().is_none_or(|extension| extension != "map") {
                files.push((name.display().to_string(), full));
            }
        }
    }
}
