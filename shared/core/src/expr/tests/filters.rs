//! Filters and functions, with the results that Kestra documents.

use serde_json::json;

use super::{error, value};

#[test]
fn numbers_and_lists_are_as_kestra_documents() {
    for (source, expected) in [
        ("[1, 2, 3] | toJson", json!("[1,2,3]")),
        ("true | toJson", json!("true")),
        ("\"foo\" | toJson", json!("\"foo\"")),
        ("-7 | abs", json!(7)),
        ("\"12.3\" | number", json!(12.3)),
        (
            "\"9223372036854775807\" | number('BIGDECIMAL')",
            json!(9_223_372_036_854_775_807_i64),
        ),
        ("3.141592653 | numberFormat(\"#.##\")", json!("3.14")),
        (
            "1234567.5 | numberFormat('#,##0.00')",
            json!("1,234,567.50"),
        ),
        ("1234.5 | numberformat('#,##0.0')", json!("1,234.5")),
        ("-0.001 | numberFormat('0.00')", json!("0.00")),
        ("0.256 | numberFormat('0.#%')", json!("25.6%")),
        ("1234567 | numberFormat('#,###')", json!("1,234,567")),
        ("[1, 2, 3, 4, 5] | chunk(2)", json!([[1, 2], [3, 4], [5]])),
        ("['apple', 'banana'] | first", json!("apple")),
        ("'apple' | last", json!("e")),
        ("['apple', 'banana'] | join(', ')", json!("apple, banana")),
        ("{'foo': 'bar', 'baz': 'qux'} | keys", json!(["foo", "baz"])),
        (
            "{'foo': 'bar', 'baz': 'qux'} | values",
            json!(["bar", "qux"]),
        ),
        ("[3, 1, 2] | sort", json!([1, 2, 3])),
        ("[3, 1, 2] | rsort", json!([3, 2, 1])),
        (
            "['apple', 'banana', 'cherry'] | slice(1, 2)",
            json!(["banana"]),
        ),
        ("'Mitchell' | slice(1, 3)", json!("it")),
        (
            "'apple,banana,cherry' | split(',')",
            json!(["apple", "banana", "cherry"]),
        ),
        ("'a.b' | split('.')", json!(["a", "b"])),
        ("'a1b22c' | split('[0-9]+')", json!(["a", "b", "c"])),
        ("'a,b,,' | split(',')", json!(["a", "b"])),
        ("[1, 2, 1, 3] | distinct", json!([1, 2, 3])),
        ("[[1, 2], [3], 4] | flatten", json!([1, 2, 3, 4])),
        ("[1] | merge([2])", json!([1, 2])),
        (
            "{'a': 1, 'b': 2} | merge({'b': 3})",
            json!({"a": 1, "b": 3}),
        ),
    ] {
        assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
    }
}

#[test]
fn texts_are_as_kestra_documents() {
    for (source, expected) in [
        (
            "\"this is a long sentence.\" | abbreviate(7)",
            json!("this..."),
        ),
        (
            "inputs.phone | default(\"No phone number\")",
            json!("No phone number"),
        ),
        ("\"LOUD TEXT\" | lower", json!("loud text")),
        ("\"article title\" | title", json!("Article Title")),
        ("\"article title\" | capitalize", json!("Article title")),
        (
            "\"I like %this% and %that%.\" | replace({'%this%': 'foo', '%that%': \"bar\"})",
            json!("I like foo and bar."),
        ),
        (
            "'aa12' | replace({'[0-9]+': '#'}, regexp=true)",
            json!("aa#"),
        ),
        ("\"Hello World!\" | slugify", json!("hello-world")),
        ("\"a.b.c\" | substringBeforeLast(\".\")", json!("a.b")),
        ("\"a.b.c\" | substringBefore(\".\")", json!("a")),
        ("\"a.b.c\" | substringAfter(\".\")", json!("b.c")),
        ("\"a.b.c\" | substringAfterLast(\".\")", json!("c")),
        ("\"dGVzdA==\" | base64decode", json!("test")),
        ("\"test\" | base64encode", json!("dGVzdA==")),
        (
            "\"test\" | sha256",
            json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ),
        ("\"test\" | md5", json!("098f6bcd4621d373cade4e832627b4f6")),
        (
            "\"test\" | sha1",
            json!("a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"),
        ),
        (
            "\"The string ü@foo-bar\" | urlencode",
            json!("The+string+%C3%BC%40foo-bar"),
        ),
        (
            "\"The+string+%C3%BC%40foo-bar\" | urldecode",
            json!("The string ü@foo-bar"),
        ),
        (
            "\"Can't be here\" | escapeChar('single')",
            json!("Can\\'t be here"),
        ),
        ("\"  x \" | trim", json!("x")),
        ("'abc' | startsWith('ab')", json!(true)),
        ("'abc' | endsWith('ab')", json!(false)),
        ("inputs.list | length", json!(3)),
        ("inputs.list | reverse", json!(["c", "b", "a"])),
        ("3 | string", json!("3")),
        ("'3' | int", json!(3)),
        ("'false' | bool", json!(false)),
        ("'a\nb' | indent(2)", json!("a\n  b")),
        ("'a\nb' | nindent(2)", json!("\n  a\n  b")),
    ] {
        assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
    }
}

#[test]
fn data_and_lookups_are_as_kestra_documents() {
    for (source, expected) in [
        ("[{'a': 1}, 2] | toIon", json!("{\"a\":1}\n2")),
        ("fromIon(read('lines'))", json!([{"a": 1}, {"a": 2}])),
        ("fromJson('[1, 2, 3]')[0]", json!(1)),
        ("fromJson(read('a.json')).n[1]", json!(2)),
        ("yaml('foo: [666, 1, 2]').foo[0]", json!(666)),
        ("\"foo: bar\" | yaml", json!({"foo": "bar"})),
        (
            "{'key': 'value', 'n': [1, {'x': 'yes', 'y': []}], 'm': {'k': null}} | yaml",
            json!("key: value\n\"n\":\n- 1\n- x: \"yes\"\n  \"y\": []\nm:\n  k: null\n"),
        ),
        ("kv('cursor').page", json!(3)),
        ("kv('cursor', 'other')", json!("far")),
        ("kv('nope') ?? 'none'", json!("none")),
        ("kv('nope', errorOnMissing=false)", json!(null)),
        ("fileSize('s3://b/v')", json!(1234)),
        ("render(vars.nested)", json!("MPOX")),
        (
            "renderOnce(vars.twice)",
            json!("{{ inputs.organism | upper }}"),
        ),
        ("render(vars.twice)", json!("MPOX")),
        ("currentEachOutput(outputs.each).value", json!("first")),
        ("'{\"test\": 1}' is json", json!(true)),
        ("{'a': 1} is map", json!(true)),
        ("inputs.none | upper", json!(null)),
    ] {
        assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
    }
}

#[test]
fn dates_have_javas_patterns() {
    for (source, expected) in [
        ("execution.startDate | date('yyyy-MM-dd')", "2026-03-28"),
        (
            "execution.startDate | date('yyyy-MM-dd HH:mm:ss.SSSSSS')",
            "2026-03-28 23:15:00.500000",
        ),
        ("execution.startDate | date", "2026-03-28T23:15:00.500000Z"),
        (
            "now() | date(\"yyyy-MM-dd'T'HH:mm:ssX\", timeZone='UTC')",
            "2026-03-29T00:30:15Z",
        ),
        ("now()", "2026-03-29T00:30:15.123456Z"),
        // Across the start of summer time.
        ("now('Europe/Zurich')", "2026-03-29T01:30:15.123456+01:00"),
        (
            "now() | dateAdd(1, 'HOURS', timeZone='Europe/Zurich')",
            "2026-03-29T03:30:15.123456+02:00",
        ),
        ("now() | dateAdd(-1, 'DAYS', 'yyyyMMdd')", "20260328"),
        (
            "'2026-01-31' | dateAdd(1, 'MONTHS', 'iso_local_date')",
            "2026-02-28",
        ),
        (
            "'2026-March-5' | date(existingFormat='yyyy-MMMM-d', format='yyyy/MMMM/d')",
            "2026/March/5",
        ),
        (
            "'05.03.2026 14:07' | date('iso_sec', existingFormat='dd.MM.yyyy HH:mm', timeZone='Europe/Zurich')",
            "2026-03-05T14:07:00+01:00",
        ),
        (
            "'2026-03-05T14:07:00+09:00' | date(\"h 'o''clock' a, EEEE d MMM yy Z\")",
            "2 o'clock PM, Thursday 5 Mar 26 +0900",
        ),
        (
            "'2026-03-05T14:07:00+09:00' | date('iso_instant')",
            "2026-03-05T05:07:00Z",
        ),
        (
            "'2026-03-05T14:07:00.25' | date('iso_zoned_date_time', timeZone='Asia/Kolkata')",
            "2026-03-05T14:07:00.25+05:30[Asia/Kolkata]",
        ),
        ("1772000000 | date('sql_seq')", "2026-02-25 06:13:20"),
        (
            "1772000000123 | date('sql_milli')",
            "2026-02-25 06:13:20.123",
        ),
    ] {
        assert_eq!(
            value(&format!("{{{{ {source} }}}}")),
            json!(expected),
            "{source}"
        );
    }
    assert_eq!(value("{{ now() | timestamp }}"), json!(1_774_744_215));
    assert_eq!(
        value("{{ now() | timestampMilli }}"),
        json!(1_774_744_215_123_i64)
    );
    assert_eq!(
        value("{{ now() | timestampNano }}"),
        json!(1_774_744_215_123_456_000_i64)
    );
    for (source, message) in [
        ("{{ 'soon' | date }}", "`soon` is not an ISO 8601 date"),
        ("{{ now() | date('yyyy-QQ') }}", "letter `Q`"),
        (
            "{{ now() | date('yyyy', timeZone='Mars/Base') }}",
            "is not a time zone",
        ),
        ("{{ now() | dateAdd(1, 'FORTNIGHTS') }}", "not `FORTNIGHTS`"),
        (
            "{{ '2026-13-05' | date('yyyy', existingFormat='yyyy-MM-dd') }}",
            "does not have the form",
        ),
    ] {
        assert!(
            error(source).0.contains(message),
            "{source}: {}",
            error(source).0
        );
    }
}

#[test]
fn jq_is_jqs() {
    for (source, expected) in [
        ("[1, 2, 3] | jq('.')", json!([[1, 2, 3]])),
        // As a body of an answer is: text.
        ("'{\"a\": [1, 2]}' | jq('.a[1]') | first", json!(2)),
        ("'5' | jq('. + 1') | first", json!(6)),
        ("null | jq('.a')", json!(null)),
        ("[1, 2, 3] | jq('.[0]') | first", json!(1)),
        ("{'value': 2} | jq('.value * 2') | first", json!(4)),
        (
            "[72, 88, 95] | jq('reduce .[] as $num (0; .+$num)') | first",
            json!(255),
        ),
        (
            "[{'slug': 'a'}, {'slug': 'b'}] | jq('.[].slug')",
            json!(["a", "b"]),
        ),
        ("outputs | jq('.align.vars | keys')", json!([["n", "name"]])),
        (
            "[3, 1, 2] | jq('map(select(. > 1)) | sort') | first",
            json!([2, 3]),
        ),
        (
            "[{'k': 'b', 'v': 1}, {'k': 'a', 'v': 2}] | jq('sort_by(.k)[0].v') | first",
            json!(2),
        ),
        (
            "[{'k': 1}, {'k': 2}, {'k': 1}] | jq('group_by(.k) | map(length)') | first",
            json!([2, 1]),
        ),
        (
            "{'a': 1} | jq('to_entries[] | \"\\(.key)=\\(.value)\"')",
            json!(["a=1"]),
        ),
        ("{'a': 1} | jq('with_entries(.value += 1)?')", json!([])),
        (
            "{'a': 1} | jq('with_entries({key: .key, value: (.value + 1)})') | first",
            json!({"a": 2}),
        ),
        (
            "{'a': {'b': null}} | jq('.a.b // \"none\"') | first",
            json!("none"),
        ),
        (
            "'a,b' | jq('split(\",\") | join(\"-\")') | first",
            json!("a-b"),
        ),
        ("[1, [2, [3]]] | jq('flatten | add') | first", json!(6)),
        (
            "[1, 'x'] | jq('map(try tonumber catch 0)') | first",
            json!([1, 0]),
        ),
        (
            "{'n': 5} | jq('if .n > 3 then \"big\" else \"small\" end') | first",
            json!("big"),
        ),
        (
            "{'a': 1, 'b': 2} | jq('{a, c: .b}') | first",
            json!({"a": 1, "c": 2}),
        ),
        ("[1, 2, 3, 4] | jq('.[1:-1]') | first", json!([2, 3])),
        ("[[1, 2]] | jq('.[] as [$a, $b] | $a + $b')", json!([3])),
        (
            "{'a': [1, {'a': 2}]} | jq('[.. | numbers]') | first",
            json!([1, 2]),
        ),
        ("7 | jq('. / 2, . % 2, -. ')", json!([3.5, 1, -7])),
        ("[true, false] | jq('any, all')", json!([true, false])),
        (
            "3 | jq('[foreach range(.) as $i (0; . + $i)]') | first",
            json!([0, 1, 3]),
        ),
        (
            "['b', 'a', 'b'] | jq('unique, min, max')",
            json!([["a", "b"], "a", "b"]),
        ),
    ] {
        assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
    }
    for (source, message) in [
        ("{{ 1 | jq('.a') }}", "jq: cannot index number with a"),
        ("{{ 1 | jq('.[') }}", "is not a jq program"),
        ("{{ 1 | jq('def f: f; f') }}", "not supported"),
        (
            "{{ 1 | jq('halt') }}",
            "`halt` with 0 arguments is not supported",
        ),
        ("{{ 1 | jq('. = 2') }}", "assignment is not supported"),
        ("{{ 1 | jq('$ENV') }}", "`$ENV` is not defined"),
    ] {
        assert!(
            error(source).0.contains(message),
            "{source}: {}",
            error(source).0
        );
    }
}
