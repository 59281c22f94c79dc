//! Commands about one flow file: `fmt`, `graph`, `explain-plan`.

use std::io::{Read as _, Write as _};
use std::path::Path;

use operon_core::draw;
use operon_core::lang::format::{FormatOptions, format, left_over};
use operon_core::lang::yaml::DOCUMENT_BYTES_MAX;
use operon_core::plan;
use operon_local::flows::read_document;

use crate::args::{ExplainArgs, FmtArgs, GraphArgs, GraphFormat, PlanOutput, SpecVersion};
use crate::diagnostics::Checked;
use crate::exit::{Exit, Usage};
use crate::load;
use crate::output::Console;

pub(crate) fn graph(args: &GraphArgs, console: &Console) -> anyhow::Result<Exit> {
    let plan = load::flow(&args.file, console)?.plan;
    console.out(&match args.format {
        GraphFormat::Svg => draw::svg(&plan),
        GraphFormat::Mermaid => draw::mermaid(&plan),
        GraphFormat::Text => draw::text(&plan),
    });
    Ok(Exit::Success)
}

pub(crate) fn explain(args: &ExplainArgs, console: &Console) -> anyhow::Result<Exit> {
    let compiled = load::flow(&args.file, console)?.plan;
    match args.output {
        PlanOutput::Human => console.out(&plan::explain(&compiled)),
        PlanOutput::Json => console.line(&String::from_utf8_lossy(&compiled.canonical_json())),
    }
    Ok(Exit::Success)
}

pub(crate) fn fmt(args: &FmtArgs, console: &Console) -> anyhow::Result<Exit> {
    let options = FormatOptions {
        to_v2: args.to == Some(SpecVersion::V2),
    };
    let mut exit = Exit::Success;
    for file in &args.files {
        let standard_input = file == Path::new("-");
        let source = if standard_input {
            standard_input_text()?
        } else {
            read_document(file).map_err(|error| Usage::new(error.to_string()))?
        };
        let name = file.display().to_string();
        if options.to_v2 {
            let findings = left_over(&source);
            let checked = Checked {
                path: name.clone(),
                source: source.clone(),
                findings,
                omitted: 0,
            };
            checked.show(console);
        }
        match format(&source, &options) {
            Err(findings) => {
                let checked = Checked {
                    path: name,
                    source,
                    findings,
                    omitted: 0,
                };
                checked.show(console);
                exit = exit.worse(Exit::Usage);
            }
            Ok(formatted) if args.check => {
                if formatted != source {
                    console.line(&format!("{name}: would be laid out differently"));
                    exit = exit.worse(Exit::Failure);
                }
            }
            Ok(formatted) if standard_input => console.out(&formatted),
            Ok(formatted) if formatted != source => {
                replace(file, &formatted)?;
                console.line(&format!("{name}: laid out"));
            }
            Ok(_) => {}
        }
    }
    Ok(exit)
}

fn standard_input_text() -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    std::io::stdin().take(limit + 1).read_to_string(&mut text)?;
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(Usage::new(format!(
            "standard input is too large; a document has at most {DOCUMENT_BYTES_MAX} bytes"
        ))
        .into());
    }
    Ok(text)
}

/// Replaces a file by a rename, so that a crash leaves the old or the new one.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    // A link stays a link: the file it leads to is replaced.
    let path = path.canonicalize()?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.persist(&path)?;
    Ok(())
}
