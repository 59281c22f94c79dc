//! No form of a secret remains.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cr3t/Va+lue \"é'";

#[test]
fn every_common_form_is_masked() {
    let masker = Masker::new([SECRET]);
    let url = utf8_percent_encode(SECRET, COMPONENT).to_string();
    for form in [
        SECRET.to_owned(),
        SECRET.to_uppercase(),
        SECRET.to_lowercase(),
        serde_json::to_string(SECRET).unwrap(),
        serde_json::to_string(&serde_json::to_string(SECRET).unwrap()).unwrap(),
        "s3cr3t\\/Va+lue \\\"é'".to_owned(),
        "s3cr3t/Va+lue \\\"\\u00e9'".to_owned(),
        url.to_lowercase(),
        url.replace("%20", "+"),
        url,
        hex(SECRET.as_bytes()),
        hex(SECRET.as_bytes()).to_uppercase(),
        STANDARD.encode(SECRET),
        STANDARD_NO_PAD.encode(SECRET),
        URL_SAFE.encode(SECRET),
        URL_SAFE_NO_PAD.encode(SECRET),
    ] {
        let shown = masker.mask(&form).replace(['"', '\\'], "");
        assert_eq!(shown, MASK, "{form}");
        assert_eq!(
            masker.mask(&format!("key={form};")).matches(MASK).count(),
            1,
            "{form}"
        );
    }
    assert_eq!(masker.mask("nothing here"), Cow::Borrowed("nothing here"));
}

#[test]
fn short_secrets_are_masked_as_words_only() {
    let masker = Masker::new(["no", "", "  "]);
    assert_eq!(
        masker.mask("no, normal 'no' No"),
        "******, normal '******' No"
    );
    assert!(Masker::new(["", " \n"]).is_empty());
}

#[test]
fn overlapping_and_touching_secrets_leave_nothing() {
    let masker = Masker::new(["abcdef", "defghi", "ghijkl"]);
    assert_eq!(masker.mask("xabcdefghiy"), "x******y");
    assert_eq!(masker.mask("abcdefabcdef"), "******");
}

#[test]
fn secrets_of_many_lines_are_masked_line_by_line() {
    let key = "-----BEGIN KEY-----\nMIIEabcdefgh\nijklmnop==\n-----END KEY-----\n";
    let masker = Masker::new([key]);
    assert_eq!(masker.mask("  MIIEabcdefgh"), "  ******");
    assert_eq!(
        masker
            .mask(&key.replace('\n', "\r\n"))
            .matches("MIIE")
            .count(),
        0
    );
    let json = serde_json::to_string(key).unwrap();
    assert!(
        !masker.mask(&json).contains("abcdefgh"),
        "{}",
        masker.mask(&json)
    );
    assert!(
        !masker
            .mask(&STANDARD.encode(key))
            .contains(&STANDARD.encode("MIIEabcdefgh")[..8])
    );
}

#[test]
fn long_secrets_are_masked_whole() {
    let long: String = (1000..3000)
        .flat_map(|n: u32| n.to_string().into_bytes())
        .map(char::from)
        .collect();
    let masked = Masker::new([&long]).mask(&format!("<{long}>")).into_owned();
    assert_eq!(masked, "<******>");
    let encoded = Masker::new([&long])
        .mask(&STANDARD.encode(format!("x{long}")))
        .into_owned();
    assert!(encoded.len() < 16, "{encoded}");
}

proptest! {
    #[test]
    fn masking_never_fails_and_leaves_no_secret(
        secret in "[ -~é]{4,40}", before in "\\PC{0,20}", after in "\\PC{0,20}",
    ) {
        let secret = secret.trim().to_owned();
        prop_assume!(secret.chars().count() >= 4 && !MASK.contains(&secret));
        let masker = Masker::new([&secret]);
        let shown = masker.mask(&format!("{before}{secret}{after}")).into_owned();
        prop_assert!(!shown.contains(&secret));
        let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
        let at = before.len();
        // The characters that hold only bits of the secret.
        let inside = &encoded[(at * 8).div_ceil(6)..(at + secret.len()) * 8 / 6];
        prop_assert!(!masker.mask(&encoded).contains(inside));
    }
}
