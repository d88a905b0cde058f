//! etcd and kube-apiserver as an ordinary user in a directory of their own, with CRDs installed.
//!
//! manifests → what the API server makes of them, or its refusal
//!
//! **Invariant:** both processes and their directory go when this process ends: a shell between holds them, and waits for
//! the end of a pipe that only this process can write to.
//!
//! It must not know what our kinds mean.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    iter,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::audit::Audit;

/// Starts both servers, and ends them without ceremony once the pipe at standard input closes: their data is thrown away.
const KEEPER: &str = r#"
dir=$1 node=$2 etcd=$3 peer=$4 port=$5
exec 3>&2 2>/dev/null
"$node" etcd --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
  --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" 2>"$dir/etcd.log" 3>&- &
first=$!
"$node" kube-apiserver --etcd-servers "$etcd" --bind-address 127.0.0.1 --secure-port "$port" \
  --cert-dir "$dir/certs" --token-auth-file "$dir/tokens" --authorization-mode AlwaysAllow \
  --audit-policy-file "$dir/audit.yaml" --audit-log-path "$dir/audit.log" \
  --service-cluster-ip-range 10.0.0.0/24 --service-account-issuer https://kubernetes.default.svc \
  --service-account-key-file "$dir/public.pem" --service-account-signing-key-file "$dir/key.pem" 2>&3 3>&- &
second=$!
exec 3>&-
cat >/dev/null
kill -KILL $first $second
wait
rm -rf "$dir"
"#;

/// Users of the server, beside the test itself.
pub const USERS: [&str; 3] = ["one", "two", "three"];

const START: Duration = Duration::from_mins(2);

/// A running API server.
pub struct ApiServer {
    kubectl: PathBuf,
    directory: PathBuf,
    port: u16,
    /// Closing it ends the servers.
    _alive: ChildStdin,
}

/// What the API server, or kubectl before it, said against a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its words.
    pub message: String,
}

/// Whether the API server keeps what it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stores the object.
    Stored,
    /// It only answers what it would store.
    DryRun,
}

impl ApiServer {
    /// Starts the servers from the binary in `SLUICE_KUBE_NODE`, as `hack/test api` sets it, with the Gateway API's CRDs and ours.
    pub fn start() -> Result<Self> {
        Self::start_with(&[repository().join("crds/gateway-api"), repository().join("crds")])
    }

    /// The same with the CRDs of these directories, and no others.
    pub fn start_with(crds: &[PathBuf]) -> Result<Self> {
        let node = std::env::var_os("SLUICE_KUBE_NODE").context("SLUICE_KUBE_NODE is not set: run hack/test api")?;
        let node = PathBuf::from(node);
        ensure!(node.is_file(), "{} is not there: run hack/fetch kube", node.display());
        let directory = tempfile::tempdir()?.keep();
        let port = free_port()?;
        write_credentials(&directory, port)?;
        let mut keeper = keeper(&node, &directory, port)?;
        let alive = keeper.stdin.take().context("the servers' standard input is not a pipe")?;
        let kubectl = node.with_file_name("kubectl");
        let server = Self { kubectl, directory, port, _alive: alive };
        server.until_serving(keeper)?;
        server.install(crds)?;
        Ok(server)
    }

    /// Installs the CRDs of these directories, over those of the same names.
    pub fn install(&self, crds: &[PathBuf]) -> Result<()> {
        let mut apply = vec!["apply", "--server-side"];
        for directory in crds {
            apply.extend(["--filename", directory.to_str().context("a path that is not UTF-8")?]);
        }
        for arguments in [apply.as_slice(), &["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]] {
            let output = self.kubectl(arguments, "")?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Applies a manifest by server-side apply as Sluice does, unknown fields refused. The answer to several documents is a List.
    pub fn apply(&self, manifest: &str, keep: Keep) -> Result<Value, Refusal> {
        let dry_run = match keep {
            Keep::Stored => "--dry-run=none",
            Keep::DryRun => "--dry-run=server",
        };
        let output = self
            .kubectl(
                &[
                    "apply",
                    "--server-side",
                    "--force-conflicts",
                    "--field-manager=sluice",
                    "--validate=strict",
                    "--output=json",
                    dry_run,
                    "--filename=-",
                ],
                manifest,
            )
            .map_err(|error| Refusal { message: error.to_string() })?;
        if !output.status.success() {
            return Err(Refusal { message: String::from_utf8_lossy(&output.stderr).into_owned() });
        }
        serde_json::from_slice(&output.stdout).map_err(|error| Refusal { message: error.to_string() })
    }

    /// Tries to create an object that does not exist yet, unknown fields refused.
    ///
    /// It differs from applying in that an empty object stays one: server-side apply takes it for null.
    pub fn try_create(&self, manifest: &str) -> Result<(), Refusal> {
        let create = ["create", "--validate=strict", "--dry-run=server", "--filename=-"];
        let output = self.kubectl(&create, manifest).map_err(|error| Refusal { message: error.to_string() })?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(Refusal { message: said() }) }
    }

    /// What `kubectl explain` says of a path such as `grpcservice.spec.hostnames`.
    ///
    /// The server publishes the schemas of new kinds a moment after it accepted them, and tells nobody when; so this asks
    /// again while it does not know the kind.
    pub fn explain(&self, path: &str) -> Result<String> {
        let output = self.retry(|| self.kubectl(&["explain", path], ""))?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Where the servers, and whoever belongs to them, keep their files; it goes when they do.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A kubeconfig for one of [`USERS`], which may do everything under its name.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        ensure!(USERS.contains(&user), "no user {user}");
        Ok(self.directory.join(format!("kubeconfig-{user}")))
    }

    /// What everybody writes from now on.
    pub fn audit(&self) -> Result<Audit> {
        Audit::of(self.directory.join("audit.log"))
    }

    fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.directory.join("kubeconfig"));
        command.arg("--cache-dir").arg(self.directory.join("kubectl")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?)
    }

    /// Runs a command until it succeeds. Each turn costs a process, which is pace enough.
    fn retry(&self, command: impl Fn() -> Result<Output>) -> Result<Output> {
        let deadline = Instant::now() + START;
        loop {
            let output = command()?;
            if output.status.success() {
                return Ok(output);
            }
            if Instant::now() > deadline {
                bail!("{}\nin {}", String::from_utf8_lossy(&output.stderr), self.directory.display());
            }
        }
    }

    fn until_serving(&self, mut keeper: Child) -> Result<()> {
        let log = keeper.stderr.take().context("the servers' standard error is not a pipe")?;
        let mut lines = BufReader::new(log).lines();
        let mut said = Vec::new();
        loop {
            let line = lines.next().ok_or_else(|| anyhow!("kube-apiserver ended:\n{}", said.join("\n")))??;
            if line.contains("Serving securely on") {
                break;
            }
            said.push(line);
        }
        // Both ends live as long as this process: the log must be drained, and the shell must be waited for.
        std::thread::spawn(move || {
            let _ended_with_the_pipe = (lines.for_each(drop), keeper.wait());
        });
        self.retry(|| self.kubectl(&["get", "--raw", "/readyz"], "")).map(drop)
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn keeper(node: &Path, directory: &Path, port: u16) -> Result<Child> {
    let url = || Ok::<_, anyhow::Error>(format!("http://127.0.0.1:{}", free_port()?));
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "sh"]).arg(directory).arg(node).arg(url()?).arg(url()?).arg(port.to_string());
    // Of a group of its own, so that a signal to the test's group leaves it alive to clean up.
    command.process_group(0);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
}

/// A port that was free a moment ago. Neither server can be handed a socket.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn write_credentials(directory: &Path, port: u16) -> Result<()> {
    let key = rcgen::KeyPair::generate()?;
    fs::write(directory.join("key.pem"), key.serialize_pem())?;
    fs::write(directory.join("public.pem"), key.public_key_pem())?;
    let users = USERS.iter().map(|user| format!("{user},{user},{user},system:masters"));
    let tokens: Vec<_> = iter::once("test,admin,admin,system:masters".to_owned()).chain(users).collect();
    fs::write(directory.join("tokens"), tokens.join("\n"))?;
    let policy = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}"#;
    fs::write(directory.join("audit.yaml"), policy)?;
    // Once: whoever starts reads one while others start.
    for user in USERS {
        fs::write(directory.join(format!("kubeconfig-{user}")), kubeconfig(port, user))?;
    }
    Ok(fs::write(directory.join("kubeconfig"), kubeconfig(port, "test"))?)
}

fn kubeconfig(port: u16, token: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{{"name": "test", "cluster": {{"server": "https://127.0.0.1:{port}", "insecure-skip-tls-verify": true}}}}],
            "users": [{{"name": "test", "user": {{"token": "{token}"}}}}],
            "contexts": [{{"name": "test", "context": {{"cluster": "test", "user": "test"}}}}]}}"#
    )
}
