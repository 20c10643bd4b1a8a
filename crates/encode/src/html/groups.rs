//! Which functions are one in a comparison, and whose code each is.
//!
//! The page computes comparisons itself, so that filters hold in them, too; what makes two functions one is told here,
//! by the very grouping of `viperf diff`.

use viperf_profile::{
    Frame, FrameKind, FunctionHandle, GroupBy, Grouping, Handle as _, Module, Origin, Profile,
};

use crate::EncodeError;
use crate::html::data::Columns;

/// `function_group`: the number of each function's [`GroupBy::Name`] group; `function_origin`: 0 the project, 1 installed
/// packages, 2 the standard library, 3 what is not Python.
pub(super) fn append_groups(columns: &mut Columns, profile: &Profile) -> Result<(), EncodeError> {
    let grouping = Grouping::new(profile, GroupBy::Name)?;
    let mut groups = vec![None; profile.functions.len()];
    for (handle, frame) in profile.frames.iter() {
        let Frame { function, .. } = frame;
        let group = grouping.of_frame(handle);
        if let Some(entry) = groups.get_mut(function.index() as usize) {
            *entry = group;
        }
    }
    // A function without frames is met in no stack; it is a group of its own.
    let first_free = grouping.len();
    let numbers = groups.iter().enumerate().map(|(row, group)| match group {
        Some(group) => group.index(),
        None => u32::try_from(first_free + row).unwrap_or(u32::MAX),
    });
    columns.append_u32("function_group", numbers);
    let mut origins = Vec::with_capacity(profile.functions.len());
    for row in 0..profile.functions.len() {
        let handle = FunctionHandle::from_index(u32::try_from(row).unwrap_or(u32::MAX));
        origins.push(origin_of(profile, handle)?);
    }
    columns.append(
        "function_origin",
        "u8",
        origins.into_iter().map(|origin| [origin]),
    );
    Ok(())
}

fn origin_of(profile: &Profile, handle: FunctionHandle) -> Result<u8, EncodeError> {
    let function = profile.function(handle)?;
    let file = function.file.map(|file| profile.string(file)).transpose()?;
    let file = file.filter(|_| function.kind == FrameKind::Python);
    Ok(match file.map(|file| Module::of_file(file).origin) {
        Some(Origin::Project) => 0,
        Some(Origin::Package) => 1,
        Some(Origin::StandardLibrary) => 2,
        None => 3,
    })
}
