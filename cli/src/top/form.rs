//! Values that a person types: one field per input, as text. What they mean is the server's to say.

use operon_core::lang::model::{Input, InputType};
use serde_json::{Map, Value};

use super::actions::Action;

/// Bytes of one value at most.
const VALUE_MAX: usize = 64 * 1024;

/// One value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    /// Name of the value.
    pub(super) key: String,
    /// What is typed so far.
    pub(super) value: String,
    /// What is expected.
    pub(super) hint: String,
    /// The only values there are; empty takes any.
    pub(super) choices: Vec<String>,
    /// It must not be empty.
    pub(super) required: bool,
}

impl Field {
    fn of(input: &Input) -> Self {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => value.to_string(),
        };
        let mut hint = serde_json::to_value(input.input_type)
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default();
        if let Some(name) = input.display_name.as_ref().or(input.description.as_ref()) {
            hint.push_str(": ");
            hint.push_str(name.lines().next().unwrap_or_default());
        }
        let one_of = input.input_type == InputType::Select && !input.allow_custom_value;
        let choices = match input.input_type == InputType::Boolean {
            true => vec!["true".to_owned(), "false".to_owned()],
            false if one_of => input
                .values
                .iter()
                .map(|(value, _)| value.clone())
                .collect(),
            false => Vec::new(),
        };
        // A template is for the server to fill in.
        let given = input
            .defaults
            .as_ref()
            .map(text)
            .filter(|text| !text.contains("{{"));
        let needed = input.required && input.defaults.is_none();
        let first = choices.first().filter(|_| needed).cloned();
        Self {
            key: input.id.clone(),
            value: given.or(first).unwrap_or_default(),
            hint,
            choices,
            required: needed,
        }
    }
}

/// What the values are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A replay of an execution; fields `from` and `revision`.
    Replay { id: String },
    /// An answer to a pause; the first field says whether it goes on.
    Answer {
        id: String,
        run: String,
        name: String,
    },
    /// A new execution.
    Start { namespace: String, flow: String },
}

/// Fields with what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// What they are for.
    pub(super) purpose: Purpose,
    /// In the order of the flow.
    pub(super) fields: Vec<Field>,
    /// The field that is typed into.
    pub(super) at: usize,
    /// It was sent, and no answer has come.
    pub(super) sent: bool,
    /// What is wrong with it.
    pub(super) error: Option<String>,
}

/// The answers to a pause.
const GO_ON: &str = "go on";
const STOP: &str = "end as failed";

impl Form {
    fn new(purpose: Purpose, fields: Vec<Field>) -> Self {
        Self {
            purpose,
            fields,
            at: 0,
            sent: false,
            error: None,
        }
    }

    /// From which task and on which revision.
    pub(super) fn replay(id: &str, tasks: Vec<String>, from: &str, revision: u32) -> Self {
        let from = Field {
            key: "from".to_owned(),
            value: from.to_owned(),
            hint: "the first task that is executed again".to_owned(),
            choices: tasks,
            required: true,
        };
        let number = Field {
            key: "revision".to_owned(),
            value: revision.to_string(),
            hint: "of the flow".to_owned(),
            ..Field::default()
        };
        Self::new(Purpose::Replay { id: id.to_owned() }, vec![from, number])
    }

    /// What a pause asks for.
    pub(super) fn answer(id: &str, run: &str, name: &str, inputs: &[Input]) -> Self {
        let decision = Field {
            key: "decision".to_owned(),
            value: GO_ON.to_owned(),
            hint: "what becomes of the execution".to_owned(),
            choices: vec![GO_ON.to_owned(), STOP.to_owned()],
            required: true,
        };
        let fields = std::iter::once(decision).chain(inputs.iter().map(Field::of));
        let purpose = Purpose::Answer {
            id: id.to_owned(),
            run: run.to_owned(),
            name: name.to_owned(),
        };
        Self::new(purpose, fields.collect())
    }

    /// What a flow asks for.
    pub(super) fn start(namespace: &str, flow: &str, inputs: &[Input]) -> Self {
        let purpose = Purpose::Start {
            namespace: namespace.to_owned(),
            flow: flow.to_owned(),
        };
        Self::new(purpose, inputs.iter().map(Field::of).collect())
    }

    /// The heading.
    pub(super) fn title(&self) -> String {
        match &self.purpose {
            Purpose::Replay { id } => format!("Replay execution {id}"),
            Purpose::Answer { name, .. } => format!("Answer the pause `{name}`"),
            Purpose::Start { namespace, flow } => format!("Start {namespace}/{flow}"),
        }
    }

    /// A key; true when the form is to be sent.
    pub(super) fn key(&mut self, key: &str) -> bool {
        if self.sent {
            return false;
        }
        let count = self.fields.len();
        match key {
            "Enter" => return true,
            "Tab" | "Down" if count > 0 => self.at = (self.at + 1) % count,
            "BackTab" | "Up" if count > 0 => self.at = (self.at + count - 1) % count,
            "Left" => self.choose(false),
            "Right" => self.choose(true),
            _ => {
                self.edit(key);
                self.error = None;
            }
        }
        false
    }

    fn choose(&mut self, forward: bool) {
        let Some(field) = self.fields.get_mut(self.at) else {
            return;
        };
        let count = field.choices.len();
        if count == 0 {
            return;
        }
        let at = field
            .choices
            .iter()
            .position(|choice| *choice == field.value);
        let next = match at {
            None => 0,
            Some(at) if forward => (at + 1) % count,
            Some(at) => (at + count - 1) % count,
        };
        if let Some(choice) = field.choices.get(next) {
            field.value.clone_from(choice);
        }
    }

    fn edit(&mut self, key: &str) {
        let Some(field) = self.fields.get_mut(self.at) else {
            return;
        };
        if field.choices.is_empty() {
            type_into(&mut field.value, key);
        } else if key == " " {
            self.choose(true);
        }
    }

    /// What is to be done, or what is wrong.
    pub(super) fn action(&self) -> Result<Action, String> {
        if let Some(field) = self
            .fields
            .iter()
            .find(|field| field.required && field.value.is_empty())
        {
            return Err(format!("`{}` must have a value", field.key));
        }
        let value = |key: &str| {
            let field = self.fields.iter().find(|field| field.key == key);
            field
                .map(|field| field.value.trim().to_owned())
                .unwrap_or_default()
        };
        // The first field of an answer is the decision; what is empty is left to its default.
        let given = |skip: usize| -> Map<String, Value> {
            let fields = self
                .fields
                .iter()
                .skip(skip)
                .filter(|field| !field.value.is_empty());
            fields
                .map(|field| (field.key.clone(), Value::String(field.value.clone())))
                .collect()
        };
        Ok(match &self.purpose {
            Purpose::Replay { id } => {
                let number = value("revision");
                let revision = if number.is_empty() {
                    None
                } else {
                    let wrong = |_| format!("`{number}` is no number of a revision");
                    Some(number.parse().map_err(wrong)?)
                };
                Action::Replay {
                    id: id.clone(),
                    from: value("from"),
                    revision,
                }
            }
            Purpose::Answer { id, run, name } => Action::Answer {
                id: id.clone(),
                run: run.clone(),
                name: name.clone(),
                go_on: self.fields.first().is_none_or(|field| field.value == GO_ON),
                inputs: given(1),
            },
            Purpose::Start { namespace, flow } => Action::Start {
                namespace: namespace.clone(),
                flow: flow.clone(),
                inputs: given(0),
            },
        })
    }
}

/// A key in a line of text.
pub(super) fn type_into(text: &mut String, key: &str) {
    match key {
        "Backspace" => {
            text.pop();
        }
        "Ctrl-u" => text.clear(),
        "Ctrl-w" => {
            let kept = text.trim_end().rfind(' ').map_or(0, |at| at + 1);
            text.truncate(kept);
        }
        // A character, or what was pasted.
        _ if !is_named(key) && text.len() + key.len() <= VALUE_MAX => {
            text.extend(key.chars().filter(|character| !character.is_control()));
        }
        _ => {}
    }
}

/// Whether a key has a name instead of a character.
pub(super) fn is_named(key: &str) -> bool {
    const NAMED: [&str; 15] = [
        "Enter",
        "Esc",
        "Tab",
        "BackTab",
        "Backspace",
        "Delete",
        "Up",
        "Down",
        "Left",
        "Right",
        "Home",
        "End",
        "PageUp",
        "PageDown",
        "Insert",
    ];
    NAMED.contains(&key) || (key.starts_with("Ctrl-") && key.chars().count() > 1)
}
