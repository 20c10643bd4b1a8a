//! What the processes say of themselves, beside what was sampled of them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use viperf_e2e::note_figure;

use super::recorded::{Process, Recorded, Seen};

/// Milliseconds of CPU of a process that must be seen.
const SEEN_FROM: f64 = 20.0;

/// Clock ticks per second of `/proc/PID/stat` on x86-64.
const TICKS_PER_SECOND: u64 = 100;
/// How far apart two statements of one start may be: what the kernel tells is cut to a tick, and a process that was not
/// read itself was started when its fork was recorded. A number is not given again so soon.
const SAME_START_TICKS: u64 = 5 * TICKS_PER_SECOND;

/// A process of the report: numbers are given again, a number and a start are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Id {
    pid: u32,
    /// In clock ticks since boot; 0 in a root without `/proc`.
    start: u64,
}

/// What the kernel accounted to one process, or what it said itself.
#[derive(Debug)]
struct Life {
    kind: String,
    cpu_ms: f64,
}

/// What was sampled of one process.
#[derive(Clone, Copy, Debug, Default)]
struct Sampled {
    all: u64,
    /// Not in the kernel alone, as at a process's end, when its memory is given back and it has no stack of its own.
    user: u64,
    /// With Python frames that have names.
    python: u64,
    /// In the function that is named after it.
    own: u64,
}

#[derive(Debug)]
pub(super) struct Account {
    lives: BTreeMap<Id, Life>,
    sampled: HashMap<Id, Sampled>,
    /// Samples of processes of which it is not known which of several of that number they are.
    ambiguous: u64,
    /// Stacks in a function that is named after another process.
    wrong: Vec<String>,
    /// Of processes that must have Python frames, the heaviest without.
    without: Vec<(u64, String)>,
}

impl Account {
    /// From the report of the driver, whose last line of a process counts, and the recording.
    pub(super) fn read(report: &str, recorded: &Recorded) -> Result<Self> {
        let mut lives = BTreeMap::new();
        for line in report.lines() {
            let mut words = line.split(' ');
            let mut next = || words.next().with_context(|| format!("a line {line:?}"));
            let (pid, start) = (next()?.parse()?, next()?.parse()?);
            let (kind, cpu_ms) = (next()?.to_owned(), next()?.parse()?);
            lives.insert(Id { pid, start }, Life { kind, cpu_ms });
        }
        let mut account = Self {
            lives,
            sampled: HashMap::new(),
            ambiguous: 0,
            wrong: Vec::new(),
            without: Vec::new(),
        };
        for seen in recorded.stacks()? {
            account.add(&seen);
        }
        account
            .without
            .sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        Ok(account)
    }

    /// Whose life it was; none of those that are reported, or the number of several.
    fn find(&self, process: &Process) -> Result<Option<Id>, Ambiguous> {
        let pid = process.pid;
        let of_number = Id { pid, start: 0 }..=Id {
            pid,
            start: u64::MAX,
        };
        let mut lives = self.lives.range(of_number).map(|(id, _)| *id);
        if process.start_time_ns == 0 {
            let only = lives.next();
            return lives.next().map_or(Ok(only), |_| Err(Ambiguous));
        }
        let start = process.start_time_ns / (1_000_000_000 / TICKS_PER_SECOND);
        let nearest = lives.min_by_key(|id| id.start.abs_diff(start));
        Ok(nearest.filter(|id| id.start.abs_diff(start) <= SAME_START_TICKS))
    }

    fn add(&mut self, seen: &Seen<'_>) {
        let id = match self.find(seen.process) {
            Ok(Some(id)) => id,
            Ok(None) => return,
            Err(Ambiguous) => {
                self.ambiguous += seen.count;
                return;
            }
        };
        let sampled = self.sampled.entry(id).or_default();
        sampled.all += seen.count;
        if seen.is_kernel_alone() {
            return;
        }
        sampled.user += seen.count;
        let mut names = seen.python_names().peekable();
        if names.peek().is_some() && seen.python_names().all(|name| !name.is_empty()) {
            sampled.python += seen.count;
        } else if self
            .lives
            .get(&id)
            .is_some_and(|life| life.kind != "started")
        {
            self.without.push((seen.count, seen.to_string()));
        }
        for name in names {
            let Some(owner) = name.strip_prefix("only_in_") else {
                continue;
            };
            match is_named(owner, id) {
                true => sampled.own += seen.count,
                false => self.wrong.push(seen.to_string()),
            }
        }
    }

    /// The processes of these kinds that used so much CPU time, with what was sampled of them.
    fn of(&self, kinds: &[&str], from_ms: f64) -> Vec<(Id, &Life, Sampled)> {
        let lives = self
            .lives
            .iter()
            .filter(|(_, life)| kinds.contains(&life.kind.as_str()) && life.cpu_ms >= from_ms);
        lives
            .map(|(id, life)| {
                let sampled = self.sampled.get(id).copied().unwrap_or_default();
                (*id, life, sampled)
            })
            .collect()
    }

    /// Samples times period by the CPU time that the kernel accounted.
    fn share_of_cpu(&self, kinds: &[&str], rate: u64) -> f64 {
        let lives = self.of(kinds, 0.0);
        let used: f64 = lives.iter().map(|(_, life, _)| life.cpu_ms).sum();
        let samples: u64 = lives.iter().map(|(_, _, sampled)| sampled.all).sum();
        1000.0 * samples as f64 / rate as f64 / used.max(1.0)
    }

    /// Of the samples that can have any.
    fn share_with_python(&self, kinds: &[&str]) -> f64 {
        let lives = self.of(kinds, SEEN_FROM);
        let user: u64 = lives.iter().map(|(_, _, sampled)| sampled.user).sum();
        let python: u64 = lives.iter().map(|(_, _, sampled)| sampled.python).sum();
        python as f64 / user.max(1) as f64
    }

    pub(super) fn note(&self, rate: u64) {
        note_figure("soak/ambiguous", &format!("{} samples", self.ambiguous));
        for kind in [
            "forked",
            "twenty",
            "fifty",
            "steady",
            "started",
            "fork",
            "spawn",
            "forkserver",
        ] {
            let kinds = [kind];
            let seen = self.of(&kinds, 0.0);
            let with_samples = seen.iter().filter(|(_, _, sampled)| sampled.all > 0);
            note_figure(
                &format!("soak/{kind}"),
                &format!(
                    "{} processes, {} sampled, {:.4} of samples of those of 20 ms with Python frames, {:.4} of CPU time",
                    seen.len(),
                    with_samples.count(),
                    self.share_with_python(&kinds),
                    self.share_of_cpu(&kinds, rate),
                ),
            );
        }
    }

    /// `deviation`: of the CPU time that samples stand for, from that which the kernel accounted.
    pub(super) fn judge(&self, rate: u64, deviation: f64) -> Result<()> {
        ensure!(
            self.wrong.is_empty(),
            "{} stacks with names of other processes, such as {}",
            self.wrong.len(),
            self.wrong.first().map_or("", String::as_str)
        );
        let twenties = self.of(&["twenty"], 0.0);
        ensure!(
            twenties.len() >= 20,
            "only {} processes of 20 ms were started",
            twenties.len()
        );
        let fifties = self.of(&["fifty"], SEEN_FROM);
        let unseen = fifties.iter().filter(|(_, _, sampled)| sampled.own == 0);
        let (unseen, all) = (unseen.count(), fifties.len());
        ensure!(all >= 20, "only {all} processes of 50 ms were started");
        ensure!(
            unseen == 0,
            "{unseen} of {all} processes of 50 ms were not seen"
        );
        let inside = ["twenty", "fifty", "steady", "fork"];
        let share = self.share_with_python(&inside);
        let shown = || {
            let heaviest = self.without.iter().take(5);
            heaviest
                .map(|(_, stack)| format!("{stack}\n"))
                .collect::<String>()
        };
        ensure!(
            share >= 0.99,
            "{share:.4} of samples carry Python frames; without are\n{}",
            shown()
        );
        let accounted = ["forked", "twenty", "fifty", "steady", "started"];
        for kinds in [&accounted[..], &["steady"]] {
            let share = self.share_of_cpu(kinds, rate);
            ensure!(
                (share - 1.0).abs() <= deviation,
                "samples of {kinds:?} stand for {share:.4} of their CPU time"
            );
        }
        Ok(())
    }
}

/// The process's number is that of several, and its start is not known.
struct Ambiguous;

/// Whether `PID_START` is this process; a program in a root without `/proc` does not know its start.
fn is_named(owner: &str, id: Id) -> bool {
    let Some((pid, start)) = owner.split_once('_') else {
        return false;
    };
    pid.parse() == Ok(id.pid) && (start == "0" || start.parse() == Ok(id.start))
}
