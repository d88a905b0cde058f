//! Every file of `tests/golden` says in its name what holds, and shows it. `REFRESH_GOLDEN=1` writes the outputs anew.

use sluice_tests::golden::{Golden, documents, output};
use std::{env, fs, path::Path};

/// Longer inputs hide what they are about.
const LINES: usize = 80;

#[test]
fn every_golden_file_shows_what_becomes_of_its_input() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "no golden files in {}", folder.display());
    let refresh = env::var_os("REFRESH_GOLDEN").is_some();
    let mut stale = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let golden = Golden::parse(&text);
        assert!(golden.input.lines().count() <= LINES, "{}: more than {LINES} lines of input", file.display());
        let made = documents(&golden.input, &folder.join("fixtures")).and_then(output);
        let made = made.unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
        if refresh {
            fs::write(file, golden.render(&made)).unwrap();
        } else if made != golden.output {
            stale.push(format!("{}\n{}", file.display(), first_difference(&golden.output, &made)));
        }
    }
    assert!(stale.is_empty(), "{} of {} differ:\n{}", stale.len(), files.len(), stale.join("\n"));
}

fn first_difference(kept: &str, made: &str) -> String {
    let mut lines = kept.lines().zip(made.lines()).enumerate();
    match lines.find(|(_, (kept, made))| kept != made) {
        Some((at, (kept, made))) => format!("  output line {}:\n  - {kept}\n  + {made}", at + 1),
        None => "  one is longer than the other".to_owned(),
    }
}
