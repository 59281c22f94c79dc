//! Functions about days, for conditions of schedules: weekends, ends of months, the n-th weekday.
//!
//! Public holidays are a list of the flow (`vars.holidays`), not a function: which days are free differs by canton
//! and by year, and no crate that knows them is well kept (docs/decisions/0040-triggers.md).

use jiff::civil::Weekday;
use minijinja::Value;

use super::catalog::{Callable, function_of};
use super::dates::moment;
use super::error::{Fault, bad};
use super::runtime::Call;

type Outcome = Result<Value, Fault>;

pub(super) const FUNCTIONS: &[Callable] = &[
    function_of(
        "dayOfWeek",
        &["date", "existingFormat", "timeZone"],
        1,
        |call| Ok(Value::from(name_of(moment(call, 1, 2)?.weekday()))),
    ),
    function_of(
        "hourOfDay",
        &["date", "existingFormat", "timeZone"],
        1,
        |call| Ok(Value::from(moment(call, 1, 2)?.hour())),
    ),
    function_of(
        "isDayWeekInMonth",
        &[
            "date",
            "dayOfWeek",
            "dayInMonth",
            "existingFormat",
            "timeZone",
        ],
        3,
        is_day_week_in_month,
    ),
    function_of(
        "isLastDayOfMonth",
        &["date", "existingFormat", "timeZone"],
        1,
        |call| {
            let day = moment(call, 1, 2)?.date();
            Ok(Value::from(day == day.last_of_month()))
        },
    ),
    function_of(
        "isLastWorkingDay",
        &["date", "existingFormat", "timeZone"],
        1,
        |call| {
            let day = moment(call, 1, 2)?.date();
            let last = day.last_of_month();
            let back = match last.weekday() {
                Weekday::Saturday => 1,
                Weekday::Sunday => 2,
                _ => 0,
            };
            Ok(Value::from(day.day() == last.day() - back))
        },
    ),
    function_of(
        "isWeekend",
        &["date", "existingFormat", "timeZone"],
        1,
        |call| {
            let weekday = moment(call, 1, 2)?.weekday();
            Ok(Value::from(matches!(
                weekday,
                Weekday::Saturday | Weekday::Sunday
            )))
        },
    ),
];

fn is_day_week_in_month(call: &Call<'_>) -> Outcome {
    let day = moment(call, 3, 4)?.date();
    let (weekday, which) = (call.text(1)?.to_uppercase(), call.text(2)?.to_uppercase());
    let place = match which.as_str() {
        "FIRST" => 1,
        "SECOND" => 2,
        "THIRD" => 3,
        "FOURTH" => 4,
        "LAST" => 0,
        _ => {
            return bad(format!(
                "`{which}` is not FIRST, SECOND, THIRD, FOURTH or LAST"
            ));
        }
    };
    if !NAMES.contains(&weekday.as_str()) {
        return bad(format!("`{weekday}` is no day such as MONDAY"));
    }
    let here = if place == 0 {
        day.day() + 7 > day.days_in_month()
    } else {
        (day.day() - 1) / 7 + 1 == place
    };
    Ok(Value::from(here && name_of(day.weekday()) == weekday))
}

/// Days of the week as Kestra writes them, Monday first.
pub(crate) const NAMES: [&str; 7] = [
    "MONDAY",
    "TUESDAY",
    "WEDNESDAY",
    "THURSDAY",
    "FRIDAY",
    "SATURDAY",
    "SUNDAY",
];

fn name_of(weekday: Weekday) -> &'static str {
    let index = usize::try_from(weekday.to_monday_zero_offset()).unwrap_or(0);
    NAMES.get(index).copied().unwrap_or("MONDAY")
}
