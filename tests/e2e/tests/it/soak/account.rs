//! What the processes say of themselves, beside what was sampled of them.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use viperf_e2e::{Folded, Frame, Stack, note_figure};

/// Milliseconds of CPU of a process that must be seen.
const SEEN_FROM: f64 = 20.0;

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
    lives: HashMap<u32, Life>,
    sampled: HashMap<u32, Sampled>,
    /// Stacks in a function that is named after another process.
    wrong: Vec<String>,
    /// Of processes that must have Python frames, the heaviest without.
    without: Vec<(u64, String)>,
}

impl Account {
    /// From the report of the driver, whose last line of a process counts, and the stacks.
    pub(super) fn read(report: &str, folded: &Folded) -> Result<Self> {
        let mut lives = HashMap::new();
        for line in report.lines() {
            let mut words = line.split(' ');
            let mut next = || words.next().with_context(|| format!("a line {line:?}"));
            let (pid, kind, cpu_ms) = (next()?.parse()?, next()?.to_owned(), next()?.parse()?);
            lives.insert(pid, Life { kind, cpu_ms });
        }
        let mut account = Self {
            lives,
            sampled: HashMap::new(),
            wrong: Vec::new(),
            without: Vec::new(),
        };
        for stack in &folded.stacks {
            account.add(stack);
        }
        account
            .without
            .sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        Ok(account)
    }

    fn add(&mut self, stack: &Stack) {
        let Some(pid) = stack.pid().filter(|pid| self.lives.contains_key(pid)) else {
            return;
        };
        let sampled = self.sampled.entry(pid).or_default();
        sampled.all += stack.count;
        if stack.frames.iter().all(Frame::is_kernel) {
            return;
        }
        sampled.user += stack.count;
        let names = stack.python_names();
        let is_whole = !stack.frames.iter().any(Frame::is_error);
        if !names.is_empty() && names.iter().all(|name| !name.is_empty()) {
            sampled.python += stack.count;
        } else if self
            .lives
            .get(&pid)
            .is_some_and(|life| life.kind != "started")
        {
            self.without
                .push((stack.count, format!("{is_whole} {stack}")));
        }
        for name in names {
            let Some(owner) = name.strip_prefix("only_in_") else {
                continue;
            };
            match owner.parse() == Ok(pid) {
                true => sampled.own += stack.count,
                false => self.wrong.push(format!("{pid}: {stack}")),
            }
        }
    }

    /// The processes of these kinds that used so much CPU time, with what was sampled of them.
    fn of(&self, kinds: &[&str], from_ms: f64) -> Vec<(u32, &Life, Sampled)> {
        let lives = self
            .lives
            .iter()
            .filter(|(_, life)| kinds.contains(&life.kind.as_str()) && life.cpu_ms >= from_ms);
        lives
            .map(|(pid, life)| {
                let sampled = self.sampled.get(pid).copied().unwrap_or_default();
                (*pid, life, sampled)
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
                .map(|(count, stack)| format!("{count} {stack}\n"))
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
