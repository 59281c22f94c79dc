//! One property of a task, a trigger or the flow document.

/// What a property may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PropType {
    /// Anything.
    Any,
    /// Text. Numbers and booleans are accepted and become text.
    String,
    /// A whole number in a range, ends included.
    Int(i64, i64),
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
    /// `PT15M`, `P1D`, `15m`, `1h30m`, or a number of seconds.
    Duration,
    /// One of the names; upper and lower case are not distinguished.
    Enum(&'static [&'static str]),
    /// A condition: an expression in `{{ }}`, or `true`/`false`.
    Condition,
    /// An amount of memory or disk, such as `4Gi`, `512MB`.
    Size,
    /// An amount of CPU, such as `2`, `0.5`, `500m`.
    Cpu,
    /// A list.
    List(&'static PropType),
    /// A list, or one item alone.
    OneOrMany(&'static PropType),
    /// A map with free keys.
    Map(&'static PropType),
    /// A map, or a list of `{key, value}`.
    Labels,
    /// Files by name with content or URI; a list of such maps; or a template that gives one.
    Files,
    /// A map with known keys.
    Object(&'static [PropInfo]),
    /// The first that fits.
    OneOf(&'static [PropType]),
    /// A list of tasks.
    Tasks,
    /// A map from a case to a list of tasks.
    Cases,
    /// Typed parameters.
    Inputs,
}

/// What happens to a property that Kestra knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Means what it says.
    Supported,
    /// Accepted without effect, with a warning that gives the reason.
    Warns(&'static str),
    /// An error that gives the reason and what to write instead.
    Rejects(&'static str, &'static str),
}

/// One property.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PropInfo {
    /// Canonical name.
    pub name: &'static str,
    /// Other accepted spellings.
    pub aliases: &'static [&'static str],
    /// What it may hold.
    pub ty: PropType,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it may hold expressions.
    pub dynamic: bool,
    /// The default, as YAML; for people, the engine's own default is the truth.
    pub default: Option<&'static str>,
    /// One line, Markdown.
    pub doc: &'static str,
    /// An example value, as YAML on one line.
    pub example: Option<&'static str>,
    /// Whether it has an effect.
    pub support: Support,
}

/// A supported, optional, constant property.
#[must_use]
pub const fn prop(name: &'static str, ty: PropType, doc: &'static str) -> PropInfo {
    PropInfo {
        name,
        aliases: &[],
        ty,
        required: false,
        dynamic: false,
        default: None,
        doc,
        example: None,
        support: Support::Supported,
    }
}

impl PropInfo {
    /// Must be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// May hold expressions.
    #[must_use]
    pub const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// May be written so too.
    #[must_use]
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Documents the default.
    #[must_use]
    pub const fn default(mut self, yaml: &'static str) -> Self {
        self.default = Some(yaml);
        self
    }

    /// Documents an example.
    #[must_use]
    pub const fn example(mut self, yaml: &'static str) -> Self {
        self.example = Some(yaml);
        self
    }

    /// Accepted without effect.
    #[must_use]
    pub const fn warns(mut self, reason: &'static str) -> Self {
        self.support = Support::Warns(reason);
        self
    }

    /// Not accepted.
    #[must_use]
    pub const fn rejects(mut self, reason: &'static str, fix: &'static str) -> Self {
        self.support = Support::Rejects(reason, fix);
        self
    }

    /// An example value as YAML on one line: the one given, or one that the type suggests.
    #[must_use]
    pub fn example_yaml(&self) -> &'static str {
        if let Some(example) = self.example {
            return example;
        }
        match self.ty {
            PropType::Any | PropType::String | PropType::OneOf(_) => "text",
            PropType::Int(min, _) if min > 1 => "10",
            PropType::Int(..) | PropType::Float | PropType::Cpu => "1",
            PropType::Bool => "true",
            PropType::Duration => "PT15M",
            PropType::Enum(names) => names.first().copied().unwrap_or("text"),
            PropType::Condition => "\"{{ inputs.go }}\"",
            PropType::Size => "4Gi",
            PropType::List(_) | PropType::OneOrMany(_) => "[one, two]",
            PropType::Map(_) | PropType::Labels | PropType::Files => "{name: value}",
            PropType::Object(_) => "{}",
            PropType::Tasks => "[{id: child, type: log, message: hello}]",
            PropType::Cases => "{yes: [{id: child, type: log, message: hello}]}",
            PropType::Inputs => "[{id: reason, type: STRING}]",
        }
    }
}

impl PropType {
    /// What a message or the documentation calls the type.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::String => "a string".to_owned(),
            Self::Int(min, max) => match (*min, *max) {
                (i64::MIN, i64::MAX) => "a whole number".to_owned(),
                (min, i64::MAX) => format!("a whole number, at least {min}"),
                (min, max) => format!("a whole number from {min} to {max}"),
            },
            Self::Float => "a number".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Duration => "a duration such as `PT15M` or `15m`".to_owned(),
            Self::Enum(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("one of {}", names.join(", "))
            }
            Self::Condition => "a condition such as `\"{{ inputs.go }}\"`".to_owned(),
            Self::Size => "an amount such as `4Gi` or `512MB`".to_owned(),
            Self::Cpu => "an amount of CPU such as `2`, `0.5` or `500m`".to_owned(),
            Self::List(item) => format!("a list, each item {}", item.describe()),
            Self::OneOrMany(item) => format!("{}, or a list of them", item.describe()),
            Self::Map(item) => format!("a map, each value {}", item.describe()),
            Self::Labels => "a map of labels, or a list of `{key, value}`".to_owned(),
            Self::Files => "a map from file name to content or URI, or a list".to_owned(),
            Self::Object(_) => "a map".to_owned(),
            Self::OneOf(types) => {
                let types: Vec<_> = types.iter().map(Self::describe).collect();
                types.join(", or ")
            }
            Self::Tasks => "a list of tasks".to_owned(),
            Self::Cases => "a map from case to a list of tasks".to_owned(),
            Self::Inputs => "a list of inputs".to_owned(),
        }
    }
}
