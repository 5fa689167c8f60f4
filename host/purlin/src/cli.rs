//! The command line, as clap types. What the commands do is in the modules named after them.

mod supply;

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use supply::{IndexArgs, IndexCommand, PolicyArgs, SbomCommand, SupplyCommand, UpgradeArgs};

use crate::services::ServiceArgs;
use crate::serving::{HubArgs, ModelArgs};

/// One platform kernel for AI on Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "purlin",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        purlin up                                  start the whole platform on this machine\n  \
        purlin run --kubeconfig admin.yaml         run the kernel against a cluster\n  \
        purlin plugin list                         show the installed plugins\n  \
        purlin plugin inspect ./component.wasm     show what a plugin is and asks for\n  \
        purlin doctor                              check what this machine offers\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What to log, as RUST_LOG takes it
    #[arg(
        long,
        global = true,
        env = "RUST_LOG",
        default_value = "warn",
        value_name = "DIRECTIVES",
        help_heading = "Log"
    )]
    pub(crate) log: String,
    /// How lines of the log look
    #[arg(long, global = true, env = "PURLIN_LOG_FORMAT", default_value = "text", help_heading = "Log")]
    pub(crate) log_format: LogFormatArg,
    /// Send traces to this OTLP/HTTP collector, such as http://localhost:4318
    #[arg(
        long,
        global = true,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        help_heading = "Log"
    )]
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormatArg {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole platform in this process: API, node, registry, kernel
    Up(UpArgs),
    /// Run the kernel against a real API server, as one of several replicas
    Run(RunArgs),
    /// Run the embedded node against a real API server: Pods as local processes and Wasm
    Node(NodeArgs),
    /// Serve a plugin registry with the plugins that come with Purlin
    Registry(RegistryArgs),
    /// Print the kernel's CustomResourceDefinitions as YAML
    #[command(after_help = "Example:\n  purlin crds | kubectl apply --server-side -f -")]
    Crds,
    /// Print the rights that the kernel needs for itself and for plugins, as YAML
    Rbac(RbacArgs),
    /// Work with plugins: new, build, test, dev, push, sign, verify, find, install, carry
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print the address of the console of a running `purlin up`, with the token that it is opened with
    Console(ConsoleArgs),
    /// Download a model into a folder, as an init container does before its server starts
    Fetch(FetchArgs),
    /// Check what this machine offers and what is missing
    Doctor(DoctorArgs),
    /// Print a shell completion script
    #[command(after_help = "Example:\n  purlin completion bash > /etc/bash_completion.d/purlin")]
    Completion {
        /// The shell to complete in
        shell: Shell,
    },
    /// Supervise one container (called by the node, not by people)
    #[command(hide = true)]
    Shim {
        /// As the node gives them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    purlin up\n  \
    purlin up --image-map examples/digits/image-map.yaml\n  \
    purlin up --data-dir ./state --port 8443\n  \
    purlin up --token-auth-file ./users.csv\n  \
    purlin up --api-only --data-dir \"$(mktemp -d)\"\n\n\
    Then: export KUBECONFIG=DATA_DIR/kubeconfig; kubectl get plugins")]
pub(crate) struct UpArgs {
    /// Where all state is kept
    #[arg(long, env = "PURLIN_DATA_DIR", value_name = "DIR", default_value_os_t = default_data_dir())]
    pub(crate) data_dir: PathBuf,
    /// Port of the Kubernetes API; the three after it are the plugin registry's, that of health and metrics, and the
    /// inference gateway's
    #[arg(long, default_value_t = 7443, value_parser = clap::value_parser!(u16).range(1..=65532))]
    pub(crate) port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub(crate) bind: IpAddr,
    /// Says which host programs stand for which container images
    #[arg(long, value_name = "FILE")]
    pub(crate) image_map: Option<PathBuf>,
    /// Do not install the plugins that come with Purlin
    #[arg(long)]
    pub(crate) no_plugins: bool,
    /// Serve the Kubernetes API and nothing else: no node, no controllers, no plugins. For tests that need an API server
    #[arg(long, conflicts_with_all = ["image_map", "no_plugins"])]
    pub(crate) api_only: bool,
    /// Users beside the administrator, a line each: token,user,uid,"group1,group2". What they may do, RBAC says
    #[arg(long, value_name = "FILE")]
    pub(crate) token_auth_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) models: ModelArgs,
    #[command(flatten)]
    pub(crate) index: IndexArgs,
    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    purlin run --kubeconfig admin.yaml --cache-dir ./cache\n  \
    purlin run --shards 4 --push-url http://purlin-metrics.purlin-system:7445\n\n\
    Every replica runs the same command. Work is split by namespace into shards, which the replicas share.")]
pub(crate) struct RunArgs {
    /// Credentials of the cluster; else $KUBECONFIG, else those of the Pod's ServiceAccount
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Into how many shards namespaces are split; the same for all replicas
    #[arg(long, env = "PURLIN_SHARDS", default_value = "4", value_name = "N")]
    pub(crate) shards: NonZeroU32,
    /// Name of this replica, a DNS label that no other has; by default the host's name and some characters
    #[arg(long, env = "PURLIN_IDENTITY", value_name = "NAME", value_parser = dns_label)]
    pub(crate) identity: Option<String>,
    /// Namespace of the Leases and of what else is the kernel's own
    #[arg(long, env = "PURLIN_NAMESPACE", default_value = purlin_kernel::NAMESPACE, value_parser = dns_label)]
    pub(crate) namespace: String,
    /// How long a Lease lasts that is not renewed
    #[arg(long, default_value = "5s", value_name = "TIME")]
    pub(crate) lease_duration: Seconds,
    /// How often Leases are renewed; at most half of the duration
    #[arg(long, default_value = "2s", value_name = "TIME")]
    pub(crate) renew_interval: Seconds,
    /// Address to serve health, metrics and the metrics push on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub(crate) bind: IpAddr,
    /// Port of health, metrics and the metrics push
    #[arg(long, default_value_t = 7445)]
    pub(crate) port: u16,
    /// Port of the inference gateway, on the same address; by default the one after --port
    #[arg(long, value_name = "PORT")]
    pub(crate) gateway_port: Option<u16>,
    /// Where downloaded models are kept; by default beside the compiled plugins
    #[arg(long, env = "PURLIN_MODEL_CACHE", value_name = "DIR")]
    pub(crate) model_cache: Option<PathBuf>,
    /// The image of this program, for Pods of models whose source has to be fetched before they start
    #[arg(long, env = "PURLIN_IMAGE", value_name = "IMAGE")]
    pub(crate) fetch_image: Option<String>,
    /// Pods of models run on this machine, by `purlin node`: each is given a port of its own, and reads files where this
    /// replica put them
    #[arg(long, help_heading = "Models")]
    pub(crate) local_pods: bool,
    /// Where others reach the gateways of all replicas, for the addresses of models; by default this one's own
    #[arg(long, env = "PURLIN_GATEWAY", value_name = "HOST:PORT")]
    pub(crate) gateway_address: Option<String>,
    /// Where the other replicas reach this one's gateway: each has some of the models in memory, and is asked for them by the
    /// others; by default where it listens, if that is one address
    #[arg(long, env = "PURLIN_PEER_ADDRESS", value_name = "HOST:PORT")]
    pub(crate) peer_address: Option<String>,
    /// Where Pods reach the metrics push of some replica; without it trials cannot push
    #[arg(long, env = "PURLIN_PUSH_URL", value_name = "URL")]
    pub(crate) push_url: Option<String>,
    /// Whether the leader installs the kernel's CustomResourceDefinitions; see also `purlin crds`
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    pub(crate) install_crds: bool,
    /// Where compiled plugins are kept; may be lost at any time, must not be shared
    #[arg(long, env = "PURLIN_CACHE_DIR", value_name = "DIR", default_value_os_t = default_data_dir().join("code-cache"))]
    pub(crate) cache_dir: PathBuf,
    /// Where blobs of plugins with the capability `blob` are kept; without it they have none
    #[arg(long, value_name = "DIR")]
    pub(crate) blob_dir: Option<PathBuf>,
    /// Objects of one kind that are worked on at the same time
    #[arg(long, default_value = "8", value_name = "N")]
    pub(crate) workers: NonZeroUsize,
    #[command(flatten)]
    pub(crate) models: ModelArgs,
    #[command(flatten)]
    pub(crate) services: ServiceArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  purlin node --name worker-1 --image-map image-map.yaml --data-dir ./node"
)]
pub(crate) struct NodeArgs {
    /// Credentials of the cluster; else $KUBECONFIG
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Name of the Node
    #[arg(long, default_value = "purlin", value_name = "NAME", value_parser = dns_label)]
    pub(crate) name: String,
    /// Where the state of containers is kept
    #[arg(long, env = "PURLIN_DATA_DIR", value_name = "DIR", default_value_os_t = default_data_dir())]
    pub(crate) data_dir: PathBuf,
    /// Says which host programs stand for which container images
    #[arg(long, value_name = "FILE")]
    pub(crate) image_map: Option<PathBuf>,
    /// Address to listen on for the API server, which reads logs there
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub(crate) bind: IpAddr,
    /// Port to listen on for the API server
    #[arg(long, default_value_t = 10250)]
    pub(crate) port: u16,
    /// Authority (PEM) of the certificate that the API server shows; by default the one that the cluster publishes
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Leave Pods that name no node to the cluster's own scheduler
    #[arg(long)]
    pub(crate) no_scheduler: bool,
    /// Leave Jobs to the cluster's own controller
    #[arg(long)]
    pub(crate) no_job_controller: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    purlin fetch s3://models/digits /mnt/models --credentials /mnt/secret\n  \
    purlin fetch hf://org/name:main ./model\n  \
    purlin fetch oci://ghcr.io/acme/digits:1 ./model --output json\n\n\
    Credentials are variables of the environment (AWS_..., GOOGLE_..., HF_TOKEN, docker's configuration) or the files of\n\
    --credentials, named as the keys of a Secret. A download that was cut off goes on when the same command runs again.\n\n\
    Exit codes: 0 done, 1 it cannot be had as it is, 2 wrong usage, 75 it may be had later.")]
pub(crate) struct FetchArgs {
    /// Where the model is: https:, s3:, gs:, hf:, oci: or file:
    pub(crate) uri: String,
    /// The folder that has the files then; it is made where there is none
    pub(crate) folder: PathBuf,
    /// A folder with settings, a file each, as a Secret is mounted
    #[arg(long, value_name = "DIR")]
    pub(crate) credentials: Option<PathBuf>,
    /// `sha256:...` that the model must have
    #[arg(long, value_name = "DIGEST")]
    pub(crate) digest: Option<String>,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Where downloads are kept for the next time; by default within the folder, and not after success
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// The largest download
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 40)]
    pub(crate) max_size: u64,
    /// How the result is printed
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  purlin registry --data-dir ./registry --port 7444")]
pub(crate) struct RegistryArgs {
    /// Where the registry's content is kept
    #[arg(long, value_name = "DIR", default_value_os_t = default_data_dir().join("registry"))]
    pub(crate) data_dir: PathBuf,
    /// Port to serve plain HTTP on
    #[arg(long, default_value_t = 7444)]
    pub(crate) port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    pub(crate) bind: IpAddr,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    purlin rbac | kubectl apply -f -                            for the plugins that are installed\n  \
    purlin rbac --plugin localhost:7444/purlin/dialect-katib:0.1.0\n  \
    purlin rbac --kernel-only                                   before any plugin is installed\n  \
    purlin rbac --secrets-in team-a | kubectl apply -f -        models of team-a have sources with credentials")]
pub(crate) struct RbacArgs {
    /// A component file or a reference whose needs to include; may be given several times. Without it, and without
    /// --kernel-only, those installed in the cluster
    #[arg(long = "plugin", value_name = "PLUGIN", conflicts_with = "kernel_only")]
    pub(crate) plugins: Vec<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Only what the kernel needs for itself
    #[arg(long)]
    pub(crate) kernel_only: bool,
    /// Namespace of the kernel
    #[arg(long, default_value = purlin_kernel::NAMESPACE, value_parser = dns_label)]
    pub(crate) namespace: String,
    /// ServiceAccount that the kernel runs as
    #[arg(long, default_value = "purlin-kernel", value_name = "NAME", value_parser = dns_label)]
    pub(crate) service_account: String,
    /// A namespace in which it may read Secrets, for the credentials of models' sources and the tokens of routes; may be
    /// given several times
    #[arg(long, value_name = "NAMESPACE", value_parser = dns_label)]
    pub(crate) secrets_in: Vec<String>,
    /// Whether the kernel installs its own CustomResourceDefinitions
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "true|false")]
    pub(crate) install_crds: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A time as people write it: `5s`, `500ms`, `2m`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(Duration);

impl From<Seconds> for Duration {
    fn from(time: Seconds) -> Self {
        time.0
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let amount = text.strip_suffix(unit).and_then(|digits| digits.parse::<u64>().ok());
        let time = match (amount, unit) {
            (Some(amount), "ms") => Some(Duration::from_millis(amount)),
            (Some(amount), "s") => Some(Duration::from_secs(amount)),
            (Some(amount), "m") => amount.checked_mul(60).map(Duration::from_secs),
            _ => None,
        };
        time.map(Seconds).ok_or_else(|| "write a whole number and its unit, as in 5s, 500ms or 2m".to_owned())
    }
}

fn dns_label(text: &str) -> Result<String, String> {
    let edge = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let bytes = text.as_bytes();
    let sound = matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if edge(*first) && edge(*last))
        && bytes.len() <= 63
        && bytes.iter().all(|letter| edge(*letter) || *letter == b'-');
    if sound {
        return Ok(text.to_owned());
    }
    Err("write a DNS label: at most 63 lower-case letters, digits and '-', with no '-' at its ends"
        .to_owned())
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    purlin console\n  \
    purlin console --kubeconfig ./state/kubeconfig\n\n\
    The address has the token of the kubeconfig's user in it: whoever has the address can do what that user can.")]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Form of the answer
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  purlin doctor --output json")]
pub(crate) struct DoctorArgs {
    /// Folder whose state to check
    #[arg(long, env = "PURLIN_DATA_DIR", value_name = "DIR", default_value_os_t = default_data_dir())]
    pub(crate) data_dir: PathBuf,
    /// Port of the Kubernetes API to check
    #[arg(long, default_value_t = 7443, value_parser = clap::value_parser!(u16).range(1..=65533))]
    pub(crate) port: u16,
    /// Form of the answer
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

/// A language with an SDK.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LanguageArg {
    Rust,
    Python,
    Js,
    Go,
}

/// A stage of the contract.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StageArg {
    Tuner,
    Dialect,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Make a plugin project: source, manifest, cases, and the SDK
    #[command(
        after_help = "Examples:\n  purlin plugin new my-tuner --lang python --stage tuner\n  purlin plugin new my-dialect --lang go --stage dialect --dir ./plugins/my-dialect"
    )]
    New {
        /// The plugin's name: lower-case letters, digits and `-`
        name: String,
        /// The language to write it in
        #[arg(long)]
        lang: LanguageArg,
        /// What it is: a tuner searches, a dialect translates kinds
        #[arg(long)]
        stage: StageArg,
        /// Where to make it; a folder of the plugin's name where not given. Must be empty
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Build a project into build/NAME.wasm
    #[command(
        after_help = "Examples:\n  purlin plugin build\n  purlin plugin build ./my-tuner --output json\n\nThe compilers of Python and JavaScript are installed at the first build, into $PURLIN_CACHE/toolchains."
    )]
    Build {
        /// The project's folder
        #[arg(default_value = ".")]
        project: PathBuf,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Build a project and run its cases in the sandbox, each twice
    #[command(
        after_help = "Examples:\n  purlin plugin test\n  purlin plugin test ./my-tuner --update\n  purlin plugin test --no-build --cases vectors.json --output json\n\nExit codes: 0 all passed, 1 a case failed or the plugin does not build or load."
    )]
    Test {
        /// The project's folder
        #[arg(default_value = ".")]
        project: PathBuf,
        /// A file or a folder of cases; the project's `cases` where not given
        #[arg(long, value_name = "PATH")]
        cases: Option<PathBuf>,
        /// A recorded log of calls to repeat: one case a line, as JSON
        #[arg(long, value_name = "FILE", conflicts_with_all = ["cases", "update"])]
        replay: Option<PathBuf>,
        /// Take the answers of now as the expected ones
        #[arg(long)]
        update: bool,
        /// Test what was built before
        #[arg(long)]
        no_build: bool,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Build, push and reload a project in a running `purlin up` at each change
    #[command(
        after_help = "Examples:\n  purlin plugin dev\n  purlin plugin dev ./my-tuner --registry localhost:8444\n\nGrants all that the plugin asks for: use it where you develop."
    )]
    Dev {
        /// The project's folder
        #[arg(default_value = ".")]
        project: PathBuf,
        /// The registry to push to, as HOST:PORT
        #[arg(long, default_value = "localhost:7444", value_name = "REGISTRY")]
        registry: String,
        /// Do it once and end
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Make a component from a core Wasm module and its plugin.yaml
    #[command(
        after_help = "Example:\n  purlin plugin pack --module tuner.wasm --manifest plugin.yaml --out tuner.component.wasm"
    )]
    Pack {
        /// The core module that the compiler made
        #[arg(long, value_name = "FILE")]
        module: PathBuf,
        /// The plugin's manifest
        #[arg(long, value_name = "FILE")]
        manifest: PathBuf,
        /// Where to write the component
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Push a component to an OCI registry
    #[command(
        after_help = "Example:\n  purlin plugin push ./tuner.component.wasm localhost:7444/me/tuner:0.1.0"
    )]
    Push {
        /// The component
        file: PathBuf,
        /// Where to: REGISTRY/REPOSITORY:TAG
        reference: String,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Pull a component from an OCI registry
    #[command(
        after_help = "Example:\n  purlin plugin pull localhost:7444/purlin/tuner-random:0.1.0 --out tuner.wasm"
    )]
    Pull {
        /// What: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:...
        reference: String,
        /// Where to write the component
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        policy: PolicyArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Show what a plugin is, owns and asks for
    #[command(
        after_help = "Examples:\n  purlin plugin inspect ./tuner.component.wasm\n  purlin plugin inspect localhost:7444/purlin/tuner-random:0.1.0 --output json"
    )]
    Inspect {
        /// A component file, a reference, or the name of an installed plugin
        plugin: String,
        #[command(flatten)]
        policy: PolicyArgs,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// List the plugins installed in a cluster or a running `purlin up`
    List {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Install a plugin from an index or a registry, locked to the digest that it has now
    #[command(
        after_help = "Examples:\n  purlin plugin install tuner-random\n  purlin plugin install tuner-random@0.1.0 --yes\n  \
        purlin plugin install localhost:7444/purlin/tuner-random:0.1.0 --grant 'call(tuner)'"
    )]
    Install(InstallArgs),
    #[command(flatten)]
    Supply(SupplyCommand),
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// What: NAME or NAME@VERSION in an index; or REGISTRY/REPOSITORY:TAG
    pub(crate) reference: String,
    /// Name of the Plugin object; the manifest's name where not given
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A capability to grant; may be given several times
    #[arg(long = "grant", value_name = "CAPABILITY")]
    pub(crate) grants: Vec<String>,
    /// Grant all that the plugin asks for, without a question
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) index: IndexArgs,
    /// Seconds to wait until the plugin is ready; 0 does not wait
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) wait: u64,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Form of the answer
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Credentials of the cluster; else $KUBECONFIG, else those of `purlin up` in the default data directory
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `$XDG_DATA_HOME/purlin`, or `~/.local/share/purlin`, or `.purlin` where there is no home.
pub(crate) fn default_data_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from(".purlin"), |base| base.join("purlin"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(Duration::from("1500ms".parse::<Seconds>().unwrap()), Duration::from_millis(1500));
        assert!("5".parse::<Seconds>().is_err() && "s".parse::<Seconds>().is_err());
        assert!("-1s".parse::<Seconds>().is_err() && "99999999999999999999s".parse::<Seconds>().is_err());
    }

    #[test]
    fn the_last_ports_leave_room_for_registry_and_metrics() {
        assert!(Cli::try_parse_from(["purlin", "up", "--port", "65532"]).is_ok());
        assert!(Cli::try_parse_from(["purlin", "up", "--port", "65533"]).is_err());
    }
}
