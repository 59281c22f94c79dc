//! Days of schedules.

use serde_json::json;

use super::{error, value};

#[test]
fn weekends_ends_of_months_and_nth_weekdays() {
    for (source, expected) in [
        ("isWeekend('2026-06-13T02:00:00+02:00')", json!(true)),
        ("isWeekend('2026-06-12T02:00:00+02:00')", json!(false)),
        // Friday evening in New York is Saturday in Zurich.
        (
            "isWeekend('2026-06-12T20:00:00-04:00', timeZone='Europe/Zurich')",
            json!(true),
        ),
        ("isLastDayOfMonth('2028-02-29')", json!(true)),
        ("isLastDayOfMonth('2027-02-27')", json!(false)),
        // 31 May 2026 is a Sunday.
        ("isLastWorkingDay('2026-05-29')", json!(true)),
        ("isLastWorkingDay('2026-05-30')", json!(false)),
        ("isLastWorkingDay('2026-06-30')", json!(true)),
        (
            "isDayWeekInMonth('2026-06-01', 'MONDAY', 'FIRST')",
            json!(true),
        ),
        (
            "isDayWeekInMonth('2026-06-08', 'monday', 'first')",
            json!(false),
        ),
        (
            "isDayWeekInMonth('2026-06-29', 'MONDAY', 'LAST')",
            json!(true),
        ),
        (
            "isDayWeekInMonth('2026-06-22', 'MONDAY', 'FOURTH')",
            json!(true),
        ),
        ("dayOfWeek('2026-06-13')", json!("SATURDAY")),
        ("hourOfDay('2026-06-13T02:00:00+02:00')", json!(2)),
        // What Kestra's conditions of times become.
        (
            "('2026-06-13T02:00:00+02:00' | timestampMilli) > ('2026-06-13T00:00:00Z' | timestampMilli)",
            json!(false),
        ),
        (
            "('2026-06-13T02:00:01+02:00' | timestampMilli) > ('2026-06-13T00:00:00Z' | timestampMilli)",
            json!(true),
        ),
        (
            "('2026-06-13T00:31:00Z' | date('HH:mm:ss', timeZone='+02:00')) > '02:30:00'",
            json!(true),
        ),
        (
            "('2026-06-13T00:31:00Z' | date('HH:mm:ss', timeZone='UTC')) > '02:30:00'",
            json!(false),
        ),
    ] {
        assert_eq!(value(&format!("{{{{ {source} }}}}")), expected, "{source}");
    }
    for (source, part) in [
        ("isWeekend('soon')", "ISO 8601"),
        ("isDayWeekInMonth('2026-06-01', 'MONDAY', 'FIFTH')", "FIRST"),
        ("isDayWeekInMonth('2026-06-01', 'MON', 'FIRST')", "MONDAY"),
    ] {
        let said = format!("{:?}", error(&format!("{{{{ {source} }}}}")));
        assert!(said.contains(part), "{source}: {said}");
    }
}
