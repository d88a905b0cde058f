//! Manifests on disk: which files there are, and when to look again.
//!
//! paths → [`Source`]s; file system events → one pending wake-up
//!
//! **Invariant:** no update is lost: an event, whatever it says, means that everything is read again, and one that comes while
//! reading leaves a wake-up behind.
//! **Invariant:** what cannot be looked at is named, be it a file or a directory: nothing is missing in silence.
//!
//! It must not know what the files mean.

use super::store::Source;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// An editor's save is several events: reading starts once there was none for so long.
const QUIET: Duration = Duration::from_millis(20);
/// So many quiet periods at most, for directories that are written to all the time.
const PATIENCE: usize = 10;

/// Files larger than this are not manifests.
const MAX_BYTES: u64 = 16 << 20;

/// Reads all manifests under the paths, in order of path. A path that the user named is read whatever it is called.
pub(crate) fn read(paths: &[PathBuf]) -> Vec<Source> {
    let mut found = Found::default();
    for path in paths {
        found.add(path, Named::ByUser);
    }
    let mut sources = found.unreadable;
    sources.extend(found.files.iter().map(|file| Source { file: display(file), text: text(file) }));
    sources
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    ByUser,
    ByDirectory,
}

/// What is below the paths.
#[derive(Default)]
struct Found {
    files: BTreeSet<PathBuf>,
    /// Files and directories that cannot be looked at: what they hold is not known, which is not the same as nothing.
    unreadable: Vec<Source>,
    /// By their real names, since links make circles.
    visited: BTreeSet<PathBuf>,
}

impl Found {
    fn add(&mut self, path: &Path, named: Named) {
        let Err(error) = self.look(path, named) else { return };
        // A file that goes away while we look is as good as never there.
        if named == Named::ByUser || error.kind() != io::ErrorKind::NotFound {
            self.unreadable.push(Source { file: display(path), text: Err(words(&error)) });
        }
    }

    fn look(&mut self, path: &Path, named: Named) -> io::Result<()> {
        if named == Named::ByDirectory && is_hidden(path) {
            return Ok(());
        }
        if fs::metadata(path)?.is_dir() {
            return self.enter(path);
        }
        if named == Named::ByUser || is_manifest(path) {
            self.files.insert(path.to_owned());
        }
        Ok(())
    }

    /// In order of names, so that of several links to a directory it is always the same one that counts.
    fn enter(&mut self, directory: &Path) -> io::Result<()> {
        if self.visited.insert(directory.canonicalize()?) {
            let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
            let children: BTreeSet<_> = entries.collect::<io::Result<_>>()?;
            for child in &children {
                self.add(child, Named::ByDirectory);
            }
        }
        Ok(())
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

fn text(file: &Path) -> Result<String, String> {
    let size = fs::metadata(file).map_err(|error| words(&error))?.len();
    if size > MAX_BYTES {
        return Err(format!("has {size} bytes: a manifest has at most {MAX_BYTES}"));
    }
    fs::read_to_string(file).map_err(|error| words(&error))
}

fn words(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

fn display(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// Wakes its holder up when something may have changed.
pub(crate) struct Watch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches directories with everything below, and the directories of files, since editors replace files by renaming.
    pub(crate) fn new(paths: &[PathBuf]) -> notify::Result<Self> {
        let changed = Arc::new(Notify::new());
        let wake = changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_))) {
                wake.notify_one();
            }
        })?;
        for path in paths {
            let (directory, mode) = if path.is_dir() {
                (path.as_path(), RecursiveMode::Recursive)
            } else {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                (parent.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive)
            };
            watcher.watch(directory, mode)?;
        }
        Ok(Self { changed, _watcher: watcher })
    }

    /// Returns once something may have changed and the files are quiet.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
        for _ in 0..PATIENCE {
            if timeout(QUIET, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &[Source]) -> Vec<&str> {
        sources.iter().map(|source| source.file.rsplit('/').next().unwrap()).collect()
    }

    #[test]
    fn directories_are_read_in_order_without_hidden_and_foreign_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        for name in ["b.yaml", "a.json", ".c.yaml", "d.txt", "sub/e.yml"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let sources = read(&[directory.path().to_owned(), directory.path().join("d.txt")]);
        assert_eq!(names(&sources), ["a.json", "b.yaml", "d.txt", "e.yml"]);
        let missing = read(&[directory.path().join("none")]);
        assert!(missing[0].text.as_ref().unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn what_cannot_be_looked_at_is_named_and_a_circle_of_links_is_walked_once() {
        let directory = tempfile::tempdir().unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, directory.path().join(name)).unwrap();
        fs::write(directory.path().join("a.yaml"), "a").unwrap();
        link(directory.path(), "circle");
        link(Path::new("knot"), "knot");
        link(Path::new("nowhere"), "dangling.yaml");
        let sources = read(&[directory.path().to_owned()]);
        assert_eq!(names(&sources), ["knot", "a.yaml"]);
        assert!(sources[0].text.as_ref().unwrap_err().contains("cannot be read"), "{sources:?}");
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_by_renaming_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "1").unwrap();
        let watch = Watch::new(std::slice::from_ref(&file)).unwrap();
        fs::write(directory.path().join(".new"), "2").unwrap();
        fs::rename(directory.path().join(".new"), &file).unwrap();
        timeout(Duration::from_secs(10), watch.changed()).await.unwrap();
        assert_eq!(read(&[file])[0].text.as_deref(), Ok("2"));
    }
}
