//! Every rule a diagnostic can name.
//!
//! Numbers are stable for ever: a rule that goes leaves a gap. `O00xx` the document as YAML, `O01xx` the
//! structure of a flow, `O02xx` references and graphs, `O03xx` expressions, `O04xx` plugins, `O05xx`
//! the compiled plan.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal $slug:literal $title:literal $explanation:literal;)*) => {
        /// What a diagnostic is about. See [`Rule::ALL`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $title] $(#[$doc])* $name,)*
        }

        impl Rule {
            /// All rules, in the order of their ids.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Such as `O0003`: stable, unique, searchable.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// Such as `duplicate-key`: stable, unique, readable.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)* }
            }

            /// One line without a full stop.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// A paragraph for the documentation: why the rule exists, and what to write instead.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)* }
            }
        }
    };
}

rules! {
    YamlSyntax = "O0001" "yaml-syntax"
        "The document is not well-formed YAML"
        "The text cannot be read as YAML 1.2. The message says what was found; the help names the usual cause.";
    YamlTab = "O0002" "yaml-tab"
        "A tab is used for indentation"
        "YAML forbids tabs in indentation because their width is undefined. Indent with two spaces; most editors can convert.";
    YamlDuplicateKey = "O0003" "yaml-duplicate-key"
        "A key appears twice in one mapping"
        "Many parsers keep the last value silently, so the first one is lost without a word. Remove one of the two, or merge them.";
    YamlIndentation = "O0004" "yaml-indentation"
        "The indentation does not fit"
        "Keys of one mapping, and items of one list, start in the same column. `operon fmt` normalises the rest.";
    YamlSeveralDocuments = "O0005" "yaml-several-documents"
        "A file holds several documents"
        "One file is one flow, so that a file name, a revision and a history mean one thing. Put what follows `---` into a file of its own.";
    YamlEmpty = "O0006" "yaml-empty"
        "The document is empty"
        "A flow has at least `id`, `namespace` and `tasks`.";
    YamlKey = "O0007" "yaml-key"
        "A key is not plain text"
        "YAML allows lists and mappings as keys; the flow language does not.";
    YamlUnquotedTemplate = "O0008" "yaml-unquoted-template"
        "A template is not quoted"
        "A value that begins with `{` is a mapping in YAML, so `{{ inputs.name }}` must stand in quotes: `\"{{ inputs.name }}\"`.";
    YamlAnchor = "O0009" "yaml-anchor"
        "An alias has no usable anchor"
        "`*name` repeats what `&name` marked earlier in the same file. The anchor must come first, and an alias cannot stand inside what it repeats.";
    YamlMerge = "O0010" "yaml-merge"
        "A merge key holds no mapping"
        "`<<: *name` copies the entries of a mapping, `<<: [*a, *b]` those of several; nothing else can be merged.";
    YamlTag = "O0011" "yaml-tag"
        "A tag is unknown or does not fit its value"
        "Only the tags of the core schema are known: `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`, `!!seq`, `!!map`. A value that must stay text is simply quoted.";
    YamlSize = "O0012" "yaml-size"
        "The document is too large"
        "A flow document has at most 1 MiB. Move long scripts into files, and data into artifacts or the key-value store.";
    YamlDepth = "O0013" "yaml-depth"
        "The document is nested too deeply"
        "Lists and mappings may be nested 64 levels deep. Split the flow with subflows.";
    YamlNodes = "O0014" "yaml-nodes"
        "The document has too many values"
        "A flow document has at most 100,000 values, aliases counted as what they repeat. Generate fewer tasks, or loop over a list with `foreach`.";
    YamlExpansion = "O0015" "yaml-expansion"
        "Aliases repeat too much"
        "Aliases may add at most 20,000 values to a document. Aliases of aliases grow exponentially; write a plugin or a loop instead.";
    YamlBoolean = "O0016" "yaml-boolean"
        "A word that was a boolean in YAML 1.1"
        "`yes`, `no`, `on` and `off` are plain text in YAML 1.2, but many people and tools mean `true` and `false`. Write the boolean, or quote the text.";
    YamlLeadingZero = "O0017" "yaml-leading-zero"
        "A number with leading zeros"
        "`0755` was octal in YAML 1.1 and is decimal in YAML 1.2; here it stays the text it is, so that nothing is lost. Quote it, or write `0o755` for an octal number.";
    YamlDirective = "O0018" "yaml-directive"
        "The document is declared as another version of YAML"
        "Flows are YAML 1.2. Remove the `%YAML` line.";
    YamlFormat = "O0019" "yaml-format"
        "The document cannot be laid out"
        "`operon fmt` never changes what a document means. Where YAML is used in an uncommon way, such as keys with `?`, it refuses instead. Write the place in the common style.";
    UnknownKey = "O0101" "unknown-key"
        "A property is not known"
        "An unknown property is most often a misspelt one, and one that is ignored in silence is a trap. Names that begin with `x-` are free for notes.";
    MissingProperty = "O0102" "missing-property"
        "A property is missing"
        "The type cannot work without it. The help shows what to add.";
    WrongType = "O0103" "wrong-type"
        "A value has the wrong type"
        "The property holds something else, such as a list where a text is needed.";
    InvalidValue = "O0104" "invalid-value"
        "A value is not one of those allowed"
        "The property has a fixed set of values or a fixed format; the help names them.";
    InvalidDuration = "O0105" "invalid-duration"
        "A duration cannot be read"
        "Durations are ISO-8601 (`PT15M`, `P1DT12H`) or short (`15m`, `1h30m`). Years and months have no fixed length and cannot be written.";
    OutOfRange = "O0106" "out-of-range"
        "A number is out of range"
        "The number is smaller or larger than what makes sense; the help gives the range.";
    InvalidId = "O0107" "invalid-id"
        "A name is not well formed"
        "Ids become parts of addresses, file names and expressions, so they have letters, digits and a few signs only.";
    DuplicateId = "O0108" "duplicate-id"
        "Two things have the same name"
        "Ids are unique in the whole flow, inside loops and handlers too, because `outputs.<id>` must mean one task.";
    ReservedName = "O0109" "reserved-name"
        "A name is reserved"
        "The engine uses the name for something else.";
    UnknownType = "O0110" "unknown-type"
        "A task or trigger type is not known"
        "Types are short names, Kestra's class names of any version, or plugins.";
    NoRunner = "O0111" "no-runner"
        "A type of Kestra cannot run here"
        "Kestra has more than a thousand types; those that matter to containers, files and HTTP exist here. The help names the nearest.";
    NotSupported = "O0112" "not-supported"
        "A property of Kestra is not supported"
        "The property is known, but means something that does not exist here. It is refused, not ignored; the help says what to write instead.";
    NoEffect = "O0113" "no-effect"
        "Something has no effect"
        "It is accepted so that flows written for Kestra run, but changes nothing. Remove it when the flow has moved.";
    SameTwice = "O0114" "same-twice"
        "One thing is written twice and differs"
        "Several spellings mean the same, such as `containerImage` and `docker: {image}`. With different values nobody can know which one is meant.";
    Exclusive = "O0115" "exclusive"
        "Properties exclude each other"
        "Only one of them can have an effect.";
    Limit = "O0116" "limit"
        "Something is too large"
        "Every part of a flow has a limit, so that the engine stays fast and a mistake in generated YAML is noticed.";
    EmptyTasks = "O0117" "empty-tasks"
        "A list of tasks is empty"
        "A flow, group or branch without tasks does nothing, which is never meant.";
    InvalidRegex = "O0118" "invalid-regex"
        "A regular expression cannot be read"
        "Patterns are those of RE2: no look-around, no back-references, and therefore always fast.";
    InvalidCron = "O0119" "invalid-cron"
        "A cron expression cannot be read"
        "Five fields: minute, hour, day of the month, month, day of the week.";
    InvalidDefault = "O0120" "invalid-default"
        "A default does not satisfy its own input"
        "Every execution that relies on the default would be refused.";
    PlainSecret = "O0121" "plain-secret"
        "A secret seems to be written in plain text"
        "A flow is read by everyone, kept in every revision and shown on pages. Keep secrets as secrets and name them.";
    TemplateInScript = "O0122" "template-in-script"
        "An expression stands inside a script"
        "The value is put into code as it is: a quote or a semicolon in it changes what the code does. Pass values as environment variables or files.";
    NotDynamic = "O0123" "not-dynamic"
        "An expression stands where the value must be constant"
        "The property decides how the flow is compiled, before any value is known.";
    NotLaunched = "O0124" "not-launched"
        "A property is only for tasks that run something"
        "Groups, choices, loops and pauses run nothing themselves, so there is no attempt to retry, time out or give resources to.";
    RetryNotIdempotent = "O0125" "retry-not-idempotent"
        "A task that must run once has a retry"
        "`idempotent: false` promises that the task is launched at most once without a person.";
    EndlessRetry = "O0126" "endless-retry"
        "A retry never gives up"
        "Without `maxAttempts` and `maxDuration` a task that always fails is tried for ever, and costs for ever.";
    NotForType = "O0127" "not-for-type"
        "A property does not go with the chosen type"
        "The property has a meaning for other types only.";
    TriggerInput = "O0128" "trigger-input"
        "A trigger does not satisfy an input"
        "Every event would be refused. Give the input a value in the trigger, or a default.";
    NoNewForm = "O0129" "no-new-form"
        "An old spelling has no exact equivalent in version 2.0"
        "`operon fmt --to 2.0` rewrites what means the same and leaves the rest, which goes on working.";
    UnknownDependency = "O0201" "unknown-dependency"
        "`dependsOn` names something that is not there"
        "It names tasks of the same list.";
    Cycle = "O0202" "cycle"
        "Tasks wait for each other"
        "None of them could ever start.";
    ImplicitRoot = "O0203" "implicit-root"
        "A task in a graph starts at once"
        "One `dependsOn` makes the whole list a graph, so tasks without it no longer wait for the one above. If that is meant, `dependsOn: []` says so.";
    UnknownInput = "O0204" "unknown-input"
        "An input is not declared"
        "Inputs are declared at the top of the flow.";
    UnknownTask = "O0205" "unknown-task"
        "A task is not there"
        "`outputs.<id>` names a task of this flow.";
    UnknownVariable = "O0206" "unknown-variable"
        "A variable is not declared"
        "Variables are declared under `variables`.";
    UnknownRoot = "O0207" "unknown-root"
        "A name is not known to expressions"
        "Expressions begin with a root such as `inputs`, `outputs`, `vars` or `trigger`.";
    NotUpstream = "O0208" "not-upstream"
        "Outputs are read of a task that may not have ended"
        "What beside or after a task runs has no outputs yet when it starts.";
    UnknownMember = "O0209" "unknown-member"
        "A root has no such member"
        "`execution`, `flow`, `task`, `taskrun` and `item` have the same members everywhere, and `trigger` those of the flow's triggers.";
    ExpressionSyntax = "O0301" "expression-syntax"
        "An expression cannot be read"
        "Expressions are those of Kestra: Pebble.";
    ExpressionUnknown = "O0302" "expression-unknown"
        "A function, filter or test is not known"
        "The help names the nearest, or what to use instead.";
    ConstantCondition = "O0303" "constant-condition"
        "A condition is a plain text"
        "A text that is not empty is always true. An expression stands in `{{ }}`.";
    PluginFile = "O0401" "plugin-file"
        "A plugin's file is not complete"
        "A plugin has `type`, `description`, `properties` and `task`.";
    PluginProperty = "O0402" "plugin-property"
        "A property of a plugin is wrong"
        "The plugin declares what its properties may hold.";
    PluginScript = "O0403" "plugin-script"
        "A plugin puts a property into the text of a script"
        "Values reach scripts as environment variables and files, in plugins too.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Rule;

    #[test]
    fn ids_and_slugs_are_unique_ordered_and_well_formed() {
        let ids: Vec<_> = Rule::ALL.iter().map(|r| r.id()).collect();
        assert!(ids.is_sorted(), "ids ascend: {ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        let slugs: BTreeSet<_> = Rule::ALL.iter().map(|r| r.slug()).collect();
        assert_eq!(slugs.len(), ids.len());
        for rule in Rule::ALL {
            assert!(
                rule.id().len() == 5 && rule.id().starts_with('O'),
                "{rule:?}"
            );
            assert!(
                rule.id()[1..].bytes().all(|b| b.is_ascii_digit()),
                "{rule:?}"
            );
            assert!(
                rule.slug()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{rule:?}"
            );
            assert!(
                !rule.title().is_empty() && !rule.title().ends_with('.'),
                "{rule:?}"
            );
            assert!(rule.explanation().ends_with('.'), "{rule:?}");
        }
    }
}
