//! Whether something takes more or less than it did.

use crate::history::Parts;

/// A change is shown from so many standard deviations on; with fewer, rows of a steady program would flicker.
const NOTABLE: f64 = 3.0;

/// Of fewer samples, standard deviations say nothing.
const FEWEST: f64 = 10.0;

/// How the share of a row has changed, in points of 100 % of the samples: the last two seconds against what was before.
/// Nothing is said of what can be chance.
pub(crate) fn find_trend(part: Parts, whole: Parts) -> Option<f64> {
    if whole.recent <= 0.0 || whole.before <= 0.0 || part.recent + part.before < FEWEST {
        return None;
    }
    let recent = part.recent / whole.recent;
    let before = part.before / whole.before;
    let both = (part.recent + part.before) / (whole.recent + whole.before);
    let deviation = (both * (1.0 - both) * (1.0 / whole.recent + 1.0 / whole.before)).sqrt();
    let change = recent - before;
    (deviation > 0.0 && change.abs() > NOTABLE * deviation).then_some(change * 100.0)
}

/// How the samples per second of a row have changed, in samples per second: shares would change with what others do.
///
/// A thread that is always busy has samples at equal distances, which scatter less than chance says, so nothing is shown
/// that is none.
pub(crate) fn find_rate_trend(part: Parts, (recent, before): (f64, f64)) -> Option<f64> {
    if recent <= 0.0 || before <= 0.0 || part.recent + part.before < FEWEST {
        return None;
    }
    let both = (part.recent + part.before) / (recent + before);
    let deviation = (both * (1.0 / recent + 1.0 / before)).sqrt();
    let change = part.recent / recent - part.before / before;
    (change.abs() > NOTABLE * deviation).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(recent: f64, before: f64) -> Parts {
        Parts {
            recent,
            before,
            ..Parts::default()
        }
    }

    #[test]
    fn a_change_beyond_chance_is_a_trend_and_noise_is_none() {
        let whole = parts(200.0, 1000.0);
        let up = find_trend(parts(150.0, 250.0), whole).unwrap();
        assert!((up - 50.0).abs() < 0.01, "{up}");
        assert!(find_trend(parts(20.0, 500.0), whole).unwrap() < -39.0);
        assert_eq!(find_trend(parts(54.0, 250.0), whole), None);
        assert_eq!(find_trend(whole, whole), None);
    }

    #[test]
    fn a_rate_changes_only_with_its_own_samples() {
        let change = find_rate_trend(parts(200.0, 0.0), (2.0, 10.0)).unwrap();
        assert!((change - 100.0).abs() < 0.01, "{change}");
        assert_eq!(find_rate_trend(parts(198.0, 990.0), (2.0, 10.0)), None);
        assert_eq!(find_rate_trend(parts(3.0, 10.0), (2.0, 0.0)), None);
    }

    #[test]
    fn a_handful_of_samples_is_no_trend() {
        assert_eq!(find_trend(parts(0.0, 2.0), parts(200.0, 2.0)), None);
        assert_eq!(find_rate_trend(parts(0.0, 1.0), (2.0, 0.3)), None);
    }

    #[test]
    fn without_a_before_there_is_no_trend() {
        assert_eq!(find_trend(parts(50.0, 0.0), parts(90.0, 0.0)), None);
        assert_eq!(find_trend(parts(0.0, 50.0), parts(0.0, 90.0)), None);
    }
}
