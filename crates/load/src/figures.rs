//! Numbers for people, and the one line of data.

use std::time::Duration;

/// A mebibyte.
const MEBIBYTE: f64 = 1_048_576.0;

/// Prints one line of data.
#[expect(clippy::print_stdout, reason = "the data is what the program is for")]
pub(crate) fn print(value: &serde_json::Value) {
    println!("{value}");
}

/// To three decimals.
pub(crate) fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn real(number: u64) -> f64 {
    number as f64
}

pub(crate) fn seconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64())
}

/// Microseconds as milliseconds.
pub(crate) fn milliseconds(us: u64) -> f64 {
    round(real(us) / 1000.0)
}

/// How many a second, if so many took so long.
pub(crate) fn per_second(number: u64, took: Duration) -> f64 {
    round(real(number) / took.as_secs_f64().max(1e-6))
}

/// Processor time for each, in microseconds.
pub(crate) fn us_each(processor: Duration, number: u64) -> f64 {
    round(processor.as_secs_f64() * 1e6 / real(number.max(1)))
}

/// How much larger the later value is, which may be less than nothing.
pub(crate) fn growth(later: u64, earlier: u64) -> i64 {
    signed(later) - signed(earlier)
}

/// A growth shared among so many.
pub(crate) fn growth_each(later: u64, earlier: u64, number: u64) -> i64 {
    growth(later, earlier) / signed(number.max(1))
}

/// A growth in mebibytes, nothing if it shrank.
pub(crate) fn growth_mib(later: u64, earlier: u64) -> f64 {
    round(real(later.saturating_sub(earlier)) / MEBIBYTE)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrank_is_less_than_nothing_where_that_says_something() {
        assert_eq!(growth(5, 8), -3);
        assert_eq!(growth_each(100, 40, 30), 2);
        assert_eq!(growth_each(100, 40, 0), 60);
        assert!(growth_mib(5, 8).abs() < f64::EPSILON);
    }
}
