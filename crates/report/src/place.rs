//! Where a function is, in few words.

use viperf_profile::{FrameKind, Group, Grouping, Module, Origin};

/// The folder that all files of the project share, so that it need not be repeated on every line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    folder: String,
}

impl Places {
    /// Of one file, the folder is its own.
    pub(crate) fn new(grouping: &Grouping<'_>) -> Self {
        let files = grouping
            .iter()
            .filter(|(_, group)| group.kind == FrameKind::Python && group.origin == Origin::Project)
            .filter_map(|(_, group)| group.file)
            .filter(|file| file.starts_with('/'));
        let mut folder: Option<&str> = None;
        for file in files {
            let own = file
                .rfind('/')
                .and_then(|at| file.get(..=at))
                .unwrap_or_default();
            folder = Some(match folder {
                None => own,
                Some(folder) => common_folder(folder, own),
            });
        }
        Self {
            folder: folder.unwrap_or_default().to_owned(),
        }
    }

    /// `app.py:7`, `json.encoder:202`, `libz.so.1`; empty for the kernel.
    pub(crate) fn place(&self, group: &Group<'_>) -> String {
        let line = match (group.line, group.first_line) {
            (0, first_line) => first_line,
            (line, _) => line,
        };
        match (group.kind, group.file, &group.module, group.library) {
            (FrameKind::Python, Some(file), None, _) => with_line(&self.file(file), line),
            (FrameKind::Python, _, Some(module), _) => with_line(module, line),
            (_, _, _, Some(library)) => library.to_owned(),
            _ => String::new(),
        }
    }

    /// The file without what all files share, or its module if it is installed code.
    pub(crate) fn file(&self, file: &str) -> String {
        let module = Module::of_file(file);
        match module.origin {
            Origin::Project => file.strip_prefix(&self.folder).unwrap_or(file).to_owned(),
            _ => module.name.into_owned(),
        }
    }
}

fn common_folder<'a>(one: &'a str, other: &str) -> &'a str {
    let mut end = 0;
    for (index, byte) in one.bytes().enumerate() {
        if other.as_bytes().get(index) != Some(&byte) {
            break;
        }
        if byte == b'/' {
            end = index + 1;
        }
    }
    // `/` alone says nothing, and taking it away makes a path look relative.
    match end {
        0 | 1 => "",
        end => one.get(..end).unwrap_or_default(),
    }
}

fn with_line(place: &str, line: u32) -> String {
    match line {
        0 => place.to_owned(),
        line => format!("{place}:{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_files_share_is_a_whole_folder() {
        assert_eq!(common_folder("/srv/shop/", "/srv/shops/"), "/srv/");
        assert_eq!(common_folder("/srv/a/b/", "/srv/a/"), "/srv/a/");
        assert_eq!(common_folder("/srv/", "/opt/"), "");
    }
}
