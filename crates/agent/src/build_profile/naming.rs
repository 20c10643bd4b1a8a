//! When stacks get their names.

use std::time::{Duration, Instant};

use super::Builder;
use crate::stacks::RawStack;

/// Names that come within this time are in the same step, as most do.
const PATIENCE: Duration = Duration::from_millis(50);

/// Names that have taken long are followed by so many times that time without naming: it costs the sampled machine something,
/// and most of what there is to name is seen in the first seconds.
const REST: u32 = 4;
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How far naming has come. Stacks get their names in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// Stacks with smaller numbers have their names.
    named: u32,
    /// Those with smaller numbers have had them before, and get their rows again with their next samples.
    reached: u32,
    /// Those of stacks with smaller numbers have been asked for.
    asked: Option<u32>,
    rests_until: Option<Instant>,
}

impl Naming {
    /// Stacks with smaller numbers have their names.
    pub(super) fn named(&self) -> u32 {
        self.named
    }

    /// All stacks are asked for again, and soon; false, and nothing done, while an answer is awaited.
    pub(super) fn begin_anew(&mut self) -> bool {
        if self.asked.is_some() {
            return false;
        }
        self.named = 0;
        self.rests_until = None;
        true
    }

    /// Nothing is asked before that.
    pub(super) fn rest_until(&mut self, until: Instant) {
        self.rests_until = Some(until);
    }
}

impl Builder {
    /// Names what can be named without a wait that would be noticed, unless so much waits for names that it has to end.
    pub(super) fn name_some(&mut self, naming: &mut dyn FnMut(usize, usize)) {
        let now = Instant::now();
        let is_too_much = self.released.len() > self.most_released;
        if self.naming.asked.is_none() {
            let rests = self.naming.rests_until.is_some_and(|until| now < until);
            self.ask_for_names(!rests || is_too_much);
        }
        let until = (!is_too_much).then(|| now + PATIENCE);
        self.wait_for_names(until, naming);
    }

    /// Names all stacks.
    pub(super) fn name_all(&mut self, naming: &mut dyn FnMut(usize, usize)) {
        self.wait_for_names(None, naming);
        self.ask_for_names(true);
        self.wait_for_names(None, naming);
    }

    /// Asks for the names that stacks lack, if that is allowed; stacks that lack none are done.
    fn ask_for_names(&mut self, is_allowed: bool) {
        let until = self.next_stack;
        let stacks = self.stacks.range(self.naming.named..until);
        let mut question = self.names.question(stacks.map(|(_, stack)| &stack.raw));
        // Where all are asked for again, those that are forgotten have nothing to say.
        let processes = &self.processes;
        question
            .generated
            .retain(|(process, _)| processes.contains_key(process));
        if question.parts() == 0 {
            self.have_names(until);
        } else if is_allowed {
            self.names.ask(question);
            self.naming.asked = Some(until);
        }
    }

    fn wait_for_names(&mut self, until: Option<Instant>, naming: &mut dyn FnMut(usize, usize)) {
        let Some(asked) = self.naming.asked else {
            return;
        };
        let took = self.names.take_answer(until, naming);
        if took.is_none() && until.is_some() {
            return;
        }
        self.naming.asked = None;
        if let Some(took) = took {
            let rest = (took * REST).min(LONGEST_REST);
            self.naming.rest_until(Instant::now() + rest);
        }
        self.have_names(asked);
    }

    /// Stacks with smaller numbers have all the names that there are for them.
    fn have_names(&mut self, until: u32) {
        let stacks = self.stacks.range(self.naming.reached.min(until)..until);
        let stacks: Vec<(u32, RawStack)> = stacks
            .map(|(number, known)| (*number, known.raw.clone()))
            .collect();
        for (number, raw) in stacks {
            let handle = self.add_stack(&raw);
            if let Some(known) = self.stacks.get_mut(&number) {
                known.handle = handle;
            }
        }
        self.naming.named = self.naming.named.max(until);
        self.naming.reached = self.naming.reached.max(until);
    }
}
