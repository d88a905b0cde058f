//! What is wrong with a manifest, and where.

use serde::Serialize;
use std::{fmt, sync::Arc};

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Place {
    /// As the user named it.
    pub(crate) file: Arc<str>,
    /// From 1; 0 stands for the file as a whole.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) enum Severity {
    /// Said once, changes nothing.
    Note,
    /// The object is served; something about it is not as it was probably meant.
    Warning,
    /// The document is not taken; the last good version of its object stays.
    Error,
}

/// `file:line: reason`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Finding {
    /// Where.
    #[serde(flatten)]
    pub(crate) place: Place,
    /// How bad.
    pub(crate) severity: Severity,
    /// What, and what to do.
    pub(crate) message: String,
}

impl Finding {
    /// A finding of a severity.
    pub(crate) fn new(severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self { place, severity, message: message.into() }
    }

    /// A document that is not taken.
    pub(crate) fn error(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Note => "note: ",
            Severity::Warning => "warning: ",
            Severity::Error => "",
        };
        write!(f, "{}: {word}{}", self.place, self.message)
    }
}
