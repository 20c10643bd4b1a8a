//! What a page of two profiles says of them, and whose each sample is.

use serde::Serialize;
use viperf_profile::{Normalization, Pair, Profile, ProfileInformation};

/// Two profiles in one page.
#[derive(Clone, Debug)]
pub struct Comparison<'p> {
    pair: &'p Pair,
    names: [&'p str; 2],
    normalization: Normalization,
}

impl<'p> Comparison<'p> {
    /// Base and new profile by the names a reader knows them by, compared as the page opens.
    #[must_use]
    pub fn new(pair: &'p Pair, names: [&'p str; 2], normalization: Normalization) -> Self {
        Self {
            pair,
            names,
            normalization,
        }
    }

    /// 0 for a sample of the base, 1 for one of the new profile, in the order of time as the page has its samples.
    pub(super) fn sides(&self, profile: &Profile) -> Vec<u8> {
        let mut order: Vec<(usize, u64)> = profile
            .samples
            .iter()
            .enumerate()
            .map(|(place, sample)| (place, sample.time_ns))
            .collect();
        // As `call_tree::build` sorts them: stable, by time alone.
        order.sort_by_key(|&(_, time_ns)| time_ns);
        let base = self.pair.base_samples();
        let side = |(place, _): (usize, u64)| u8::from(place >= base);
        order.into_iter().map(side).collect()
    }

    pub(super) fn head(&self) -> Head<'p> {
        let [base, new] = self.pair.information();
        let [base_name, new_name] = self.names;
        Head {
            normalize: match self.normalization {
                Normalization::Samples => "samples",
                Normalization::Time => "time",
            },
            sides: [side(base_name, base), side(new_name, new)],
        }
    }
}

#[derive(Serialize)]
pub(super) struct Head<'a> {
    normalize: &'static str,
    sides: [Side<'a>; 2],
}

#[derive(Serialize)]
struct Side<'a> {
    name: &'a str,
    target: &'a str,
    hostname: &'a str,
    started_unix_ms: u64,
    duration_ns: u64,
    rate_hz: u32,
}

fn side<'a>(name: &'a str, information: &'a ProfileInformation) -> Side<'a> {
    Side {
        name,
        target: &information.target,
        hostname: &information.hostname,
        started_unix_ms: information.started_unix_ns / 1_000_000,
        duration_ns: information.duration_ns,
        rate_hz: information.rate_hz,
    }
}
