//! What is computed from a secret is reported.

use super::super::{Masker, Template};
use super::{error, rendered};

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

#[test]
fn a_value_from_outside_cannot_fetch_secrets() {
    assert!(
        error("{{ render(vars.evil) }}")
            .0
            .contains("may not call `secret()`")
    );
    assert_eq!(
        rendered("{{ renderOnce(vars.evil) }}").unwrap().value,
        "{{ secret('TOKEN') }}"
    );
    assert!(
        error("{{ render(vars.mine) }}")
            .0
            .contains("recursive=true")
    );
    assert_eq!(
        rendered("{{ render(vars.mine, recursive=true) }}")
            .unwrap()
            .value,
        "s3cr3t-Value"
    );
}

#[test]
fn secrets_among_the_inputs_are_followed_too() {
    let context = super::context().with_secrets(["mpox".to_owned()]);
    let rendered = Template::parse("{{ inputs.organism | upper }}")
        .unwrap()
        .render(&context)
        .unwrap();
    assert_eq!(rendered.secrets, ["MPOX", "mpox"]);
}

#[test]
fn what_is_reported_is_what_the_masker_masks() {
    let rendered = rendered("user:{{ secret('TOKEN') | upper }}").unwrap();
    let masker = Masker::new(&rendered.secrets);
    assert_eq!(
        masker.mask("log: S3CR3T-VALUE, s3cr3t-Value"),
        "log: ******, ******"
    );
}

#[test]
fn errors_quote_no_secret() {
    for source in [
        "{{ secret('TOKEN') | number }}",
        "{{ inputs[secret('TOKEN')] }}",
        "{{ secret('TOKEN') | upper | date }}",
        "{{ read(secret('TOKEN')) }}",
        "{{ render('{{ ' ~ secret('TOKEN') ~ ' }}') }}",
        "{{ 1 | jq(secret('TOKEN') ~ '(') }}",
    ] {
        let message = error(source).0.to_lowercase();
        assert!(
            !message.contains("s3cr3t") && message.contains("******"),
            "{source}: {message}"
        );
        let debug = format!("{:?}", rendered(source).unwrap_err()).to_lowercase();
        assert!(!debug.contains("s3cr3t"), "{debug}");
    }
}

#[test]
fn templates_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Template>();
    shared::<super::Context>();
    shared::<Masker>();
}
