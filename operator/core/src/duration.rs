//! Durations as the Gateway API writes them.

use std::time::Duration;

/// The duration that a text such as `1m30s` says. Source: GEP-2257, `^([0-9]{1,5}(h|m|s|ms)){1,4}$`.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).filter(|digits| (1..=5).contains(digits))?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        total += Duration::from_millis(number.parse::<u64>().ok()? * milliseconds(unit)?);
        rest = tail;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

fn milliseconds(unit: &str) -> Option<u64> {
    match unit {
        "h" => Some(3_600_000),
        "m" => Some(60_000),
        "s" => Some(1_000),
        "ms" => Some(1),
        _ => None,
    }
}
