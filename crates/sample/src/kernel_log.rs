//! libbpf says why a program was refused only through a callback of the whole process; this keeps the last lines.

use std::{collections::VecDeque, sync::Mutex};

use libbpf_rs::PrintLevel;

const LINES: usize = 12;

static LAST_LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Starts to keep libbpf's messages instead of printing them.
pub(crate) fn capture() {
    libbpf_rs::set_print(Some((PrintLevel::Info, keep)));
}

/// The last lines, as one.
pub(crate) fn last_lines() -> String {
    let lines = LAST_LINES
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    lines
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" | ")
}

fn keep(_level: PrintLevel, message: String) {
    let mut lines = LAST_LINES
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for line in message.lines().filter(|line| !line.trim().is_empty()) {
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.trim().to_owned());
    }
}
