//! A live table at the foot of a terminal, with log lines passing above it; without a terminal, the lines alone.
//!
//! text → the terminal
//!
//! It must not know what it shows.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::fmt::MakeWriter;

/// The foot of the terminal, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Screen(Option<ProgressBar>);

impl Screen {
    /// A screen that shows nothing yet.
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}").ok().filter(|_| io::stderr().is_terminal());
        Self(style.map(|style| ProgressBar::new_spinner().with_style(style)))
    }

    /// Replaces what is shown; redrawn only where it differs.
    pub(crate) fn show(&self, text: impl FnOnce() -> String) {
        if let Some(foot) = &self.0 {
            foot.set_message(text());
        }
    }

    /// Leaves the terminal as it was found.
    pub(crate) fn end(&self) {
        if let Some(foot) = &self.0 {
            foot.finish_and_clear();
        }
    }
}

impl Write for Screen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(foot) => foot.suspend(|| io::stderr().write(line)),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for Screen {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
