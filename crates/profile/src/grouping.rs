//! Frames put together: by function, by name, by line, by module.

use std::borrow::Cow;

use indexmap::IndexSet;

use crate::frame_table::{Frame, FrameHandle};
use crate::function_table::{FrameKind, Function};
use crate::origin::{Module, Origin};
use crate::profile::Profile;
use crate::table::{Handle as _, handle, row_number};
use crate::validate::ProfileError;

handle! {
    /// Names a group of a [`Grouping`].
    GroupHandle
}

/// What makes two frames one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The same function: name, file, first line, library, kind.
    Function,
    /// The same name in the same module, wherever in the file it begins: what two versions of a program share.
    /// The file of installed code counts as its module, so that two installations are compared, too.
    Name,
    /// The same line of the same function.
    Line,
    /// The same line of the same file, whatever functions have code on it.
    FileLine,
    /// The same package, file of the project, or library; the kernel with its modules is one.
    Module,
}

/// What the frames of one group have in common; what they need not have in common is empty or 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group<'p> {
    /// What the frames are.
    pub kind: FrameKind,
    /// The function's name; by module, the module's.
    pub name: Cow<'p, str>,
    /// The source file.
    pub file: Option<&'p str>,
    /// `json.encoder` of installed Python code, when grouped by name.
    pub module: Option<Cow<'p, str>>,
    /// The base name of the executable or library.
    pub library: Option<&'p str>,
    /// The line on which the function begins.
    pub first_line: u32,
    /// The line that is executed.
    pub line: u32,
    /// Whose code a Python file is; [`Origin::Project`] for what is not Python.
    pub origin: Origin,
}

/// Every frame's group.
#[derive(Clone, Debug)]
pub struct Grouping<'p> {
    groups: IndexSet<Group<'p>>,
    of_frame: Vec<GroupHandle>,
}

impl<'p> Grouping<'p> {
    /// Puts the frames of `profile` together.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] when a handle is not of this profile.
    pub fn new(profile: &'p Profile, by: GroupBy) -> Result<Self, ProfileError> {
        let mut groups = IndexSet::new();
        let mut of_frame = Vec::with_capacity(profile.frames.len());
        for (_, frame) in profile.frames.iter() {
            let (index, _) = groups.insert_full(group_of(profile, frame, by)?);
            of_frame.push(GroupHandle::from_index(row_number(index)));
        }
        Ok(Self { groups, of_frame })
    }

    /// The group of a frame; `None` for a handle of another profile.
    #[must_use]
    pub fn of_frame(&self, frame: FrameHandle) -> Option<GroupHandle> {
        self.of_frame.get(frame.index() as usize).copied()
    }

    /// The group of `handle`; `None` for a handle of another grouping.
    #[must_use]
    pub fn find(&self, handle: GroupHandle) -> Option<&Group<'p>> {
        self.groups.get_index(handle.index() as usize)
    }

    /// The group of `larger` that each group of this one is in, if `larger` tells no frames apart that this one does not.
    #[must_use]
    pub fn within(&self, larger: &Self) -> Vec<GroupHandle> {
        let mut groups = vec![GroupHandle::from_index(0); self.len()];
        for (group, larger) in self.of_frame.iter().zip(&larger.of_frame) {
            if let Some(entry) = groups.get_mut(group.index() as usize) {
                *entry = *larger;
            }
        }
        groups
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are no groups.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every group with its handle, in order of its first frame.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (GroupHandle, &Group<'p>)> + '_ {
        self.groups
            .iter()
            .enumerate()
            .map(|(index, group)| (GroupHandle::from_index(row_number(index)), group))
    }
}

fn group_of<'p>(
    profile: &'p Profile,
    frame: &Frame,
    by: GroupBy,
) -> Result<Group<'p>, ProfileError> {
    let function = profile.function(frame.function)?;
    let &Function {
        name,
        file,
        library: _,
        first_line,
        kind,
    } = &function;
    let name = profile.string(name)?;
    let file = file.map(|file| profile.string(file)).transpose()?;
    let library = profile.library_name(&function)?;
    let module = file
        .filter(|_| kind == FrameKind::Python)
        .map(Module::of_file);
    let origin = module
        .as_ref()
        .map_or(Origin::Project, |module| module.origin);
    let whole = Group {
        kind,
        name: Cow::Borrowed(name),
        file,
        module: None,
        library,
        first_line,
        line: 0,
        origin,
    };
    Ok(match by {
        GroupBy::Function => whole,
        GroupBy::Line => Group {
            line: frame.source.line,
            ..whole
        },
        GroupBy::FileLine => Group {
            name: Cow::Borrowed(""),
            first_line: 0,
            line: frame.source.line,
            ..whole
        },
        GroupBy::Name => by_name(whole, module),
        GroupBy::Module => by_module(whole, module),
    })
}

/// The file of native code is left out: it is a matter of debug information, which one of two profiles may lack.
fn by_name<'p>(whole: Group<'p>, module: Option<Module<'p>>) -> Group<'p> {
    let installed = module.filter(|module| module.origin != Origin::Project);
    let keeps_file = whole.kind == FrameKind::Python && installed.is_none();
    Group {
        file: whole.file.filter(|_| keeps_file),
        module: installed.map(|module| module.name),
        first_line: 0,
        ..whole
    }
}

fn by_module<'p>(whole: Group<'p>, module: Option<Module<'p>>) -> Group<'p> {
    let name = match (whole.kind, &module, whole.library) {
        (FrameKind::Kernel, ..) => Cow::Borrowed("[kernel]"),
        (FrameKind::Incomplete, ..) => Cow::Borrowed("[incomplete]"),
        (_, Some(module), _) => match (&module.name, module.package()) {
            (Cow::Borrowed(name), package) => {
                // The package is the beginning of the name; taken from there, nothing is copied.
                Cow::Borrowed(name.get(..package.len()).unwrap_or(name))
            }
            (Cow::Owned(_), package) => Cow::Owned(package.to_owned()),
        },
        (_, None, Some(library)) => Cow::Borrowed(library),
        (_, None, None) => Cow::Borrowed("[unknown]"),
    };
    Group {
        name,
        file: None,
        library: None,
        first_line: 0,
        ..whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::MadeUp;

    #[test]
    fn groups_are_as_coarse_as_they_say() {
        let mut made = MadeUp::default();
        let installed = "/usr/lib/python3.12/json/encoder.py";
        for (name, file, first_line, line) in [
            ("f", "/srv/a.py", 1, 2),
            ("f", "/srv/a.py", 1, 3),
            ("f", "/srv/a.py", 9, 9),
            ("encode", installed, 1, 1),
            ("encode", "/opt/lib/python3.13/json/encoder.py", 2, 5),
            ("dumps", "/opt/lib/python3.13/json/__init__.py", 2, 5),
        ] {
            made.python(name, file, first_line, line);
        }
        made.native("deflate", "libz.so");
        made.native("inflate", "libz.so");
        made.kernel("read");
        let count = |by| Grouping::new(&made.profile, by).unwrap().len();
        assert_eq!(count(GroupBy::Line), 9);
        assert_eq!(count(GroupBy::Function), 8);
        assert_eq!(count(GroupBy::Name), 6);
        let modules = Grouping::new(&made.profile, GroupBy::Module).unwrap();
        let names: Vec<_> = modules.iter().map(|(_, group)| &*group.name).collect();
        assert_eq!(names, ["/srv/a.py", "json", "libz.so", "[kernel]"]);
    }
}
