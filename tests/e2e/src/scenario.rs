//! What `fixtures/python/scenarios.py` says must be seen, compared with what was.
//!
//! The program prints, for each scenario, the whole Python stacks that the interpreter itself told at the working line.
//! A sample belongs to a scenario if a function of it is called `scenario_NAME`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Cell, Folded, Frame, Stack, Table};

/// So many of the samples that have the working function, and no place where a walk ended early, must be whole.
const LEAST_RIGHT: f64 = 0.97;
/// So many of the samples that have the working function may have such a place: on a busy machine some of a program's
/// first samples do.
const MOST_INCOMPLETE: f64 = 0.1;
/// So many of all samples of the scenario must be, unless it has much other work to do.
const LEAST_OF_ALL: f64 = 0.85;
/// So many whole samples must be there, of those that the scenario's CPU time makes.
const LEAST_SAMPLES: f64 = 0.5;

/// The functions of `fixtures/python/expected.py` that write down a stack.
const NOTING: [&str; 2] = ["burning", "whole_stack"];

/// One scenario of a report.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The table that it belongs to.
    pub table: Table,
    /// What must be seen.
    pub wanted: Wanted,
}

/// What must be seen of a scenario.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// The interpreter cannot do it, and why.
    Nothing(String),
    /// It went wrong in the program, and how.
    Failure(String),
    /// Whole stacks.
    Stacks(WantedStacks),
}

/// The stacks that must be seen of a scenario.
#[derive(Debug, Clone)]
pub struct WantedStacks {
    /// Root first.
    stacks: Vec<Vec<WantedFrame>>,
    /// The thread's name where it has one of its own.
    thread: Option<String>,
    /// It has much work to do that is not in these stacks.
    aside: bool,
}

/// One frame that must be seen.
#[derive(Debug, Clone)]
pub struct WantedFrame {
    names: Vec<String>,
    file: String,
    line: u64,
}

/// The scenarios that a program reported, in its order of names.
///
/// # Errors
/// The report is not what the program prints.
pub fn parse_report(report: &Value) -> Result<Vec<Scenario>> {
    let scenarios = report["scenarios"].as_object();
    let scenarios = scenarios.with_context(|| format!("no scenarios in {report}"))?;
    scenarios
        .iter()
        .map(|(name, outcome)| Scenario::parse(name, outcome))
        .collect()
}

impl Scenario {
    fn parse(name: &str, outcome: &Value) -> Result<Self> {
        let table = outcome["table"].as_str().and_then(Table::find);
        let text = |key: &str| outcome[key].as_str().map(str::to_owned);
        let wanted = if let Some(reason) = text("not") {
            Wanted::Nothing(reason)
        } else if let Some(failure) = text("failed") {
            Wanted::Failure(failure)
        } else {
            let stacks = outcome["stacks"].as_array().context("no stacks")?;
            let parse_stack = |stack: &Value| {
                let frames = stack.as_array().context("a stack is no list")?;
                frames.iter().map(WantedFrame::parse).collect()
            };
            Wanted::Stacks(WantedStacks {
                stacks: stacks.iter().map(parse_stack).collect::<Result<_>>()?,
                thread: text("thread"),
                aside: outcome["aside"].as_bool().unwrap_or_default(),
            })
        };
        Ok(Self {
            name: name.to_owned(),
            table: table.with_context(|| format!("{name} is of no table"))?,
            wanted,
        })
    }

    /// True if the sample is the scenario's.
    pub fn has(&self, stack: &Stack) -> bool {
        let function = format!("scenario_{}", self.name);
        let is_own = |name: &&str| name.rsplit('.').next() == Some(&function);
        stack.python_names().iter().any(is_own)
    }

    /// Compares its samples with what must be seen; `samples` is what its CPU time should have made.
    pub fn judge(&self, recorded: &Folded, samples: f64) -> Cell {
        match &self.wanted {
            Wanted::Nothing(reason) => Cell::Skipped(reason.clone()),
            Wanted::Failure(failure) => Cell::Failed(format!("the program itself: {failure}")),
            Wanted::Stacks(wanted) => {
                let own = recorded.only(|stack| self.has(stack) && !is_noting(stack));
                Cell::of(&wanted.compare(&own, samples))
            }
        }
    }
}

impl WantedStacks {
    /// The share of whole stacks, as a figure; `own` are the scenario's samples.
    fn compare(&self, own: &Folded, samples: f64) -> Result<String> {
        ensure!(!self.stacks.is_empty(), "the program noted no stack");
        let whole = own.count(|stack| self.has(stack));
        let working = own.only(|stack| self.stacks.iter().any(|wanted| works(wanted, stack)));
        let complete = working.only(|stack| !stack.frames.iter().any(Frame::is_error));
        let (share, total) = (complete.share(whole), own.total());
        ensure!(
            share >= LEAST_RIGHT,
            "{share:.3} of {} complete samples are right, {samples:.0} were due\n{}",
            complete.total(),
            self.show_difference(&complete)
        );
        let incomplete = 1.0 - working.share(complete.total());
        ensure!(
            incomplete <= MOST_INCOMPLETE,
            "{incomplete:.3} of {} samples are incomplete\n{}",
            working.total(),
            self.show_difference(&working)
        );
        ensure!(
            self.aside || own.share(whole) >= LEAST_OF_ALL,
            "{:.3} of all {total} samples are whole, {samples:.0} were due\n{}",
            own.share(whole),
            self.show_difference(own)
        );
        ensure!(
            whole as f64 >= samples * LEAST_SAMPLES,
            "{whole} samples are whole where {samples:.0} were due\n{}",
            self.show_difference(own)
        );
        for stack in &self.stacks {
            ensure!(
                own.count(|seen| is_stack(stack, seen)) > 0,
                "one stack is never seen:\n{}{}",
                show(stack),
                self.show_difference(own)
            );
        }
        self.compare_thread(own)?;
        Ok(format!(
            "{share:.3} of {}, {incomplete:.3} incomplete",
            complete.total()
        ))
    }

    fn compare_thread(&self, own: &Folded) -> Result<()> {
        let Some(name) = &self.thread else {
            return Ok(());
        };
        let is_named = |stack: &Stack| {
            let thread = stack.thread.as_deref();
            let thread = thread.and_then(|text| text.rsplit_once(" ("));
            thread.is_some_and(|(seen, _)| seen == name)
        };
        let named = own.share(own.count(is_named));
        ensure!(
            named >= LEAST_RIGHT,
            "the thread is called {name:?} in {named:.3}\n{}",
            own.heaviest(2)
        );
        Ok(())
    }

    fn has(&self, seen: &Stack) -> bool {
        self.stacks.iter().any(|wanted| is_stack(wanted, seen))
    }

    fn show_difference(&self, own: &Folded) -> String {
        let wanted: String = self.stacks.iter().map(|stack| show(stack)).collect();
        let others = own.only(|stack| !self.has(stack));
        format!("wanted:\n{wanted}seen:\n{}", show_seen(&others))
    }
}

/// The very frames, with nothing missing, nothing more, and no place where a walk ended early.
fn is_stack(wanted: &[WantedFrame], seen: &Stack) -> bool {
    let texts: Vec<_> = seen
        .frames
        .iter()
        .filter_map(|frame| frame.python_text())
        .collect();
    texts.len() == wanted.len()
        && wanted
            .iter()
            .zip(&texts)
            .all(|(frame, text)| frame.is(text))
        && !seen.frames.iter().any(|frame| frame.is_error())
}

/// The program was writing down what must be seen.
fn is_noting(stack: &Stack) -> bool {
    let names = stack.python_names();
    NOTING.iter().any(|name| names.contains(name))
}

/// The function that works is in the sample, at whatever line.
fn works(wanted: &[WantedFrame], seen: &Stack) -> bool {
    let Some(leaf) = wanted.last() else {
        return false;
    };
    let starts = leaf
        .names
        .iter()
        .map(|name| format!("{name} ({}:", leaf.file));
    let starts: Vec<_> = starts.collect();
    let mut texts = seen.frames.iter().filter_map(Frame::python_text);
    texts.any(|text| starts.iter().any(|start| text.starts_with(start)))
}

impl WantedFrame {
    fn parse(frame: &Value) -> Result<Self> {
        let names = frame[0].as_array().context("a frame has no names")?;
        Ok(Self {
            names: names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            file: frame[1].as_str().context("a frame has no file")?.to_owned(),
            line: frame[2].as_u64().context("a frame has no line")?,
        })
    }

    fn is(&self, text: &str) -> bool {
        let place = format!(" ({}:{})", self.file, self.line);
        let name = text.strip_suffix(&place);
        name.is_some_and(|name| self.names.iter().any(|wanted| wanted == name))
    }
}

fn show(stack: &[WantedFrame]) -> String {
    let frames: Vec<_> = stack
        .iter()
        .map(|frame| format!("{} ({}:{})", frame.names.join("|"), frame.file, frame.line))
        .collect();
    format!("       {}\n", frames.join(" > "))
}

/// The heaviest stacks, Python frames with their files, all others as they are.
fn show_seen(seen: &Folded) -> String {
    let mut stacks: Vec<_> = seen.stacks.iter().collect();
    stacks.sort_by_key(|stack| std::cmp::Reverse(stack.count));
    let show = |stack: &&Stack| {
        let frames = stack.frames.iter();
        let frames: Vec<_> = frames
            .map(|frame| frame.python_text().unwrap_or_else(|| frame.to_string()))
            .collect();
        format!("{:6} {}\n", stack.count, frames.join(" > "))
    };
    stacks.iter().take(3).map(show).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WHOLE: &str = "python (1);<module> (a.py:1)_[p];scenario_x (a.py:2)_[p];C.run (a.py:3)_[p];deflate (libz.so)_[pn]";

    fn scenario() -> Scenario {
        let frames = json!([
            [["<module>"], "a.py", 1],
            [["scenario_x"], "a.py", 2],
            [["run", "C.run"], "a.py", 3]
        ]);
        let report = json!({"scenarios": {"x": {"table": "frames", "stacks": [frames]}}});
        parse_report(&report).unwrap().remove(0)
    }

    fn judge(lines: &str) -> Cell {
        scenario().judge(&Folded::parse(lines).unwrap(), 100.0)
    }

    fn is_failed(cell: &Cell, with: &str) -> bool {
        matches!(cell, Cell::Failed(text) if text.contains(with))
    }

    #[test]
    fn the_very_stack_under_either_name_is_whole() {
        let other = WHOLE.replace("C.run", "run");
        let cell = judge(&format!("{WHOLE} 90\n{other} 10\n"));
        assert_eq!(cell, Cell::Ok("1.000 of 100, 0.000 incomplete".to_owned()));
    }

    #[test]
    fn a_wrong_line_a_wrong_file_and_a_frame_too_few_are_not_whole() {
        for (was, is) in [
            ("a.py:3", "a.py:4"),
            ("<module> (a.py:1)_[p];", ""),
            ("(a.py:2)", "(b.py:2)"),
        ] {
            let cell = judge(&format!("{WHOLE} 95\n{} 5\n", WHOLE.replace(was, is)));
            assert!(is_failed(&cell, "0.950 of 100"), "{was}: {cell:?}");
        }
    }

    #[test]
    fn some_samples_may_be_incomplete() {
        let incomplete = WHOLE.replace("deflate", "[truncated]_[e];deflate");
        let cell = judge(&format!("{WHOLE} 95\n{incomplete} 5\n"));
        assert_eq!(cell, Cell::Ok("1.000 of 95, 0.050 incomplete".to_owned()));
        let cell = judge(&format!("{WHOLE} 88\n{incomplete} 12\n"));
        assert!(is_failed(&cell, "0.120 of 100"), "{cell:?}");
    }

    #[test]
    fn missing_samples_and_a_lost_leaf_are_seen() {
        assert!(is_failed(
            &judge(&format!("{WHOLE} 49\n")),
            "49 samples are whole where 100"
        ));
        let without = WHOLE.replace("C.run (a.py:3)_[p];", "");
        let cell = judge(&format!("{WHOLE} 80\n{without} 20\n"));
        assert!(is_failed(&cell, "of all 100"), "{cell:?}");
    }

    #[test]
    fn functions_that_only_end_alike_are_another_scenario() {
        let scenario = scenario();
        let stack = |name: &str| {
            Folded::parse(&format!("p (1);{name} (a.py:1)_[p] 1"))
                .unwrap()
                .stacks
                .remove(0)
        };
        assert!(scenario.has(&stack("f.<locals>.scenario_x")));
        assert!(!scenario.has(&stack("scenario_xx")));
        assert!(!scenario.has(&stack("not_scenario_x")));
    }
}
