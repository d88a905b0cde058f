//! Writes the descriptors of every message that Sluice encodes, for the JSON view: `OUT_DIR/descriptors.bin`.
//!
//! envoy-types has no descriptors, but ships the `.proto` files that it was generated from. They are found through Cargo itself,
//! so that a registry, a vendored copy and a path all work.

use serde_json::Value;
use std::{env, error::Error, fs, path::PathBuf, process::Command};

/// The local limit stands first: protox resolves its `common.ratelimit` against every package read so far, and fault brings a
/// `filters.common` that hides it.
const ROOTS: [&str; 17] = [
    "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto",
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/filters/http/cors/v3/cors.proto",
    "envoy/extensions/filters/http/fault/v3/fault.proto",
    "envoy/extensions/filters/http/grpc_web/v3/grpc_web.proto",
    "envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto",
    "envoy/extensions/filters/http/rbac/v3/rbac.proto",
    "envoy/extensions/filters/http/router/v3/router.proto",
    "envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
];

const CONNECTION_MANAGER: &str =
    "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto";

/// The folders of the crate's `proto` that imports start from.
const INCLUDES: [&str; 8] = [
    "data-plane-api",
    "xds",
    "protoc-gen-validate",
    "googleapis",
    "opentelemetry-proto",
    "client_model",
    "cel-spec/proto",
    "ratelimit",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let protos = proto_folder()?;
    let includes = INCLUDES.map(|folder| protos.join(folder));
    let mut compiler = protox::Compiler::new(includes)?;
    compiler.include_imports(true).include_source_info(false);
    compiler.open_files(ROOTS.into_iter().chain([CONNECTION_MANAGER]))?;
    let target = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    Ok(fs::write(target, compiler.encode_file_descriptor_set())?)
}

/// Where the `.proto` files of the resolved envoy-types are.
fn proto_folder() -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new(env::var("CARGO")?);
    let platform = env::var("TARGET")?;
    cargo.args(["metadata", "--format-version=1", "--offline", "--filter-platform", &platform]);
    let output = cargo.current_dir(env::var("CARGO_MANIFEST_DIR")?).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("cargo metadata names no packages")?;
    let text = |package: &Value, field| package.get(field).and_then(Value::as_str).map(str::to_owned);
    let package = packages.iter().find(|package| text(package, "name").as_deref() == Some("envoy-types"));
    let manifest = package.and_then(|package| text(package, "manifest_path"));
    let folder = manifest.and_then(|path| PathBuf::from(path).parent().map(|crate_root| crate_root.join("proto")));
    Ok(folder.ok_or("envoy-types is not a dependency")?)
}
