//! The formats there are, by name and by suffix.

use std::path::Path;

use thiserror::Error;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// An interactive page in one file.
    Html,
    /// The native file: everything that was seen.
    Viperf,
    /// Folded stacks, one line each.
    Folded,
    /// A flame graph picture.
    Svg,
    /// pprof, for `go tool pprof` and many servers.
    Pprof,
    /// speedscope's own format.
    Speedscope,
    /// The Firefox Profiler's processed format.
    Firefox,
    /// Python's pstats, for snakeviz and `python -m pstats`.
    Pstats,
    /// Plain JSON.
    Json,
}

/// A name or a suffix that is no format of today.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// `--format` names something else.
    #[error("no format is called `{name}`: choose one of {}", Format::names())]
    UnknownName {
        /// The name that was given.
        name: String,
    },
    /// The file's suffix says nothing.
    #[error(
        "the format cannot be told from the name `{path}`: end it in one of {}, or give --format",
        Format::suffix_list()
    )]
    UnknownSuffix {
        /// The path that was given.
        path: String,
    },
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::Html,
        Self::Viperf,
        Self::Folded,
        Self::Svg,
        Self::Pprof,
        Self::Speedscope,
        Self::Firefox,
        Self::Pstats,
        // Last, for other formats' suffixes end in it too.
        Self::Json,
    ];

    /// The name by which `--format` knows it: `html`, `viperf`, `folded`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Viperf => "viperf",
            Self::Folded => "folded",
            Self::Svg => "svg",
            Self::Pprof => "pprof",
            Self::Speedscope => "speedscope",
            Self::Firefox => "firefox",
            Self::Pstats => "pstats",
            Self::Json => "json",
        }
    }

    /// The suffixes that mean it, the usual one first.
    #[must_use]
    pub fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Html => &[".html"],
            Self::Viperf => &[".viperf"],
            Self::Folded => &[".folded", ".col"],
            Self::Svg => &[".svg"],
            Self::Pprof => &[".pb.gz", ".pprof"],
            Self::Speedscope => &[".speedscope.json"],
            Self::Firefox => &[".firefox.json.gz"],
            Self::Pstats => &[".pstats"],
            Self::Json => &[".json"],
        }
    }

    /// What opens it, for the line that says what to do with the file.
    #[must_use]
    pub fn opened_by(self) -> &'static str {
        match self {
            Self::Html => "open it in a browser",
            Self::Viperf => "every other format can be made from it with viperf convert",
            Self::Folded => "one line per stack, root first, with its count",
            Self::Svg => "open it in a browser",
            Self::Pprof => "open it with go tool pprof",
            Self::Speedscope => "open it with speedscope",
            Self::Firefox => "load it in the Firefox Profiler (profiler.firefox.com)",
            Self::Pstats => "open it with snakeviz or python3 -m pstats",
            Self::Json => "docs/formats/json.md describes it",
        }
    }

    /// The format called `name`; its suffixes without the dot are names too.
    ///
    /// # Errors
    ///
    /// [`FormatError::UnknownName`], which lists the names there are.
    pub fn from_name(name: &str) -> Result<Self, FormatError> {
        let is_it = |format: &Self| {
            format.name() == name
                || format
                    .suffixes()
                    .iter()
                    .any(|suffix| suffix.trim_start_matches('.') == name)
        };
        Self::ALL
            .into_iter()
            .find(is_it)
            .ok_or_else(|| FormatError::UnknownName {
                name: name.to_owned(),
            })
    }

    /// The format that a file's suffix means; capitals do not matter.
    ///
    /// # Errors
    ///
    /// [`FormatError::UnknownSuffix`], which lists the suffixes there are.
    pub fn from_path(path: &Path) -> Result<Self, FormatError> {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        let is_it = |format: &Self| {
            format
                .suffixes()
                .iter()
                .any(|suffix| name.ends_with(suffix))
        };
        Self::ALL
            .into_iter()
            .find(is_it)
            .ok_or_else(|| FormatError::UnknownSuffix {
                path: path.display().to_string(),
            })
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn suffix_list() -> String {
        Self::ALL
            .map(|format| format.suffixes().join(", "))
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_suffixes_of_the_command_line_are_known() {
        for (path, format) in [
            ("a.html", Format::Html),
            ("dir.col/a.viperf", Format::Viperf),
            ("a.b.folded", Format::Folded),
            ("A.COL", Format::Folded),
            ("a.svg", Format::Svg),
            ("a.pb.gz", Format::Pprof),
            ("a.pprof", Format::Pprof),
            ("a.speedscope.json", Format::Speedscope),
            ("a.firefox.json.gz", Format::Firefox),
            ("a.pstats", Format::Pstats),
            ("speedscope.json", Format::Json),
        ] {
            assert_eq!(Format::from_path(Path::new(path)), Ok(format));
        }
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Ok(format));
        }
        assert_eq!(Format::from_name("col"), Ok(Format::Folded));
    }

    #[test]
    fn a_format_that_does_not_exist_yet_is_an_error_that_lists_those_that_do() {
        for path in ["a.png", "a.gz", "-", "", "/", "html"] {
            let text = Format::from_path(Path::new(path)).unwrap_err().to_string();
            assert!(text.ends_with(".pstats, .json, or give --format"), "{text}");
        }
        assert_eq!(
            Format::from_name("png").unwrap_err().to_string(),
            "no format is called `png`: choose one of html, viperf, folded, svg, pprof, speedscope, firefox, pstats, json"
        );
    }
}
