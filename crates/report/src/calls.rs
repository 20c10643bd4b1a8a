//! Who calls one function, or what it calls.

use serde::Serialize;
use viperf_profile::{
    CallTree, FrameKind, Group, GroupBy, GroupHandle, GroupStatistics, Grouping, Handle as _,
    Profile, Weight, group_statistics, is_interpreter,
};

use crate::ReportError;
use crate::figures::{Amount, Whole, show_percent};
use crate::fold::{FoldOptions, Folding, TreeRow, fold};
use crate::json::to_json;
use crate::place::Places;
use crate::report::ReportOptions;
use crate::safe_text::escape_for_terminal;
use crate::style::{Paint, Style};
use crate::tree_text;

/// Callers one above the other that are shown.
const MOST_LEVELS: usize = 200;

/// Names that are offered when there is no such function.
const MOST_SIMILAR: usize = 3;
/// Names that have less in common, in thousandths, are not offered.
const LEAST_LIKENESS: usize = 300;

/// Which way to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Who calls it.
    Callers,
    /// What it calls.
    Callees,
}

impl Direction {
    pub(crate) fn columns(self) -> tree_text::Columns {
        match self {
            Self::Callers => tree_text::Columns::Total,
            Self::Callees => tree_text::Columns::TotalAndOwn,
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Callers => "Callers of",
            Self::Callees => "Callees of",
        }
    }
}

/// Who calls one function, or what it calls, as a tree whose root is the function.
///
/// Of a recursion the callers of the first call are shown, and all that is below it, so the root weighs the function's
/// total both ways.
#[derive(Clone, Debug, Serialize)]
pub struct Calls {
    /// The form of these keys.
    pub version: u32,
    /// Which way.
    pub direction: Direction,
    /// The function's name.
    pub function: String,
    /// Where it is.
    pub place: String,
    /// The samples with it anywhere in the stack.
    pub total: Amount,
    /// Its own time; for a Python function with the C and kernel code it calls directly.
    #[serde(rename = "self")]
    pub self_amount: Amount,
    /// Other functions that the name means, too; those with less time.
    pub others: Vec<String>,
    /// The tree; callers are below what they call.
    pub tree: Vec<TreeRow>,
}

impl Calls {
    /// Finds the function: by its whole name, by the last part of it (`run` of `Job.run`), or by any part of it;
    /// `app.py:run` asks for one in a file, `libz.so:deflate` for one in a library.
    /// Of several, the one with most time is taken.
    ///
    /// # Errors
    ///
    /// [`ReportError::NotFound`], or [`ReportError::Profile`] when a handle is not of this profile.
    pub fn new(
        profile: &Profile,
        direction: Direction,
        name: &str,
        options: &ReportOptions,
    ) -> Result<Self, ReportError> {
        profile.validate()?;
        let whole = Whole::new(Weight::of(&profile.samples));
        let grouping = Grouping::new(profile, GroupBy::Function)?;
        let tree = CallTree::new(profile, &grouping)?;
        let weights = tree.weigh(&profile.samples);
        let statistics = group_statistics(&tree, &weights, &grouping);
        let places = Places::new(&grouping);
        let mut found = find_functions(&grouping, &statistics, name);
        if found.is_empty() {
            return Err(ReportError::NotFound {
                what: "function",
                name: escape_for_terminal(name).into_owned(),
                similar: similar(&grouping, &statistics, name),
            });
        }
        let chosen = found.remove(0);
        let (calls, below) = match direction {
            Direction::Callers => tree.callers(&weights, &grouping, chosen, MOST_LEVELS),
            Direction::Callees => tree.callees(&weights, &grouping, chosen),
        };
        let statistics = statistics_of(&statistics, chosen);
        let describe = |handle: &GroupHandle| {
            let group = grouping.find(*handle);
            let place = group.map(|group| places.place(group)).unwrap_or_default();
            let name = group
                .map(|group| group.name.to_string())
                .unwrap_or_default();
            (name, place)
        };
        let (function, place) = describe(&chosen);
        let asks_interpreter = grouping.find(chosen).is_some_and(|group| {
            group.kind != FrameKind::Python && group.library.is_some_and(is_interpreter)
        });
        let fold_options = FoldOptions {
            folding: match (direction, options.full_tree || asks_interpreter) {
                (_, true) => Folding::Nothing,
                (Direction::Callers, _) => Folding::InterpreterAbove,
                (Direction::Callees, _) => Folding::Interpreter,
            },
            least_share: options.least_share,
            most_rows: options.tree_rows,
        };
        Ok(Self {
            version: 1,
            direction,
            function,
            place,
            total: whole.amount(statistics.total),
            self_amount: whole.amount(statistics.self_weight()),
            others: found
                .iter()
                .map(describe)
                .map(|(name, place)| format!("{place}:{name}"))
                .collect(),
            tree: fold(&calls, &below, &grouping, (&whole, &places), fold_options),
        })
    }

    /// The tree as text.
    #[must_use]
    pub fn text(&self, style: &Style) -> String {
        let title = format!(
            "{} {}  {}",
            self.direction.title(),
            escape_for_terminal(&self.function),
            escape_for_terminal(&self.place)
        );
        let mut text = format!(
            "{}\n  {} % of all ({}), {} by itself\n",
            style.paint(title.trim_end(), Paint::Heading),
            show_percent(self.total.share),
            self.total.show_with_unit(),
            match self.self_amount.samples {
                0 => "nothing".to_owned(),
                _ => format!("{} %", show_percent(self.self_amount.share)),
            }
        );
        if !self.others.is_empty() {
            let others: Vec<_> = self.others.iter().take(MOST_SIMILAR).collect();
            let others: Vec<_> = others
                .iter()
                .map(|other| escape_for_terminal(other))
                .collect();
            let note = format!(
                "  the name also means, with less time: {}; ask for one of them so",
                others.join(", ")
            );
            text += &format!("{}\n", style.paint(&note, Paint::Dim));
        }
        let hint = match self.direction {
            Direction::Callers => "  a line calls the one above it",
            Direction::Callees => "  a line is called by the one above it",
        };
        text += &format!("{}\n", style.paint(hint, Paint::Dim));
        text + &tree_text::render(&self.tree, self.direction.columns(), style)
    }

    /// The tree as JSON, ended by a newline.
    #[must_use]
    pub fn json(&self) -> String {
        to_json(self)
    }
}

fn statistics_of(statistics: &[GroupStatistics], handle: GroupHandle) -> GroupStatistics {
    statistics
        .get(handle.index() as usize)
        .copied()
        .unwrap_or_default()
}

/// The functions that a name means, those with most time first; the best kind of match only.
pub(crate) fn find_functions(
    grouping: &Grouping<'_>,
    statistics: &[GroupStatistics],
    name: &str,
) -> Vec<GroupHandle> {
    let (place, bare) = match name.rsplit_once(':') {
        Some((place, bare)) if !bare.is_empty() && !name.contains("::") => (Some(place), bare),
        _ => (None, name),
    };
    let last_part = format!(".{bare}");
    let lower = bare.to_lowercase();
    let kinds: [&dyn Fn(&str) -> bool; 3] = [
        &|name| name == bare,
        &|name| name.ends_with(&last_part),
        &|name| name.to_lowercase().contains(&lower),
    ];
    for is_it in kinds {
        let mut found: Vec<_> = grouping
            .iter()
            .filter(|(_, group)| {
                is_it(&group.name) && place.is_none_or(|place| is_in(group, place))
            })
            .map(|(handle, _)| handle)
            .filter(|handle| !statistics_of(statistics, *handle).total.is_empty())
            .collect();
        found.sort_by_key(|handle| {
            std::cmp::Reverse(statistics_of(statistics, *handle).total.samples)
        });
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Whether a function is in this file, module or library, the beginning of whose path may be left out; a line may follow.
fn is_in(group: &Group<'_>, place: &str) -> bool {
    let place = match place.rsplit_once(':') {
        Some((file, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => {
            if line.parse() != Ok(group.first_line) {
                return false;
            }
            file
        }
        _ => place,
    };
    let module = group.file.map(viperf_profile::Module::of_file);
    group.file.is_some_and(|file| ends_in_path(file, place))
        || group.library == Some(place)
        || module.is_some_and(|module| module.name == place)
}

/// Whether `path` is `end`, or ends in it after a `/`.
pub(crate) fn ends_in_path(path: &str, end: &str) -> bool {
    path.strip_suffix(end)
        .is_some_and(|before| before.is_empty() || before.ends_with('/') || end.starts_with('/'))
}

/// Names with time that have the most pairs of letters in common with `name`.
pub(crate) fn similar(
    grouping: &Grouping<'_>,
    statistics: &[GroupStatistics],
    name: &str,
) -> Vec<String> {
    let pairs = |text: &str| -> Vec<(char, char)> {
        let lower = text.to_lowercase();
        lower.chars().zip(lower.chars().skip(1)).collect()
    };
    let wanted = pairs(name);
    let mut near: Vec<(usize, &str)> = grouping
        .iter()
        .filter(|(handle, _)| !statistics_of(statistics, *handle).total.is_empty())
        .map(|(_, group)| {
            let own = pairs(&group.name);
            let common = wanted.iter().filter(|pair| own.contains(pair)).count();
            // Dice's coefficient, in thousandths.
            let both = (wanted.len() + own.len()).max(1);
            (2_000 * common / both, group.name.as_ref())
        })
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .collect();
    near.sort_by_key(|(likeness, name)| (std::cmp::Reverse(*likeness), *name));
    near.dedup();
    near.iter()
        .take(MOST_SIMILAR)
        .map(|(_, name)| escape_for_terminal(name).into_owned())
        .collect()
}
