//! Compiles the protos without protoc, and writes the descriptors that reflection serves.

use std::{env, fs, path::PathBuf};

use prost::Message;

const PROTOS: [&str; 2] = ["proto/echo.proto", "proto/stream.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files.clone())?;
    // A client that describes a service prints the comments it is sent; the guide's text has none.
    for file in &mut files.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, files.encode_to_vec())?;
    Ok(())
}
