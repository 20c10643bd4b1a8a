//! A comparison as a file.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use viperf_encode::{folded, html};
use viperf_profile::Pair;
use viperf_report::{DiffReport, Style};

use super::DiffArguments;
use crate::exit::Failure;
use crate::output::Destination;
use crate::report::quoted;
use crate::{next, progress};

/// What a comparison can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DiffFormat {
    Html,
    Folded,
    Json,
    #[value(alias = "markdown")]
    Md,
    Txt,
}

impl DiffFormat {
    /// Suffixes and what they mean; capitals do not matter.
    const SUFFIXES: [(&'static str, Self); 6] = [
        (".html", Self::Html),
        (".folded", Self::Folded),
        (".col", Self::Folded),
        (".json", Self::Json),
        (".md", Self::Md),
        (".txt", Self::Txt),
    ];

    fn from_path(path: &Path) -> Result<Self, Failure> {
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().to_lowercase();
        let found = Self::SUFFIXES
            .iter()
            .find(|(suffix, _)| name.ends_with(suffix));
        found.map(|&(_, format)| format).ok_or_else(|| {
            let suffixes = Self::SUFFIXES.map(|(suffix, _)| suffix).join(", ");
            Failure::wrong_usage(format!(
                "a comparison cannot be written as {}: end the name in one of {suffixes}, or give --format",
                quoted(path)
            ))
        })
    }
}

/// A file to write, whose place was looked at before anything was compared.
pub(super) struct Wanted {
    path: PathBuf,
    format: DiffFormat,
    destination: Destination,
}

impl Wanted {
    /// What `-o` asks for; `None` without it.
    pub(super) fn check(arguments: &DiffArguments) -> Result<Option<Self>, Failure> {
        let Some(path) = arguments.output.clone() else {
            return Ok(None);
        };
        let format = match arguments.format {
            Some(format) => format,
            None if path == Path::new("-") => DiffFormat::Folded,
            None => DiffFormat::from_path(&path)?,
        };
        let destination = Destination::check(&path)?;
        Ok(Some(Self {
            path,
            format,
            destination,
        }))
    }

    /// Writes it, and says what to do with it.
    pub(super) fn write(
        &self,
        pair: &Pair,
        report: &DiffReport,
        arguments: &DiffArguments,
    ) -> Result<(), Failure> {
        let what = format!("writing {}", quoted(&self.path));
        let text = progress::during(&what, || self.text(pair, report, arguments))?;
        self.destination.write(text.as_bytes())?;
        if self.destination.path().is_some() {
            next::tell_written_as(&self.path, text.len() as u64, &self.opened_by());
        }
        Ok(())
    }

    fn text(
        &self,
        pair: &Pair,
        report: &DiffReport,
        arguments: &DiffArguments,
    ) -> Result<String, Failure> {
        let failed = |error: viperf_encode::EncodeError| Failure::failed(error.to_string());
        match self.format {
            DiffFormat::Html => {
                let [base, new] =
                    [&arguments.base, &arguments.new].map(|path| path.display().to_string());
                let comparison =
                    html::Comparison::new(pair, [&base, &new], arguments.normalize.into());
                html::encode_comparison(pair, &comparison, &html::Options::default())
                    .map_err(failed)
            }
            DiffFormat::Folded => {
                folded::encode_difference(pair, &folded::Options::default()).map_err(failed)
            }
            DiffFormat::Json => Ok(report.json()),
            DiffFormat::Md => Ok(report.markdown()),
            DiffFormat::Txt => Ok(report.text(&Style::default())),
        }
    }

    fn opened_by(&self) -> String {
        match self.format {
            DiffFormat::Html => next::open_in_browser(&self.path),
            DiffFormat::Folded => {
                "one line per stack with both counts; inferno-flamegraph and flamegraph.pl draw it"
                    .to_owned()
            }
            DiffFormat::Json => "it is what `viperf diff --json` prints".to_owned(),
            DiffFormat::Md => "it is what `viperf diff --markdown` prints".to_owned(),
            DiffFormat::Txt => "it is what `viperf diff` prints".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_tells_the_format_and_what_cannot_be_written_is_said() {
        for (name, format) in [
            ("a.html", DiffFormat::Html),
            ("A.FOLDED", DiffFormat::Folded),
            ("a.b.json", DiffFormat::Json),
            ("a.md", DiffFormat::Md),
        ] {
            assert_eq!(DiffFormat::from_path(Path::new(name)), Ok(format));
        }
        let failure = DiffFormat::from_path(Path::new("a.pb.gz")).unwrap_err();
        let text = format!("{failure:?}");
        assert!(
            text.contains(".html, .folded") && text.contains("code: 2"),
            "{text}"
        );
    }
}
