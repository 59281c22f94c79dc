//! Keeping secrets out of what is written down.
//!
//! Invariant: where a secret stands in a line, as it is or in a form that programs commonly give it, no
//! character of it remains.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::value::hex;

/// What stands in a secret's place. Its length says nothing about the secret's.
pub const MASK: &str = "******";

/// A secret of fewer characters is masked only where it stands alone: `no` is not masked in `normal`.
pub(super) const WHOLE_WORD_BELOW_CHARS: usize = 4;

/// Secrets are looked for in pieces of at most this many bytes, so that a long one is found even where
/// it is cut.
const PIECE_BYTES_MAX: usize = 512;

/// Most bytes of secrets one masker looks for, because each takes some twenty bytes of tables. The
/// longest are left out first: they are texts that a shorter secret, which is masked, flowed into.
pub(super) const MAX_SECRET_BYTES: usize = 128 * 1024;

/// Replaces secrets by [`MASK`], also in base64 (standard and URL-safe, padded or not, at each of the
/// three places within a larger text), percent-encoded, JSON-escaped, hexadecimal, and in other case.
///
/// Works on one line at a time: a secret of several lines is masked line by line, so a log may be
/// masked as it streams. Its lines of fewer than 4 characters are left.
#[derive(Clone, Default)]
pub struct Masker {
    /// Forms in which case does not matter: the value, hexadecimal and percent-encoded.
    folded: Finder,
    /// Forms in which it does: base64, and secrets that are masked as whole words only.
    exact: Finder,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

impl Masker {
    /// A masker for these secrets. Empty ones, and those of only spaces, are ignored.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut pieces = BTreeSet::new();
        for secret in secrets {
            let whole = secret.as_ref().trim();
            pieces.extend(cut(whole).map(str::to_owned));
            let lines = whole
                .lines()
                .map(str::trim)
                .filter(|_| whole.contains('\n'));
            for line in lines.filter(|line| line.chars().count() >= WHOLE_WORD_BELOW_CHARS) {
                pieces.extend(cut(line).map(str::to_owned));
            }
        }
        let mut pieces: Vec<String> = pieces.into_iter().collect();
        pieces.sort_by_key(String::len);
        let mut bytes = 0;
        pieces.retain(|piece| {
            bytes += piece.len();
            bytes <= MAX_SECRET_BYTES
        });
        let mut folded = BTreeSet::new();
        let mut exact = BTreeSet::new();
        for piece in &pieces {
            if piece.chars().count() < WHOLE_WORD_BELOW_CHARS {
                exact.extend(
                    plain_forms(piece)
                        .into_iter()
                        .map(|form| (form, Edge::Word)),
                );
                exact.insert((STANDARD.encode(piece), Edge::Word));
            } else {
                folded.extend(
                    plain_forms(piece)
                        .into_iter()
                        .map(|form| (form, Edge::None)),
                );
                exact.extend(base64_forms(piece.as_bytes()));
            }
        }
        Self {
            folded: Finder::new(folded, true),
            exact: Finder::new(exact, false),
        }
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.folded.edges.is_empty() && self.exact.edges.is_empty()
    }

    /// The text without its secrets; the text itself if there is none in it.
    #[must_use]
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut found = self.folded.find(text);
        found.extend(self.exact.find(text));
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| range.start);
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for range in found {
            if range.start >= at && !(at > 0 && range.start == at) {
                out.push_str(&text[at..range.start]);
                out.push_str(MASK);
            }
            at = at.max(range.end);
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }
}

/// What a match needs around it, or takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    None,
    /// No letter or digit on either side.
    Word,
    /// The base64 characters on either side that hold bits of the secret are masked too.
    Base64,
}

#[derive(Clone, Default)]
struct Finder {
    automaton: Option<AhoCorasick>,
    edges: Vec<Edge>,
}

impl Finder {
    fn new(forms: BTreeSet<(String, Edge)>, ignore_case: bool) -> Self {
        let (forms, edges): (Vec<_>, Vec<_>) = forms
            .into_iter()
            .filter(|(form, _)| !form.is_empty())
            .unzip();
        if edges.is_empty() {
            // Most attempts have no secrets, and an automaton for nothing still costs as much as a process.
            return Self {
                automaton: None,
                edges,
            };
        }
        // Building fails only beyond 2^31 states, which the limit on bytes keeps away.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(ignore_case)
            .build(forms)
            .ok();
        Self { automaton, edges }
    }

    /// Where forms stand, overlapping ones too.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let Some(automaton) = self.automaton.as_ref().filter(|_| !self.edges.is_empty()) else {
            return Vec::new();
        };
        let mut found: Vec<Range<usize>> = Vec::new();
        for hit in automaton.find_overlapping_iter(text) {
            let before = text[..hit.start()].chars().next_back();
            let after = text[hit.end()..].chars().next();
            let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let bits = |c: Option<char>| {
                usize::from(c.is_some_and(|c| {
                    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_')
                }))
            };
            match self.edges[hit.pattern().as_usize()] {
                Edge::Word if word(before) || word(after) => {}
                Edge::None | Edge::Word => found.push(hit.start()..hit.end()),
                Edge::Base64 => {
                    found.push(hit.start() - bits(before)..hit.end() + bits(after));
                }
            }
        }
        found
    }
}

/// Pieces of at most [`PIECE_BYTES_MAX`] bytes, none of them short unless the whole is.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        if rest.len() > 2 * PIECE_BYTES_MAX {
            end = PIECE_BYTES_MAX;
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// What JavaScript's `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What RFC 3986 requires to be encoded in a path.
const PATH: &AsciiSet = &COMPONENT
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// The value itself, in other case, escaped, percent-encoded and hexadecimal. Forms of several lines
/// cannot stand in one line and are left out.
fn plain_forms(piece: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([
        piece.to_owned(),
        piece.to_lowercase(),
        piece.to_uppercase(),
        hex(piece.as_bytes()),
        hex(piece.as_bytes()).to_uppercase(),
        piece.replace('\'', "'\\''"),
    ]);
    for set in [NON_ALPHANUMERIC, COMPONENT, PATH] {
        let encoded = utf8_percent_encode(piece, set).to_string();
        forms.insert(encoded.replace("%20", "+"));
        forms.insert(encoded);
    }
    let escaped = json_escaped(piece);
    let ascii: String = escaped.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        }
        out
    });
    forms.insert(escaped.replace('/', "\\/"));
    // JSON within JSON.
    forms.insert(json_escaped(&escaped));
    forms.extend([escaped, ascii]);
    forms.retain(|form| !form.contains('\n'));
    forms
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Base64 of the bytes where 0, 1 or 2 bytes stand before them in a group of three: the characters that
/// depend on nothing else.
fn base64_forms(bytes: &[u8]) -> Vec<(String, Edge)> {
    let mut forms = vec![
        (STANDARD.encode(bytes), Edge::None),
        (URL_SAFE.encode(bytes), Edge::None),
    ];
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend_from_slice(bytes);
        let inside = (before * 8).div_ceil(6)..padded.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            if let Some(form) = engine.encode(&padded).get(inside.clone()) {
                forms.push((form.to_owned(), Edge::Base64));
            }
        }
    }
    forms
}

#[cfg(test)]
#[path = "tests/mask.rs"]
mod tests;
