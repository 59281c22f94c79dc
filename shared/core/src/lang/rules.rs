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
