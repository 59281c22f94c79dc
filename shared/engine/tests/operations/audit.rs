//! The audit trail.

use operon_engine::audit::{AUDIT_VALUE_BYTES_MAX, Audit, AuditEntry, Outcome};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

fn entry(target: &str) -> AuditEntry {
    AuditEntry {
        outcome: Outcome::Done,
        at_ms: 0,
        who: "alice".to_owned(),
        role: "operator".to_owned(),
        action: "execution.kill".to_owned(),
        target: target.to_owned(),
        before: Value::Null,
        after: json!({}),
    }
}

#[tokio::test]
async fn entries_come_newest_first_across_months_and_pages() {
    let memory = MemoryPorts::default();
    let audit = Audit::new(&memory.ports());
    for number in 0..5 {
        audit.add(entry(&number.to_string())).await.unwrap();
        memory.clock.advance(20 * 24 * 3_600_000);
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let (page, next) = audit.entries(cursor, 2).await.unwrap();
        assert!(page.len() <= 2);
        seen.extend(page.into_iter().map(|entry| entry.target));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn what_is_too_large_is_named_and_not_kept() {
    let audit = Audit::new(&MemoryPorts::default().ports());
    let large = AuditEntry {
        after: json!("x".repeat(AUDIT_VALUE_BYTES_MAX)),
        ..entry("a")
    };
    audit.add(large).await.unwrap();
    let (found, _) = audit.entries(None, 10).await.unwrap();
    assert_eq!(found[0].after, json!("(32770 bytes, not kept)"));
}
