//! The state directory: what local mode has to remember over a restart.
//!
//! values → JSON files, readable by the user alone
//!
//! **Invariant:** a directory has one process at a time: two would end each other's proxies and mix up each other's files.
//! **Invariant:** a file is there whole or not at all, and nobody but its owner can read it: some hold keys.
//!
//! It must not know what is remembered.

use anyhow::{Context as _, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use twox_hash::XxHash3_128;

/// A directory of our own, until the last clone of this is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// Held, never read. The kernel lets go of it however the process ends.
    _lock: Arc<File>,
}

impl Directory {
    /// Opens a directory, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made or written to, or when another process has it.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let lock = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path.join("lock"));
        let lock = lock.context("its lock")?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => {
                bail!("another sluice local uses this state directory: end it, or choose another by --state")
            }
            Err(TryLockError::Error(error)) => Err(error).context("its lock"),
        }
    }

    /// The place for the manifests at `paths`: below `$XDG_STATE_HOME`, else below `~/.local/state`.
    pub(crate) fn default_for(paths: &[PathBuf]) -> PathBuf {
        let base = std::env::var_os("XDG_STATE_HOME").filter(|base| !base.is_empty()).map(PathBuf::from);
        let home = || std::env::home_dir().unwrap_or_else(std::env::temp_dir).join(".local/state");
        let real: Vec<_> = paths.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone())).collect();
        base.unwrap_or_else(home).join("sluice").join(name_for(&real))
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A directory in it that nobody else may enter, whoever made this one.
    ///
    /// # Errors
    /// When it cannot be made so.
    pub(crate) fn private(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// Reads what was kept under a name; nothing if it is not there or no longer makes sense, which costs what a first start does.
    pub(crate) fn load<T: DeserializeOwned + Default>(&self, name: &str) -> T {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Keeps a value under a name.
    pub(crate) fn save<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.write(name, &serde_json::to_vec_pretty(value)?)
    }

    /// Keeps bytes under a name.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (fresh, file) = (self.path(&format!(".{name}.new")), self.path(name));
        write_private(&fresh, bytes)?;
        fs::rename(fresh, file)
    }
}

/// XXH3 of the paths, separated by what no path contains: the same for every build, or an update would lose what is remembered.
fn name_for(paths: &[PathBuf]) -> String {
    let bytes: Vec<_> = paths.iter().map(|path| path.as_os_str()).map(OsStr::as_bytes).collect();
    format!("{:032x}", XxHash3_128::oneshot(&bytes.join(&0)))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A file left behind by a crash keeps its mode: start anew.
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt};

    #[test]
    fn the_name_for_paths_is_the_same_for_every_build() {
        let name = |paths: &[&str]| name_for(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(name(&["/a/b", "/c"]), "1f9a698e69cc869ae2ed1caea78cede7");
        assert_ne!(name(&["/a/b", "/c"]), name(&["/a/b/c"]));
    }

    #[test]
    fn a_directory_has_one_holder_until_the_last_clone_is_gone() {
        let temporary = tempfile::tempdir().unwrap();
        let open = || Directory::open(temporary.path().to_owned());
        let first = open().unwrap();
        let clone = first.clone();
        drop(first);
        assert!(open().unwrap_err().to_string().contains("choose another by --state"));
        drop(clone);
        open().unwrap();
    }

    #[test]
    fn what_is_saved_is_loaded_and_private() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path().join("a/b")).unwrap();
        let value = BTreeMap::from([("k".to_owned(), 1)]);
        directory.save("x.json", &value).unwrap();
        assert_eq!(directory.load::<BTreeMap<String, i32>>("x.json"), value);
        assert_eq!(fs::metadata(directory.path("x.json")).unwrap().permissions().mode() & 0o777, 0o600);
        directory.write("x.json", b"{").unwrap();
        assert_eq!(directory.load::<BTreeMap<String, i32>>("x.json"), BTreeMap::new());
    }
}
