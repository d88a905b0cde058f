//! The binary as a judge of manifests, without a server.
//!
//! manifests → what `sluice translate` makes of them, or its refusal
//!
//! **Invariant:** nothing but the binary's exit code decides whether it accepts.
//!
//! It must not know what an API server says.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::api_server::Refusal;

/// Whether the binary takes the manifest, of whatever kind.
pub fn admit(manifest: &str) -> Result<(), Refusal> {
    translate(&["-"], "ir", manifest).map(drop)
}

/// The objects that the GrpcServices of the files become, as YAML.
pub fn generated(files: &[PathBuf]) -> Result<String, Refusal> {
    let files: Vec<_> = files.iter().filter_map(|file| file.to_str()).collect();
    translate(&files, "gateway-api", "")
}

fn translate(files: &[&str], stage: &str, input: &str) -> Result<String, Refusal> {
    let output = run(files, stage, input).map_err(|error| Refusal { message: format!("{error:#}") })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(Refusal { message: text(&output.stderr) }) }
}

fn run(files: &[&str], stage: &str, input: &str) -> Result<std::process::Output> {
    let binary = std::env::var_os("SLUICE_BIN").context("SLUICE_BIN is not set: run hack/test api")?;
    let mut command = Command::new(Path::new(&binary));
    command.args(["translate", "--output", stage]).args(files.iter().flat_map(|file| ["--filename", file]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    child.stdin.take().context("no pipe")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}
