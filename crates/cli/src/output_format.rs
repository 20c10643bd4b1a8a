//! What can be written: a format of `viperf-encode`, or what `viperf report` prints.

use std::path::Path;

use viperf_encode::{Format, Options, encode};
use viperf_profile::{Filter, FrameKind, Profile, filter};
use viperf_report::{Report, ReportOptions, Style};

use crate::exit::Failure;

/// The name of the text; its suffix is the same with a dot.
const TEXT_NAME: &str = "txt";
const TEXT_SUFFIX: &str = ".txt";

/// What the file will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// Stacks, in a format that has its names from `viperf-encode`.
    Encoded(Format),
    /// The text of `viperf report` without options, as wide as it needs and without colours.
    Text,
}

impl OutputFormat {
    pub(crate) const HTML: Self = Self::Encoded(Format::Html);

    /// The format called `name`, as `--format` gives it.
    pub(crate) fn from_name(name: &str) -> Result<Self, String> {
        if name == TEXT_NAME {
            return Ok(Self::Text);
        }
        let encoded = Format::from_name(name).map(Self::Encoded);
        encoded.map_err(|_unknown| {
            let names = Format::ALL.map(Format::name).join(", ");
            format!("no format is called `{name}`: choose one of {names}, {TEXT_NAME}")
        })
    }

    /// The format that a file's suffix means; capitals do not matter.
    pub(crate) fn from_path(path: &Path) -> Result<Self, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.to_lowercase().ends_with(TEXT_SUFFIX) {
            return Ok(Self::Text);
        }
        let encoded = Format::from_path(path).map(Self::Encoded);
        encoded.map_err(|_unknown| {
            let suffixes = Format::ALL.map(|format| format.suffixes().join(", "));
            format!(
                "the format cannot be told from the name `{}`: end it in one of {}, {TEXT_SUFFIX}, or give --format",
                path.display(),
                suffixes.join(", ")
            )
        })
    }

    /// The usual suffix, with its dot.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Encoded(format) => format.suffixes().first().copied().unwrap_or_default(),
            Self::Text => TEXT_SUFFIX,
        }
    }

    /// What opens it, for the line that says what to do with the file.
    pub(crate) fn opened_by(self) -> &'static str {
        match self {
            Self::Encoded(format) => format.opened_by(),
            Self::Text => "it is what `viperf report` prints",
        }
    }

    /// The profile in this format, as the bytes of a file.
    pub(crate) fn encode(self, profile: &Profile, options: &Options) -> Result<Vec<u8>, Failure> {
        let Self::Encoded(format) = self else {
            let text = report_text(profile, options.folded.interpreter_frames);
            return text.map(String::into_bytes);
        };
        encode(profile, format, options).map_err(|error| Failure::failed(error.to_string()))
    }
}

fn report_text(profile: &Profile, interpreter_frames: bool) -> Result<String, Failure> {
    let hidden = match interpreter_frames {
        true => vec![],
        false => vec![FrameKind::Interpreter],
    };
    let wanted = Filter {
        hidden,
        ..Filter::default()
    };
    let shown =
        filter(profile.clone(), &wanted).map_err(|error| Failure::failed(error.to_string()))?;
    let report = Report::new(&shown, &ReportOptions::default())
        .map_err(|error| Failure::failed(error.to_string()))?;
    Ok(report.text(&Style::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_known_by_its_name_and_by_its_suffix() {
        let encoded = Format::ALL.map(OutputFormat::Encoded);
        for format in encoded.into_iter().chain([OutputFormat::Text]) {
            let suffix = format.suffix();
            let path = format!("a{suffix}");
            assert_eq!(OutputFormat::from_path(Path::new(&path)), Ok(format));
            let name = suffix.trim_start_matches('.');
            assert_eq!(OutputFormat::from_name(name), Ok(format));
        }
        let capitals = OutputFormat::from_path(Path::new("A.TXT"));
        assert_eq!(capitals, Ok(OutputFormat::Text));
    }

    #[test]
    fn what_is_no_format_is_told_with_all_that_there_are() {
        let error = OutputFormat::from_path(Path::new("a.png")).unwrap_err();
        assert!(error.ends_with(".json, .txt, or give --format"), "{error}");
        let error = OutputFormat::from_name("png").unwrap_err();
        assert!(
            error.ends_with(
                "html, viperf, folded, svg, pprof, speedscope, firefox, pstats, json, txt"
            ),
            "{error}"
        );
    }

    #[test]
    fn the_text_is_the_report_without_colours() {
        let bytes = OutputFormat::Text
            .encode(&Profile::default(), &Options::default())
            .unwrap();
        let expected = Report::new(&Profile::default(), &ReportOptions::default()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, expected.text(&Style::default()));
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
