//! What the server is asked for and who answers.

/// What a page says when it asks for data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataRequest {
    /// The position that the data before came with; empty at first.
    pub position: String,
    /// What it wants to show.
    pub choice: Choice,
}

/// Which of several files a page shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// What its reader is to see first.
    #[default]
    Opening,
    /// All files as one.
    All,
    /// The file at this place.
    One(usize),
    /// What changed from one file to another, by their places.
    Changes {
        /// What is compared with.
        base: usize,
        /// What is judged.
        new: usize,
    },
}

/// The text of a source file, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceAnswer {
    /// As `viperf_encode::html::encode_served_source` makes it.
    Text(Vec<u8>),
    /// It is being read: ask again.
    Waiting,
    /// One line for the page's reader.
    None(String),
}

/// Who knows what the page shows.
pub trait Content: Send + Sync + 'static {
    /// Whether there is something that the page with this request lacks.
    ///
    /// It is asked a few times a second while a page waits, and must not take long.
    fn has_newer(&self, request: &DataRequest) -> bool;

    /// The data for this request as `viperf_encode::html` makes it, or one line that says why there is none and what to do.
    ///
    /// # Errors
    ///
    /// The line for the page's reader.
    fn data(&self, request: &DataRequest) -> Result<Vec<u8>, String>;

    /// The text of the source file that the profile calls `path`; asked a few times a second while a page waits for it.
    fn source(&self, path: &str) -> SourceAnswer {
        let _ = path;
        SourceAnswer::None("all text that there is came with the data".to_owned())
    }
}
