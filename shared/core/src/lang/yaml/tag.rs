//! Tags of the core schema; there are no others.

use saphyr_parser::Tag;

use super::super::model::Span;
use super::build::Fatal;
use super::{Yaml, advice, scalar};

const CORE_TAGS: &str = "tag:yaml.org,2002:";

pub(super) fn check_tag(tag: Option<&Tag>, expected: &str, span: &Span) -> Result<(), Fatal> {
    match tag {
        None => Ok(()),
        Some(tag) if tag.handle == CORE_TAGS && tag.suffix == expected => Ok(()),
        Some(tag) => Err(advice::unknown_tag(tag, span).into()),
    }
}

pub(super) fn tagged(text: &str, tag: &Tag, span: &Span) -> Result<Yaml, Fatal> {
    let string = || Yaml::String(text.to_owned());
    if tag.handle.is_empty() && tag.suffix == "!" {
        return Ok(string());
    }
    if tag.handle != CORE_TAGS {
        return Err(advice::unknown_tag(tag, span).into());
    }
    let resolved = scalar::resolve(text);
    match (tag.suffix.as_str(), resolved) {
        ("str", _) => Ok(string()),
        ("int", value @ Yaml::Int(_))
        | ("float", value @ Yaml::Float(_))
        | ("bool", value @ Yaml::Bool(_))
        | ("null", value @ Yaml::Null) => Ok(value),
        // An integer is a float too; beyond 2^53 the nearest one.
        #[allow(clippy::cast_precision_loss)]
        ("float", Yaml::Int(n)) => Ok(Yaml::Float(n as f64)),
        ("int" | "float" | "bool" | "null", _) => {
            Err(advice::tag_does_not_fit(tag, text, span).into())
        }
        _ => Err(advice::unknown_tag(tag, span).into()),
    }
}
