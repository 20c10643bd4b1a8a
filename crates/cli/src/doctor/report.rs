//! The checks and reasons as text and as JSON.

use serde::Serialize;

use super::checks::{Check, Verdict};
use crate::exit::Failure;

/// One line per check, `✓`, `!` or `✗` in front, the remedy below what is not well.
pub(super) fn checks_as_text(checks: &[Check]) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or_default();
    let mut text = String::new();
    for Check {
        name,
        verdict,
        found,
    } in checks
    {
        let (mark, remedy) = match verdict {
            Verdict::Well => ('✓', None),
            Verdict::Limited { remedy } => ('!', Some(remedy)),
            Verdict::Missing { remedy, .. } => ('✗', Some(remedy)),
        };
        text.push_str(&format!("{mark} {name:width$}  {found}\n"));
        for line in remedy.iter().flat_map(|remedy| remedy.lines()) {
            text.push_str(&format!("  {:width$}  → {}\n", "", line.trim_start()));
        }
    }
    let missing = checks
        .iter()
        .any(|check| check.verdict.exit_code().is_some());
    text.push_str(match missing {
        true => "\nviperf cannot record here yet: see the arrows above.\n",
        false => "\nviperf can record here.\n",
    });
    text
}

#[derive(Serialize)]
struct CheckJson<'a> {
    name: &'a str,
    /// `ok`, `limited` or `missing`.
    state: &'a str,
    found: &'a str,
    remedy: Option<&'a str>,
}

/// An array of objects with the keys `name`, `state`, `found` and `remedy`.
pub(super) fn checks_as_json(checks: &[Check]) -> Result<String, Failure> {
    let rows: Vec<CheckJson<'_>> = checks
        .iter()
        .map(
            |Check {
                 name,
                 verdict,
                 found,
             }| {
                let (state, remedy) = match verdict {
                    Verdict::Well => ("ok", None),
                    Verdict::Limited { remedy } => ("limited", Some(remedy.as_str())),
                    Verdict::Missing { remedy, .. } => ("missing", Some(remedy.as_str())),
                };
                CheckJson {
                    name,
                    state,
                    found,
                    remedy,
                }
            },
        )
        .collect();
    to_json(&rows)
}

#[derive(Serialize)]
struct ReasonJson<'a> {
    reason: &'a str,
    explanation: &'a str,
}

/// An array of objects with the keys `reason` and `explanation`.
pub(super) fn reasons_as_json(reasons: &[(&str, &str)]) -> Result<String, Failure> {
    let rows: Vec<ReasonJson<'_>> = reasons
        .iter()
        .map(|&(reason, explanation)| ReasonJson {
            reason,
            explanation,
        })
        .collect();
    to_json(&rows)
}

/// Each reason with its explanation below it.
pub(super) fn reasons_as_text(reasons: &[(&str, &str)]) -> String {
    let mut text =
        "Why a stack can be incomplete; the frame [reason] stands where the walk ended.\n"
            .to_owned();
    for (reason, explanation) in reasons {
        text.push_str(&format!("\n{reason}\n    {explanation}\n"));
    }
    text
}

fn to_json(rows: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(rows)
        .map(|json| json + "\n")
        .map_err(|error| Failure::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks() -> Vec<Check> {
        vec![
            Check {
                name: "kernel",
                verdict: Verdict::Well,
                found: "6.1.0".to_owned(),
            },
            Check {
                name: "capabilities",
                verdict: Verdict::Missing {
                    code: 3,
                    remedy: "one\n  two".to_owned(),
                },
                found: "CAP_BPF missing".to_owned(),
            },
        ]
    }

    #[test]
    fn what_is_missing_is_followed_by_its_remedy() {
        assert_eq!(
            checks_as_text(&checks()),
            "✓ kernel        6.1.0\n\
             ✗ capabilities  CAP_BPF missing\n\
             \u{20}               → one\n\
             \u{20}               → two\n\
             \nviperf cannot record here yet: see the arrows above.\n"
        );
    }

    #[test]
    fn json_has_name_state_found_and_remedy() {
        let json: serde_json::Value =
            serde_json::from_str(&checks_as_json(&checks()).unwrap()).unwrap();
        assert_eq!(json[0]["state"], "ok");
        assert!(json[0]["remedy"].is_null());
        assert_eq!(json[1]["state"], "missing");
        assert_eq!(json[1]["found"], "CAP_BPF missing");
    }

    #[test]
    fn every_reason_is_listed_with_its_explanation() {
        let reasons: Vec<_> = viperf_agent::reasons().collect();
        let text = reasons_as_text(&reasons);
        for (reason, explanation) in reasons {
            assert!(text.contains(&format!("\n{reason}\n    {explanation}\n")));
        }
    }
}
