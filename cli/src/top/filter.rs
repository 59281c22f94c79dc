//! The filter of executions, as one types it: `state:FAILED,KILLED flow:align label:team:virus some words`.

/// What stands before a colon, and the parameter it becomes.
const KEYS: [(&str, &str); 7] = [
    ("state", "state"),
    ("s", "state"),
    ("flow", "flow"),
    ("f", "flow"),
    ("namespace", "namespace"),
    ("n", "namespace"),
    ("label", "label"),
];

/// A query of a filter: what has a known key, and the rest as text to be found.
pub(super) fn query(text: &str, limit: usize) -> Vec<(&'static str, String)> {
    let mut query: Vec<(&'static str, String)> = Vec::new();
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let found = word.split_once(':').and_then(|(key, value)| {
            let (_, name) = KEYS
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(key))?;
            (!value.is_empty()).then_some((*name, value))
        });
        let Some((name, value)) = found else {
            words.push(word);
            continue;
        };
        // The same key again widens states and adds labels.
        match query.iter_mut().find(|(known, _)| *known == name) {
            Some((_, given)) => {
                given.push(',');
                given.push_str(value);
            }
            None => query.push((name, value.to_owned())),
        }
    }
    if !words.is_empty() {
        query.push(("q", words.join(" ")));
    }
    query.push(("limit", limit.to_string()));
    query
}
