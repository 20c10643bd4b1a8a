//! What viperf holds while it runs: memory, maps, file descriptors.

use std::fs;

use anyhow::{Context, Result, ensure};
use viperf_e2e::note_figure;

/// The largest of each, before and after half of the looks.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<Look>);

#[derive(Clone, Copy, Debug, Default)]
struct Look {
    resident_kib: u64,
    map_kib: u64,
    descriptors: u64,
}

/// How much more the second half may hold than the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    resident_kib: u64,
    descriptors: u64,
}

/// No growth: what is seen for the first time has been seen.
pub(super) const FLAT: Growth = Growth {
    resident_kib: 24 << 10,
    descriptors: 16,
};

/// A run that is too short to tell what is seen for the first time from what is kept for ever.
pub(super) const BOUNDED: Growth = Growth {
    resident_kib: 128 << 10,
    descriptors: 512,
};

impl Held {
    /// What it holds now.
    pub(super) fn look(&mut self, pid: u32) -> Result<()> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|text| text.split_whitespace().next());
        let mut look = Look {
            resident_kib: resident.context("no VmRSS")?.parse()?,
            ..Look::default()
        };
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
            look.descriptors += 1;
            // One that is closed meanwhile holds nothing.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let is_map = text.lines().any(|line| line.starts_with("map_type:"));
            let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
            if let Some(bytes) = bytes.filter(|_| is_map) {
                look.map_kib += bytes.trim().parse::<u64>()? >> 10;
            }
        }
        self.0.push(look);
        Ok(())
    }

    /// The first looks, at what is loaded once, are left out.
    fn halves(&self) -> (Look, Look) {
        let settled = self.0.get(self.0.len() / 4..).unwrap_or_default();
        let (first, second) = settled.split_at(settled.len() / 2);
        let largest = |looks: &[Look]| {
            looks.iter().fold(Look::default(), |largest, look| Look {
                resident_kib: largest.resident_kib.max(look.resident_kib),
                map_kib: largest.map_kib.max(look.map_kib),
                descriptors: largest.descriptors.max(look.descriptors),
            })
        };
        (largest(first), largest(second))
    }

    pub(super) fn note(&self) {
        let (first, second) = self.halves();
        note_figure("soak/held", &format!("{first:?}, later {second:?}"));
    }

    /// What it holds does not grow beyond this.
    pub(super) fn judge(&self, growth: Growth) -> Result<()> {
        let (first, second) = self.halves();
        let shown = || format!("{first:?}, later {second:?}");
        ensure!(
            second.resident_kib <= first.resident_kib + growth.resident_kib,
            "memory grows: {}",
            shown()
        );
        ensure!(
            second.descriptors <= first.descriptors + growth.descriptors,
            "file descriptors grow: {}",
            shown()
        );
        // A shard of rows for interpreters that were started late.
        ensure!(
            second.map_kib <= first.map_kib + first.map_kib / 2,
            "maps grow: {}",
            shown()
        );
        Ok(())
    }
}
