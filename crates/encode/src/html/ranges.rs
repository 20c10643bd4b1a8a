//! Where in its line the innermost Python frame of each sample was, for the heat of expressions.
//!
//! Only that frame's: the columns of its callers say nothing about what ran, and with them most paths would be several.

use std::collections::HashMap;

use viperf_profile::{FrameKind, Profile, SourceRange, StackHandle};

use crate::EncodeError;
use crate::html::call_tree::{CallTree, page_number};
use crate::html::data::{Columns, NONE};

/// `range_*`: distinct ranges, as in `viperf.md`; `sample_range`: each sample's. No columns where no range is known.
pub(super) fn append_ranges(
    columns: &mut Columns,
    profile: &Profile,
    tree: &CallTree<'_>,
) -> Result<(), EncodeError> {
    let mut ranges: Vec<SourceRange> = Vec::new();
    let mut numbers: HashMap<SourceRange, u32> = HashMap::new();
    let mut of_stack: HashMap<StackHandle, u32> = HashMap::new();
    let mut of_sample = Vec::with_capacity(tree.samples.len());
    for (sample, _) in &tree.samples {
        let number = match of_stack.get(&sample.stack) {
            Some(&known) => known,
            None => {
                let number = match range_of(profile, sample.stack)? {
                    None => NONE,
                    Some(range) => match numbers.get(&range) {
                        Some(&known) => known,
                        None => {
                            let number = page_number("source ranges", ranges.len())?;
                            numbers.insert(range, number);
                            ranges.push(range);
                            number
                        }
                    },
                };
                of_stack.insert(sample.stack, number);
                number
            }
        };
        of_sample.push(number);
    }
    if ranges.is_empty() {
        return Ok(());
    }
    columns.append_u32("range_line", ranges.iter().map(|range| range.line));
    columns.append_u32("range_end_line", ranges.iter().map(|range| range.end_line));
    columns.append_u32("range_column", ranges.iter().map(|range| range.column));
    columns.append_u32(
        "range_end_column",
        ranges.iter().map(|range| range.end_column),
    );
    columns.append_u32("sample_range", of_sample.into_iter());
    Ok(())
}

/// `None` where there is no Python frame, or no column of it is known.
fn range_of(profile: &Profile, stack: StackHandle) -> Result<Option<SourceRange>, EncodeError> {
    for handle in profile.stacks.frames_leaf_first(stack) {
        let frame = profile.frame(handle)?;
        if profile.function(frame.function)?.kind == FrameKind::Python {
            let has_columns = frame.source.column != 0 && frame.source.end_column != 0;
            return Ok(has_columns.then_some(frame.source));
        }
    }
    Ok(None)
}
