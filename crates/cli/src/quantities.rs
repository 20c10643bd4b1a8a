//! Rates and times as people write them, and figures as people read them.

use std::time::Duration;

pub(crate) use viperf_report::{show_count, show_counted, show_share};

/// The kernel's own limit, `kernel.perf_event_max_sample_rate` as it boots.
const HIGHEST_RATE: u32 = 100_000;

/// A century; more is a slip of the finger, and `Instant` cannot hold it everywhere.
const LONGEST_SECONDS: f64 = 100.0 * 365.25 * 86_400.0;

/// `99`, `999hz`, `1khz`, `2.5k`: samples per second.
pub(crate) fn parse_rate(text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_suffix("hz").unwrap_or(&lower);
    let (number, factor) = match number.strip_suffix('k') {
        Some(number) => (number, 1000.0),
        None => (number, 1.0),
    };
    let rate = parse_decimal(number).ok_or("write it like 99, 999hz, 1khz or 10k")? * factor;
    if rate < 1.0 || rate > f64::from(HIGHEST_RATE) {
        return Err(format!(
            "choose from 1 to {HIGHEST_RATE} samples per second"
        ));
    }
    if rate.fract() != 0.0 {
        return Err("samples per second are counted whole".to_owned());
    }
    // Checked above: whole, and from 1 to HIGHEST_RATE.
    Ok(rate as u32)
}

/// `30s`, `5m`, `500ms`, `1h`, `90` (seconds), `1.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let lower = text.to_ascii_lowercase();
    let unit =
        lower.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let number = lower.strip_suffix(unit).unwrap_or(&lower);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err("write it like 30s, 5m, 500ms or 1h".to_owned()),
    };
    let seconds = parse_decimal(number).ok_or("write it like 30s, 5m, 500ms or 1h")? * factor;
    if seconds <= 0.0 {
        return Err("choose a time longer than nothing".to_owned());
    }
    if seconds > LONGEST_SECONDS {
        return Err("choose less than a century".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// `256M`, `1.5G`, `500mib`: bytes, in units of 1,024 as `ulimit` and cgroups count them.
pub(crate) fn parse_memory(text: &str) -> Result<usize, String> {
    const LEAST: f64 = (4 << 20) as f64;
    const MOST: f64 = (1_u64 << 31) as f64;
    let lower = text.to_ascii_lowercase();
    let unit =
        lower.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let number = lower.strip_suffix(unit).unwrap_or(&lower);
    let factor = match unit {
        "k" | "kb" | "kib" => f64::from(1 << 10),
        "m" | "mb" | "mib" => f64::from(1 << 20),
        "g" | "gb" | "gib" => f64::from(1 << 30),
        _ => return Err("write it like 64M, 256M or 1G".to_owned()),
    };
    let bytes = parse_decimal(number).ok_or("write it like 64M, 256M or 1G")? * factor;
    if !(LEAST..=MOST).contains(&bytes) {
        return Err("choose from 4M to 2G".to_owned());
    }
    // Checked above.
    Ok(bytes as usize)
}

/// `1%`, `0.5%`, `2`: a part of the whole, 0 to 1.
pub(crate) fn parse_cpu_share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let percent = parse_decimal(number).ok_or("write it like 1% or 0.5%")?;
    match percent {
        0.01..=100.0 => Ok(percent / 100.0),
        _ => Err("choose from 0.01% to 100%".to_owned()),
    }
}

/// Digits with at most one point; no sign, no exponent, no `inf`.
fn parse_decimal(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && text.starts_with(|first: char| first.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// `17 B`, `1.5 kB`, `12 MB`; units of 1,000 as disks and `ls --si` count.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 || unit == "GB" {
            let digits = usize::from(value < 9.95 && unit != "B");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    String::new()
}

/// `850 ns`, `1.9 µs`, `34 ms`, `2.5 s`.
pub(crate) fn show_nanoseconds(nanoseconds: f64) -> String {
    let mut value = nanoseconds;
    for unit in ["ns", "µs", "ms"] {
        if value < 999.5 {
            let digits = usize::from(value < 9.95 && unit != "ns");
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} s")
}

/// `4.2 s` below a minute, then `3:07` and `1:02:03`.
pub(crate) fn show_elapsed(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", elapsed.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_understood_as_documented() {
        for (text, rate) in [
            ("99", 99),
            ("999hz", 999),
            ("1khz", 1000),
            ("1kHz", 1000),
            ("10k", 10_000),
            ("2.5k", 2500),
            ("4999 Hz".replace(' ', "").as_str(), 4999),
        ] {
            assert_eq!(parse_rate(text), Ok(rate), "{text}");
        }
    }

    #[test]
    fn parts_of_the_cpu_are_percent() {
        for (text, share) in [("1%", 0.01), ("0.5%", 0.005), ("2", 0.02), ("100%", 1.0)] {
            let parsed = parse_cpu_share(text).unwrap();
            assert!((parsed - share).abs() < 1e-9, "{text}: {parsed}");
        }
        for text in ["", "%", "0%", "0.001%", "101%", "-1%", "one", "1 %"] {
            assert!(parse_cpu_share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn impossible_rates_say_what_is_possible() {
        for text in [
            "0", "", "k", "hz", "-1", "1e3", "inf", "nan", "99.5", "101k", "1mhz", ".5k",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_rate("1000k").unwrap_err(),
            "choose from 1 to 100000 samples per second"
        );
    }

    #[test]
    fn durations_are_understood_as_documented() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("500ms", 500),
            ("90", 90_000),
            ("1.5s", 1500),
            ("1h", 3_600_000),
            ("2min", 120_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn impossible_durations_are_refused() {
        for text in [
            "0",
            "0s",
            "",
            "s",
            "-1s",
            "1d2",
            "5 s",
            "1e9h",
            "99999999h",
            "1..2s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_understood_as_documented() {
        for (text, mebibytes) in [("256M", 256), ("1g", 1024), ("1.5GiB", 1536), ("8192k", 8)] {
            assert_eq!(parse_memory(text), Ok(mebibytes << 20), "{text}");
        }
        for text in ["", "M", "256", "3M", "3G", "-1M", "1e3M", "64 M", "64T"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn figures_read_well_at_every_size() {
        assert_eq!(show_bytes(17), "17 B");
        assert_eq!(show_bytes(1500), "1.5 kB");
        assert_eq!(show_bytes(12_400_000), "12 MB");
        assert_eq!(show_nanoseconds(850.0), "850 ns");
        assert_eq!(show_nanoseconds(1_900.0), "1.9 µs");
        assert_eq!(show_nanoseconds(34_000_000.0), "34 ms");
        assert_eq!(show_nanoseconds(2_500_000_000.0), "2.5 s");
        assert_eq!(show_elapsed(Duration::from_millis(4240)), "4.2 s");
        assert_eq!(show_elapsed(Duration::from_secs(187)), "3:07");
        assert_eq!(show_elapsed(Duration::from_secs(3723)), "1:02:03");
    }
}
