//! The rows of a report.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::{Amount, SplitAmounts};

/// A process.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessRow {
    /// Its pid.
    pub pid: u32,
    /// The name the kernel has for it.
    pub name: String,
    /// What it runs, in few words; null when nothing better than `name` is known.
    pub title: Option<String>,
    /// Where it runs, as far as that is known: control group, unit, container, pod.
    pub placement: BTreeMap<&'static str, String>,
    /// Its arguments.
    pub command_line: String,
    /// `3.12.4`, if it is Python.
    pub python_version: Option<String>,
    /// All its samples.
    pub total: Amount,
    /// Its threads, those with most time first.
    pub threads: Vec<ThreadRow>,
}

/// A thread.
#[derive(Clone, Debug, Serialize)]
pub struct ThreadRow {
    /// Its tid.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// All its samples.
    pub total: Amount,
}

/// A function.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionRow {
    /// `python`, `native`, `kernel`, `incomplete`.
    pub kind: &'static str,
    /// Whose code it is.
    pub origin: &'static str,
    /// Its name.
    pub name: String,
    /// Its source file.
    pub file: Option<String>,
    /// Its library.
    pub library: Option<String>,
    /// The line on which it begins; 0 when not known.
    pub first_line: u32,
    /// File and line, or library, in few words.
    pub place: String,
    /// The samples whose leaf it is.
    pub own: Amount,
    /// The samples with it anywhere in the stack; each once.
    pub total: Amount,
    /// For a Python function: with the C and kernel code it calls directly, by what ran. `self` is their sum.
    #[serde(rename = "self")]
    pub self_amount: Amount,
    /// The parts of `self`, for a Python function.
    pub split: Option<SplitAmounts>,
}

/// A line of Python code.
#[derive(Clone, Debug, Serialize)]
pub struct LineRow {
    /// The function it is in.
    pub function: String,
    /// The file.
    pub file: String,
    /// The line.
    pub line: u32,
    /// File and line in few words.
    pub place: String,
    /// Whose code it is.
    pub origin: &'static str,
    /// With the C and kernel code it calls directly.
    #[serde(rename = "self")]
    pub self_amount: Amount,
    /// The samples in which it is being executed, or waits for what it called.
    pub total: Amount,
    /// The parts of `self`.
    pub split: SplitAmounts,
}

/// A package, a file of the project, or a library.
#[derive(Clone, Debug, Serialize)]
pub struct ModuleRow {
    /// `python`, `native`, `kernel`, `incomplete`.
    pub kind: &'static str,
    /// Whose code it is.
    pub origin: &'static str,
    /// Its name.
    pub name: String,
    /// The samples whose leaf is in it.
    pub own: Amount,
    /// The samples with it anywhere in the stack; each once.
    pub total: Amount,
}
