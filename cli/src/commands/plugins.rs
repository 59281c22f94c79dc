//! `operon plugins` and `operon schema`: what flows in the current directory may be written with.

use std::path::Path;

use operon_core::lang::plugins::{Plugin, Property};
use operon_core::lang::schema;
use operon_local::flows::PluginFiles;

use crate::args::PluginsCommand;
use crate::exit::{Exit, Usage};
use crate::load;
use crate::output::Console;
use crate::style;

/// Characters of a description in the list.
const DESCRIPTION_CHARS: usize = 90;

pub(crate) fn schema(console: &Console) -> anyhow::Result<Exit> {
    let plugins = load::plugins(&current()?, console)?;
    let text = serde_json::to_string_pretty(&schema::schema(&plugins))?;
    console.line(&text);
    Ok(Exit::Success)
}

pub(crate) fn plugins(command: Option<&PluginsCommand>, console: &Console) -> anyhow::Result<Exit> {
    let directory = current()?;
    let plugins = load::plugins(&directory, console)?;
    match command {
        None | Some(PluginsCommand::List) => {
            let width = plugins.names().map(str::len).max().unwrap_or(0);
            for plugin in plugins.iter() {
                let name = format!("{:<width$}", plugin.name);
                console.line(&format!(
                    "{}  {}",
                    style::paint(console.colour(), style::BOLD, &name),
                    style::one_line(first_sentence(&plugin.description), DESCRIPTION_CHARS)
                ));
            }
        }
        Some(PluginsCommand::Show { name }) => {
            let plugin = plugins.get(name).ok_or_else(|| {
                Usage::new(format!("there is no plugin `{name}` here"))
                    .help("`operon plugins list` shows those there are; put others into `plugins/NAME.yaml`")
            })?;
            let files = PluginFiles::near(&directory)?;
            let file = files.file_of(name).map_or_else(String::new, |file| {
                if file.built_in {
                    "part of Operon".to_owned()
                } else {
                    file.name.clone()
                }
            });
            show(console, plugin, &file);
        }
    }
    Ok(Exit::Success)
}

fn current() -> anyhow::Result<std::path::PathBuf> {
    Ok(Path::new(".").canonicalize()?)
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ")
        .or_else(|| text.split_once(".\n"))
        .map_or(text, |(first, _)| first)
        .trim_end_matches('.')
}

fn show(console: &Console, plugin: &Plugin, file: &str) {
    let bold = |text: &str| style::paint(console.colour(), style::BOLD, text);
    console.line(&format!("{}  ({file})", bold(&plugin.name)));
    console.line(&style::harmless(plugin.description.trim()));
    if !plugin.properties.is_empty() {
        console.line("\nproperties:");
    }
    for property in &plugin.properties {
        console.line(&format!("  {}  {}", bold(&property.name), facts(property)));
        for line in style::harmless(property.description.trim()).lines() {
            console.line(&format!("      {line}"));
        }
    }
}

/// `string, required, one of a, b`
fn facts(property: &Property) -> String {
    let mut facts = vec![property.ty.name().to_owned()];
    if property.required {
        facts.push("required".to_owned());
    }
    if let Some(default) = &property.default {
        facts.push(format!("default {}", default.to_json()));
    }
    if !property.choices.is_empty() {
        facts.push(format!("one of {}", property.choices.join(", ")));
    }
    if let Some(min) = property.min {
        facts.push(format!("at least {min}"));
    }
    if let Some(max) = property.max {
        facts.push(format!("at most {max}"));
    }
    if let Some(pattern) = &property.pattern {
        facts.push(format!("like {pattern}"));
    }
    facts.join(", ")
}
