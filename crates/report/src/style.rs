//! For what terminal a text is.

/// How a text looks; the default is plain and as wide as it needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours. Default is `false`.
    pub color: bool,
    /// The columns of the terminal; nothing is cut when there is none. Default is `None`.
    pub width: Option<usize>,
}

/// What a piece of text is; its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// A heading.
    Heading,
    /// What is of less interest.
    Dim,
    /// The project's own code.
    Project,
    /// Native code.
    Native,
    /// The kernel.
    Kernel,
    /// Something is wrong, or much.
    Alarm,
    /// Worth a look.
    Warm,
    /// Good news.
    Good,
    /// As it is.
    Plain,
}

impl Paint {
    /// The paint of a share: what is most of the time stands out.
    pub(crate) fn of_share(share: f64) -> Self {
        match share {
            _ if share >= 0.3 => Self::Alarm,
            _ if share >= 0.1 => Self::Warm,
            _ if share >= 0.02 => Self::Plain,
            _ => Self::Dim,
        }
    }

    /// Of the sixteen colours that every terminal has, those that show on dark and on light ground.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Heading => Some("1"),
            Self::Dim => Some("2"),
            Self::Project => Some("1"),
            Self::Native => Some("36"),
            Self::Kernel => Some("35"),
            Self::Alarm => Some("31"),
            Self::Warm => Some("33"),
            Self::Good => Some("32"),
            Self::Plain => None,
        }
    }
}

impl Style {
    /// `text` in the colour of `paint`.
    pub(crate) fn paint(&self, text: &str, paint: Paint) -> String {
        match paint.code().filter(|_| self.color && !text.is_empty()) {
            Some(code) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            None => text.to_owned(),
        }
    }
}
