//! Why a verb ended without its result: one sentence, an exit code, and the lines of text it speaks of.
//!
//! **Invariant:** every failure that reaches the user passes through here, so that people and programs
//! (`--json`) are told the same sentence and the same code (DESIGN 3.9).

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan};
use plan::Refusal;
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What kind of end it was; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The engine, the machine or the settings said no.
    Refused(Refusal),
    /// Ctrl-C (130): the run can be resumed.
    Interrupted,
    /// SIGTERM (143): the run can be resumed.
    Terminated,
}

impl Kind {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Refused(refusal) => refusal.exit_code(),
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
        }
    }

    /// The word for it in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Refused(Refusal::Usage) => "usage",
            Kind::Refused(Refusal::BadData) => "bad_data",
            Kind::Refused(Refusal::Unavailable) => "unavailable",
            Kind::Refused(Refusal::Bug) => "bug",
            Kind::Refused(Refusal::Io) => "io",
            Kind::Refused(Refusal::TryAgain) => "try_again",
            Kind::Refused(Refusal::Permission) => "permission",
            Kind::Refused(Refusal::Config) => "config",
            Kind::Interrupted => "interrupted",
            Kind::Terminated => "terminated",
        }
    }
}

/// A text that settings were read from, kept for pointing into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The name under which the user knows it.
    pub name: String,
    /// All of it.
    pub content: String,
}

impl Text {
    /// Line and column, both from 1, of a byte offset.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.content[..self.content.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line, column)
    }
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub text: Arc<Text>,
    /// The bytes in question.
    pub span: Range<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.text.line_and_column(self.span.start);
        write!(f, "{}:{line}:{column}", self.text.name)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where, if it stands in a file.
    pub place: Option<Place>,
    /// What, and what to do.
    pub sentence: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.sentence)
    }
}

/// Why a verb ended without its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// At least one; several where settings were checked together.
    pub complaints: Vec<Complaint>,
}

impl Failure {
    /// One sentence.
    pub fn new(refusal: Refusal, sentence: impl Into<String>) -> Self {
        let complaint = Complaint {
            place: None,
            sentence: sentence.into(),
        };
        Self {
            kind: Kind::Refused(refusal),
            complaints: vec![complaint],
        }
    }

    /// Several things wrong with the settings.
    pub fn config(complaints: Vec<Complaint>) -> Self {
        Self {
            kind: Kind::Refused(Refusal::Config),
            complaints,
        }
    }

    /// Ctrl-C or SIGTERM; `sentence` says how to go on.
    pub fn stopped(kind: Kind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            complaints: vec![Complaint {
                place: None,
                sentence: sentence.into(),
            }],
        }
    }

    /// An error of the operating system about `what`, by its kind.
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let refusal = match error.kind() {
            std::io::ErrorKind::NotFound => Refusal::Unavailable,
            std::io::ErrorKind::PermissionDenied => Refusal::Permission,
            _ => Refusal::Io,
        };
        Self::new(refusal, format!("{what}: {error}"))
    }

    /// A file that could not be written.
    pub fn unwritten(error: tables::out::OutError) -> Self {
        match error {
            tables::out::OutError::Io { path, error } => {
                Self::io(format!("{} cannot be written", path.display()), &error)
            }
            error => Self::new(Refusal::Io, error.to_string()),
        }
    }

    /// All sentences in one line.
    pub fn message(&self) -> String {
        self.complaints
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        self.kind.exit_code()
    }

    /// The object that `--json` prints.
    pub fn json(&self) -> FailureObject {
        FailureObject {
            error: ErrorObject {
                kind: self.kind.name(),
                message: self.message(),
                exit_code: self.exit_code(),
            },
        }
    }

    /// The sentences for people, each with the line it points at, if it points at one.
    pub fn render(&self, color: bool) -> String {
        let theme = if color {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::none()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(120)
            .with_context_lines(1);
        let mut shown = String::new();
        for complaint in &self.complaints {
            if complaint.place.is_none() {
                shown.push_str("error: ");
                shown.push_str(&complaint.sentence);
                shown.push('\n');
            } else if handler
                .render_report(&mut shown, &Pointed(complaint))
                .is_err()
            {
                shown.push_str(&complaint.to_string());
            }
        }
        shown
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for Failure {}

impl From<plan::Failure> for Failure {
    fn from(failure: plan::Failure) -> Self {
        Self::new(failure.refusal(), failure.to_string())
    }
}

/// A program stops where the data do not suit the settings, so it counts as bad data.
impl From<tensor::ProgramError> for Failure {
    fn from(error: tensor::ProgramError) -> Self {
        Self::new(Refusal::BadData, error.sentence)
    }
}

/// What `--json` prints on failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureObject {
    /// The failure.
    pub error: ErrorObject,
}

/// The failure in `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorObject {
    /// A word from a fixed list: `usage`, `bad_data`, `unavailable`, `bug`, `io`, `try_again`, `permission`,
    /// `config`, `interrupted`, `terminated`.
    pub kind: &'static str,
    /// What, where and what to do.
    pub message: String,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// A complaint as miette wants it.
#[derive(Debug)]
struct Pointed<'a>(&'a Complaint);

impl fmt::Display for Pointed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}

impl std::error::Error for Pointed<'_> {}

impl miette::Diagnostic for Pointed<'_> {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        let place = self.0.place.as_ref()?;
        Some(&place.text.content)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.0.place.as_ref()?;
        let label = LabeledSpan::new(None, place.span.start, place.span.len());
        Some(Box::new(std::iter::once(label)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_its_line() {
        let text = Arc::new(Text {
            name: "job.toml".into(),
            content: "[model]\nrnak = 3\n".into(),
        });
        let place = Place { text, span: 8..12 };
        let failure = Failure::config(vec![Complaint {
            place: Some(place),
            sentence: "no such key".into(),
        }]);
        assert_eq!(failure.message(), "job.toml:2:1: no such key");
        let shown = failure.render(false);
        assert!(
            shown.contains("job.toml:2:1: no such key") && shown.contains("rnak = 3"),
            "{shown}"
        );
        assert!(shown.contains("^^^^"), "{shown}");
        assert_eq!(failure.exit_code(), 78);
        assert_eq!(failure.json().error.kind, "config");
    }

    #[test]
    fn signals_have_their_codes() {
        assert_eq!(
            Failure::stopped(Kind::Interrupted, "again").exit_code(),
            130
        );
        assert_eq!(Failure::stopped(Kind::Terminated, "again").exit_code(), 143);
    }
}
