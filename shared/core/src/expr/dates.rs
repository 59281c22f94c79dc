//! Filters on dates and times, with Java's `DateTimeFormatter` patterns.
//!
//! A date without a zone is taken in `timeZone`, or UTC: there is no zone of the machine here.

use jiff::civil::Time;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use minijinja::Value;

use super::catalog::{Callable, filter_of};
use super::date_pattern::Pattern;
use super::date_reader::read_offset;
use super::error::{Fault, bad};
use super::runtime::Call;
use super::value::{Number, kind};

type Outcome = Result<Value, Fault>;

/// Kestra's `iso`, in which every date is written unless a format is given.
const ISO: &str = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX";

pub(super) const FILTERS: &[Callable] = &[
    filter_of(
        "date",
        &["value", "format", "existingFormat", "timeZone", "locale"],
        1,
        |call| {
            locale(call, 4)?;
            let moment = moment(call, 2, 3)?;
            write(&moment, &call.text_or(1, ISO)?)
        },
    ),
    filter_of(
        "dateAdd",
        &[
            "value",
            "amount",
            "unit",
            "format",
            "existingFormat",
            "timeZone",
            "locale",
        ],
        3,
        date_add,
    ),
    filter_of(
        "timestamp",
        &["value", "existingFormat", "timeZone"],
        1,
        |call| Ok(Value::from(moment(call, 1, 2)?.timestamp().as_second())),
    ),
    filter_of(
        "timestampMicro",
        &["value", "existingFormat", "timeZone"],
        1,
        |call| {
            Ok(Value::from(
                moment(call, 1, 2)?.timestamp().as_microsecond(),
            ))
        },
    ),
    filter_of(
        "timestampMilli",
        &["value", "existingFormat", "timeZone"],
        1,
        |call| {
            Ok(Value::from(
                moment(call, 1, 2)?.timestamp().as_millisecond(),
            ))
        },
    ),
    filter_of(
        "timestampNano",
        &["value", "existingFormat", "timeZone"],
        1,
        |call| Number::Int(moment(call, 1, 2)?.timestamp().as_nanosecond()).value(),
    ),
];

/// The time of the evaluation.
pub(super) fn now(call: &Call<'_>) -> Outcome {
    let zone = zone(call, 0)?.unwrap_or(TimeZone::UTC);
    write(&call.runtime.context.resolver().now().to_zoned(zone), ISO)
}

fn write(moment: &Zoned, format: &str) -> Outcome {
    Ok(Value::from(Pattern::parse(format)?.write(moment)))
}

fn date_add(call: &Call<'_>) -> Outcome {
    locale(call, 6)?;
    let moment = moment(call, 4, 5)?;
    let amount = call.int(1)?.unwrap_or_default();
    let unit = call.text(2)?.to_uppercase();
    let span = Span::new();
    let span = match unit.trim_end_matches('S') {
        "NANO" => span.try_nanoseconds(amount),
        "MICRO" => span.try_microseconds(amount),
        "MILLI" => span.try_milliseconds(amount),
        "SECOND" => span.try_seconds(amount),
        "MINUTE" => span.try_minutes(amount),
        "HOUR" => span.try_hours(amount),
        "HALF_DAY" => span.try_hours(amount.saturating_mul(12)),
        "DAY" => span.try_days(amount),
        "WEEK" => span.try_weeks(amount),
        "MONTH" => span.try_months(amount),
        "YEAR" => span.try_years(amount),
        _ => {
            return bad(format!(
                "`dateAdd` knows NANOS, MICROS, MILLIS, SECONDS, MINUTES, HOURS, HALF_DAYS, DAYS, WEEKS, \
                 MONTHS and YEARS, not `{unit}`"
            ));
        }
    };
    match span.and_then(|span| moment.checked_add(span)) {
        Ok(moment) => write(&moment, &call.text_or(3, ISO)?),
        Err(_) => bad(format!("{amount} {unit} from {moment} is no date")),
    }
}

/// Names of months and days are English.
fn locale(call: &Call<'_>, slot: usize) -> Result<(), Fault> {
    let name = call.text_or(slot, "en")?;
    if name.starts_with("en") {
        return Ok(());
    }
    bad(format!(
        "dates are written in English, not in `{name}`; leave out the locale"
    ))
}

fn zone(call: &Call<'_>, slot: usize) -> Result<Option<TimeZone>, Fault> {
    let Some(name) = call.given(slot) else {
        return Ok(None);
    };
    let name = super::value::display(name)?;
    let fixed = || read_offset(&name).map(TimeZone::fixed);
    match TimeZone::get(&name).ok().or_else(fixed) {
        Some(zone) => Ok(Some(zone)),
        None => bad(format!(
            "`{name}` is not a time zone such as `Europe/Zurich` or `UTC`"
        )),
    }
}

/// The input as a moment, in the zone of the argument, else in its own, else in UTC.
pub(super) fn moment(
    call: &Call<'_>,
    format_slot: usize,
    zone_slot: usize,
) -> Result<Zoned, Fault> {
    let wanted = zone(call, zone_slot)?;
    let value = call.value(0);
    let moment = match (Number::of(&value), value.as_str(), call.given(format_slot)) {
        (Some(number), _, _) => from_number(number)?,
        (None, Some(text), Some(format)) => {
            Pattern::parse(&super::value::display(format)?)?.read(text, wanted.as_ref())?
        }
        (None, Some(text), None) => from_text(text.trim(), wanted.as_ref())?,
        _ => {
            return bad(format!(
                "`{}` needs a date, not {}",
                call.name,
                kind(&value)
            ));
        }
    };
    Ok(match wanted {
        Some(zone) => moment.with_time_zone(zone),
        None => moment,
    })
}

/// Seconds since 1970, or milli-, micro- or nanoseconds if that gives a year after 5000.
fn from_number(number: Number) -> Result<Zoned, Fault> {
    let nanos = match number {
        Number::Int(value) => {
            let scale = match value.unsigned_abs() {
                0..100_000_000_000 => 1_000_000_000,
                100_000_000_000..100_000_000_000_000 => 1_000_000,
                100_000_000_000_000..100_000_000_000_000_000 => 1000,
                _ => 1,
            };
            value.checked_mul(scale)
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "beyond the range it is no date either"
        )]
        Number::Float(value) => Some((value * 1e9) as i128),
    };
    match nanos.and_then(|nanos| Timestamp::from_nanosecond(nanos).ok()) {
        Some(moment) => Ok(moment.to_zoned(TimeZone::UTC)),
        None => bad("the number is no date"),
    }
}

/// ISO 8601, with or without time, offset and zone.
fn from_text(text: &str, wanted: Option<&TimeZone>) -> Result<Zoned, Fault> {
    let failed = || {
        Fault::Value(format!(
            "`{}` is not an ISO 8601 date; name its form with `existingFormat='yyyy-MM-dd'`",
            text.chars().take(40).collect::<String>()
        ))
    };
    let pieces = Pieces::parse(text).map_err(|_| failed())?;
    let local = pieces
        .date()
        .to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let named = pieces.to_time_zone().map_err(|_| failed())?;
    let moment = match pieces.offset() {
        Some(PiecesOffset::Zulu) => TimeZone::UTC.to_zoned(local),
        Some(offset) => {
            let moment = TimeZone::fixed(offset.to_numeric_offset()).to_zoned(local);
            moment.map(|moment| named.map_or(moment.clone(), |zone| moment.with_time_zone(zone)))
        }
        None => named
            .or_else(|| wanted.cloned())
            .unwrap_or(TimeZone::UTC)
            .to_zoned(local),
    };
    moment.map_err(|_| failed())
}
