//! Which functions take the GIL.
//!
//! The page adds up itself what that costs, so that filters hold in it, too; which functions do it is told here, by the very
//! names by which `viperf report` tells it.

use viperf_profile::{Function, Profile, TakesGil, is_interpreter};

use crate::EncodeError;
use crate::html::data::Columns;

/// Added for code of the interpreter's own file.
const OF_INTERPRETER: u8 = 4;

/// `function_gil`, from row `from` on: 0 does not take the GIL, 1 does, 2 does when the eval loop or other code of the
/// interpreter's own file calls it, 3 does when the eval loop calls it; 4 more for code of the interpreter's own file.
pub(super) fn append_gil(
    columns: &mut Columns,
    profile: &Profile,
    from: usize,
) -> Result<(), EncodeError> {
    let functions = profile.functions.iter().skip(from);
    let numbers = functions
        .map(|(_, function)| number(profile, function))
        .collect::<Result<Vec<_>, _>>()?;
    columns.append("function_gil", "u8", numbers.into_iter().map(|one| [one]));
    Ok(())
}

fn number(profile: &Profile, function: &Function) -> Result<u8, EncodeError> {
    let takes = match TakesGil::of(function.kind, profile.string(function.name)?) {
        TakesGil::Never => 0,
        TakesGil::Always => 1,
        TakesGil::FromInterpreter => 2,
        TakesGil::FromEvalLoop => 3,
    };
    let library = profile.library_name(function)?;
    Ok(match library.is_some_and(is_interpreter) {
        true => takes + OF_INTERPRETER,
        false => takes,
    })
}
