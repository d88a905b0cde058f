//! `sluice operator`

use crate::{
    cluster::{
        families::Families,
        identity::Lifetimes,
        lease::Terms,
        run::{self, Options},
        scope::Scope,
    },
    runtime::telemetry::{self, Format},
};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// The port of the configuration.
const XDS: u16 = 18000;
/// The port of the admin interface.
const ADMIN: u16 = 9900;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "In a pod the chart sets what is needed. Elsewhere KUBECONFIG says which cluster, and proxies have to reach this machine:
  sluice operator --pod-ip 192.0.2.7 --proxy-image registry.example.com/sluice-proxy:dev"
)]
pub(super) struct Args {
    /// Namespace of the install: of its lease, its CA and its Service
    #[arg(long, default_value = "sluice-system", env = "POD_NAMESPACE")]
    namespace: String,
    /// Name among the replicas, which two of them must not share [default: one after this process]
    #[arg(long, env = "POD_NAME")]
    pod_name: Option<String>,
    /// Address at which proxies reach this replica [default: they are not told of it]
    #[arg(long, env = "POD_IP")]
    pod_ip: Option<IpAddr>,
    /// All addresses of this replica: proxies listen in the families that these are of [default: IPv4]
    #[arg(long, value_name = "A,B", value_delimiter = ',', env = "POD_IPS")]
    pod_ips: Vec<IpAddr>,
    /// Watch these namespaces alone; the class and its profile are then not read but given [default: the whole cluster]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', env = "SLUICE_WATCH_NAMESPACES")]
    watch_namespaces: Vec<String>,
    /// Name of the GatewayClass that is made if it is absent
    #[arg(long, default_value = sluice_api::GATEWAY_CLASS, env = "SLUICE_CLASS")]
    class: String,
    /// With --watch-namespaces: the spec of the class's GatewayProfile, a YAML file [default: an empty one]
    #[arg(long, value_name = "FILE", requires = "watch_namespaces", env = "SLUICE_PROFILE")]
    profile: Option<PathBuf>,
    /// Where proxies get their configuration [default: port 18000 of every address]
    #[arg(long, env = "SLUICE_XDS_ADDRESS")]
    xds_address: Option<SocketAddr>,
    /// Service without a selector that stands for the replica that leads
    #[arg(long, default_value = "sluice-xds", env = "SLUICE_XDS_SERVICE")]
    xds_service: String,
    /// Streams of each Gateway's proxies beyond two for each of its pods; those of proxies that run elsewhere, for instance
    #[arg(long, default_value_t = 16, env = "SLUICE_SPARE_STREAMS")]
    spare_streams: usize,
    /// Address of the admin interface (/metrics, /readyz, /livez, /status) [default: port 9900 of every address]
    #[arg(long, env = "SLUICE_ADMIN_ADDRESS")]
    admin_address: Option<SocketAddr>,
    /// Name of the Lease
    #[arg(long, default_value = "sluice", env = "SLUICE_LEASE")]
    lease: String,
    /// How long other replicas wait before they take over from one that is silent
    #[arg(long, default_value = "15s", value_parser = super::duration, env = "SLUICE_LEASE_DURATION")]
    lease_duration: Duration,
    /// How long a replica leads without reaching the API server; less than --lease-duration
    #[arg(long, default_value = "10s", value_parser = super::duration, env = "SLUICE_LEASE_DEADLINE")]
    lease_deadline: Duration,
    /// How often the lease is renewed, or asked for
    #[arg(long, default_value = "2s", value_parser = super::duration, env = "SLUICE_LEASE_RETRY")]
    lease_retry: Duration,
    /// How long the CA of the proxies' connections is valid
    #[arg(long, default_value = "8760h", value_parser = super::duration, env = "SLUICE_CA_LIFETIME")]
    ca_lifetime: Duration,
    /// How long the certificates of these connections are valid; a quarter of the CA's lifetime at most
    #[arg(long, default_value = "24h", value_parser = super::duration, env = "SLUICE_IDENTITY_LIFETIME")]
    identity_lifetime: Duration,
    /// Image of the proxies: Envoy and sluice
    #[arg(long, default_value = concat!("sluice-proxy:", env!("CARGO_PKG_VERSION")), env = "SLUICE_PROXY_IMAGE")]
    proxy_image: String,
    /// When the nodes pull it
    #[arg(long, default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"], env = "SLUICE_PROXY_PULL_POLICY")]
    proxy_pull_policy: String,
    /// What to log, as RUST_LOG has it
    #[arg(long, default_value = "info", env = "SLUICE_LOG")]
    log: String,
    /// How to log
    #[arg(long, value_enum, default_value = "text", env = "SLUICE_LOG_FORMAT")]
    log_format: Format,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::start(&args.log, args.log_format, io::stderr)?;
    let scope = args.scope()?;
    let families = Families::of(&args.pod_ips);
    let everywhere = |port| SocketAddr::new(families.everywhere(), port);
    let options = Options {
        scope,
        class: args.class,
        namespace: args.namespace.into(),
        pod: args.pod_name.unwrap_or_else(|| format!("process-{}", std::process::id())).into(),
        ip: args.pod_ip,
        families,
        xds: args.xds_address.unwrap_or_else(|| everywhere(XDS)),
        xds_service: args.xds_service.into(),
        admin: args.admin_address.unwrap_or_else(|| everywhere(ADMIN)),
        lease: args.lease.into(),
        terms: Terms { duration: args.lease_duration, deadline: args.lease_deadline, retry: args.lease_retry },
        spare_streams: args.spare_streams,
        lives: Lifetimes { authority: args.ca_lifetime, leaf: args.identity_lifetime },
        image: args.proxy_image,
        pull_policy: args.proxy_pull_policy,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // As a task among the others: on this thread the engine would be woken across threads, twice for each edit.
    runtime.block_on(runtime.spawn(run::run(options)))??;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn scope(&self) -> anyhow::Result<Scope> {
        if self.watch_namespaces.is_empty() {
            return Ok(Scope::Cluster);
        }
        let names = self.watch_namespaces.iter().map(|name| name.as_str().into()).collect();
        Ok(Scope::Namespaces { names, profile: self.profile()? })
    }

    fn profile(&self) -> anyhow::Result<Value> {
        let Some(path) = &self.profile else { return Ok(json!({})) };
        let context = || format!("--profile {}", path.display());
        serde_saphyr::from_str(&fs::read_to_string(path).with_context(context)?).with_context(context)
    }
}
