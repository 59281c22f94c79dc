//! Limits of documents.

use super::super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, EXPANSION_MAX, NODES_MAX};
use super::{fails, read};
use crate::lang::diagnostic::Rule;

#[test]
fn limit_of_size() {
    let mut source = format!("a: {}", "x".repeat(DOCUMENT_BYTES_MAX - 3));
    assert_eq!(source.len(), DOCUMENT_BYTES_MAX);
    read(&source);
    source.push('x');
    assert_eq!(fails(&source).0, Rule::YamlSize);
}

#[test]
fn limit_of_depth() {
    let flow = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let block = |n: usize| {
        (0..n).fold(String::new(), |all, level| {
            all + &" ".repeat(level) + "a:\n"
        })
    };
    for nested in [flow, block] as [fn(usize) -> String; 2] {
        read(&nested(DEPTH_MAX));
        assert_eq!(fails(&nested(DEPTH_MAX + 1)).0, Rule::YamlDepth);
        assert_eq!(fails(&nested(1_400)).0, Rule::YamlDepth);
    }
    assert_eq!(fails(&flow(100_000)).0, Rule::YamlDepth);
    // Aliases nest too.
    let chain = (1..=DEPTH_MAX + 1).fold("a0: &a0 []\n".to_owned(), |all, n| {
        all + &format!("a{n}: &a{n} [*a{}]\n", n - 1)
    });
    assert_eq!(fails(&chain).0, Rule::YamlDepth);
}

#[test]
fn limit_of_nodes() {
    // The root, the key's list, and the items; keys do not count.
    let items = |n: usize| format!("a: [{}]", "1,".repeat(n));
    read(&items(NODES_MAX - 2));
    assert_eq!(fails(&items(NODES_MAX - 1)).0, Rule::YamlNodes);
}

#[test]
fn limit_of_expansion() {
    // A billion laughs.
    let laughs = (1..10).fold("a0: &a0 [x, x]\n".to_owned(), |all, n| {
        let last = n - 1;
        all + &format!("a{n}: &a{n} [*a{last},*a{last},*a{last},*a{last},*a{last},*a{last},*a{last},*a{last},*a{last},*a{last}]\n")
    });
    assert_eq!(fails(&laughs).0, Rule::YamlExpansion);
    let repeated = |n: usize| format!("a: &a [{}]\nb: [{}]", "1,".repeat(99), "*a,".repeat(n));
    read(&repeated(EXPANSION_MAX / 100));
    assert_eq!(
        fails(&repeated(EXPANSION_MAX / 100 + 1)).0,
        Rule::YamlExpansion
    );
}
