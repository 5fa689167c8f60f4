//! The command line, as clap types. What the commands do is in the modules named after them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::services::ServiceArgs;

/// One platform kernel for AI on Kubernetes.
#[derive(Debug, Parser)]
#[command(
    name = "purlin",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        purlin up                                  start the whole platform on this machine\n  \
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
    /// Work with plugins: pack, push, pull, inspect, list, install
    #[command(subcommand)]
    Plugin(PluginCommand),
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
    /// Port of the Kubernetes API; the next one is the plugin registry's, the one after serves health and metrics
    #[arg(long, default_value_t = 7443, value_parser = clap::value_parser!(u16).range(1..=65533))]
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
    pub(crate) services: ServiceArgs,
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

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
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
    /// Install a plugin, locked to the digest that the reference has now
    #[command(
        after_help = "Example:\n  purlin plugin install localhost:7444/purlin/tuner-random:0.1.0 --grant 'call(tuner)'"
    )]
    Install {
        /// What: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:...
        reference: String,
        /// Name of the Plugin object; the manifest's name where not given
        #[arg(long)]
        name: Option<String>,
        /// A capability to grant; may be given several times
        #[arg(long = "grant", value_name = "CAPABILITY")]
        grants: Vec<String>,
        /// Seconds to wait until the plugin is ready; 0 does not wait
        #[arg(long, default_value_t = 30, value_name = "SECONDS")]
        wait: u64,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
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
    fn the_last_ports_leave_room_for_registry_and_metrics() {
        assert!(Cli::try_parse_from(["purlin", "up", "--port", "65533"]).is_ok());
        assert!(Cli::try_parse_from(["purlin", "up", "--port", "65534"]).is_err());
    }
}
