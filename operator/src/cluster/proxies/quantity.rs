//! Quantities as the API server writes them back, so that what is wanted compares equal to what is there.
//!
//! Source: `k8s.io/apimachinery/pkg/api/resource`: no fraction, and the greatest suffix that needs none.

/// The canonical form; as it is if it is none (the API server then says so).
pub(super) fn canonical(text: &str) -> String {
    read(text).map_or_else(|| text.to_owned(), |(value, family)| write(value, family))
}

/// Suffixes of one kind, the greatest first, each with its value in thousandths.
type Family = &'static [(&'static str, i128)];

const DECIMAL: Family = &[
    ("E", 1_000_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("G", 1_000_000_000_000),
    ("M", 1_000_000_000),
    ("k", 1_000_000),
    ("", 1_000),
    ("m", 1),
];

const BINARY: Family = &[
    ("Ei", 1000 << 60),
    ("Pi", 1000 << 50),
    ("Ti", 1000 << 40),
    ("Gi", 1000 << 30),
    ("Mi", 1000 << 20),
    ("Ki", 1000 << 10),
    ("", 1_000),
    ("m", 1),
];

/// In thousandths. Finer ones and exponents are left as they are: nobody writes them for CPU or memory.
fn read(text: &str) -> Option<(i128, Family)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(digits)?;
    let family = if suffix.ends_with('i') { BINARY } else { DECIMAL };
    let (_, unit) = family.iter().find(|(name, _)| *name == suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(*unit)?;
    (scaled % scale == 0).then_some((scaled / scale, family))
}

fn write(value: i128, family: Family) -> String {
    let fits = |(_, unit): &&(&str, i128)| value % unit == 0;
    let found = if value == 0 { None } else { family.iter().find(fits) };
    found.map_or_else(|| value.to_string(), |(suffix, unit)| format!("{}{suffix}", value / unit))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn quantities_are_written_as_the_api_server_does() {
        for (written, stored) in [
            ("100m", "100m"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("2", "2"),
            ("1000", "1k"),
            ("128Mi", "128Mi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("500M", "500M"),
            ("0", "0"),
            ("1e3", "1e3"),
            ("lots", "lots"),
        ] {
            assert_eq!(canonical(written), stored, "{written}");
        }
    }
}
