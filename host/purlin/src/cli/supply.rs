//! The commands of `purlin plugin` about where plugins come from and who vouches for them.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use purlin_registry::catalogue::{self, CatalogueError};

use super::{ClusterArgs, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum SupplyCommand {
    /// Make a key pair for signing: PREFIX.key, encrypted with a password, and PREFIX.pub
    #[command(
        after_help = "Examples:\n  purlin plugin keygen\n  COSIGN_PASSWORD=... purlin plugin keygen --out acme"
    )]
    Keygen {
        /// What both files begin with
        #[arg(long, default_value = "cosign", value_name = "PREFIX")]
        out: PathBuf,
    },
    /// Sign a plugin in a registry, as `cosign sign --key` does
    #[command(after_help = "Examples:\n  purlin plugin sign ghcr.io/acme/tuner:1.0.0 --key cosign.key\n\n\
        The password of an encrypted key is read from COSIGN_PASSWORD, else asked for on a terminal.")]
    Sign {
        /// What: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:...
        reference: String,
        /// The private key: cosign.key, or PKCS #8 or SEC 1 in PEM
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The name that the signature gives the plugin; its own where not given
        #[arg(long, value_name = "REGISTRY/REPOSITORY")]
        signed_as: Option<String>,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Say whether a plugin has a good signature; fails where it has none
    #[command(after_help = "Examples:\n  purlin plugin verify ghcr.io/acme/tuner:1.0.0 --key cosign.pub\n  \
        purlin plugin verify ghcr.io/acme/tuner:1.0.0 --policy policy.yaml --output json")]
    Verify {
        /// What: REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:...
        reference: String,
        /// A public key whose signature counts; may be given several times
        #[arg(
            long = "key",
            value_name = "FILE",
            required_unless_present = "policy",
            conflicts_with = "policy"
        )]
        keys: Vec<PathBuf>,
        /// A prefix of which the name in the signature must be; may be given several times
        #[arg(long, value_name = "PREFIX", conflicts_with = "policy")]
        signed_as: Vec<String>,
        #[command(flatten)]
        policy: PolicyArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// The bill of materials of a plugin: what it was built from
    #[command(subcommand)]
    Sbom(SbomCommand),
    /// Put plugins with their signatures into a file, for where there is no network
    #[command(
        after_help = "Example:\n  purlin plugin bundle ghcr.io/acme/tuner:1.0.0 ghcr.io/acme/dialect:2.1.0 --out bundle.tar"
    )]
    Bundle {
        /// What: REGISTRY/REPOSITORY:TAG, one or more
        #[arg(required = true)]
        references: Vec<String>,
        /// Where to write the bundle
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        policy: PolicyArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Put the plugins of a bundle into a registry
    #[command(after_help = "Example:\n  purlin plugin load bundle.tar --to registry.internal/mirror\n\n\
        A plugin ghcr.io/acme/tuner becomes registry.internal/mirror/acme/tuner. What is there already is not sent again: \
        a load that broke off is made again.")]
    Load {
        /// The bundle
        file: PathBuf,
        /// Where to: REGISTRY or REGISTRY/PREFIX
        #[arg(long, value_name = "PLACE")]
        to: String,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Make an index that others can search and install from
    #[command(subcommand)]
    Index(IndexCommand),
    /// Find plugins in an index
    #[command(
        after_help = "Examples:\n  purlin plugin search\n  purlin plugin search tuner --index ghcr.io/acme/index:latest"
    )]
    Search {
        /// Words that must all be in the name, the description, the stages or the capabilities
        words: Vec<String>,
        #[command(flatten)]
        index: IndexArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// List the installed plugins of which an index has a newer version
    #[command(after_help = "Example:\n  purlin plugin outdated --output json")]
    Outdated {
        #[command(flatten)]
        index: IndexArgs,
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Bring installed plugins to the newest version in an index
    #[command(
        after_help = "Examples:\n  purlin plugin upgrade tuner-random\n  purlin plugin upgrade --all --yes\n\n\
        A version that asks for more than is granted is shown, and is installed only when that is granted with --grant, \
        or agreed to on a terminal or with --yes."
    )]
    Upgrade(UpgradeArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SbomCommand {
    /// Attach a bill of materials to a plugin in a registry
    #[command(after_help = "Examples:\n  purlin plugin sbom attach ghcr.io/acme/tuner:1.0.0 --source .\n  \
        purlin plugin sbom attach ghcr.io/acme/tuner:1.0.0 --file sbom.json")]
    Attach {
        /// What: REGISTRY/REPOSITORY:TAG
        reference: String,
        /// A CycloneDX document in JSON that another tool made
        #[arg(long, value_name = "FILE", required_unless_present = "source", conflicts_with = "source")]
        file: Option<PathBuf>,
        /// Make it from the Cargo.lock, requirements.txt, package-lock.json and go.sum in this folder
        #[arg(long, value_name = "DIR")]
        source: Option<PathBuf>,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Show the bills of materials that are attached to a plugin
    Show {
        /// What: REGISTRY/REPOSITORY:TAG
        reference: String,
        /// Form of the answer; json gives the documents themselves
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Make an index of plugins in registries, or add some to one
    #[command(
        after_help = "Examples:\n  purlin plugin index build --out index.json ghcr.io/acme/tuner:1.0.0\n  \
        purlin plugin index build --from ghcr.io/acme/index:latest --push ghcr.io/acme/index:latest ghcr.io/acme/tuner:1.1.0"
    )]
    Build {
        /// Plugins to list: REGISTRY/REPOSITORY:TAG
        plugins: Vec<String>,
        /// An index to begin with, in a registry; its entries stay
        #[arg(long, value_name = "REFERENCE")]
        from: Option<String>,
        /// Where to write it
        #[arg(long, value_name = "FILE", required_unless_present = "push")]
        out: Option<PathBuf>,
        /// Where to push it
        #[arg(long, value_name = "REFERENCE")]
        push: Option<String>,
        /// A public key; the index says which plugins it has signed; may be given several times
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Form of the answer
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IndexArgs {
    /// An index in a registry; may be given several times. Else $PURLIN_INDEX, else the lines of
    /// ~/.config/purlin/indexes, else that of `purlin up`
    #[arg(long = "index", env = "PURLIN_INDEX", value_name = "REFERENCE", value_delimiter = ',')]
    pub(crate) indexes: Vec<String>,
}

impl IndexArgs {
    /// Those that were given, else those of the user's configuration, else `local`.
    pub(crate) fn names(&self, local: &str) -> Result<Vec<String>, CatalogueError> {
        let mut names = self.indexes.clone();
        names.retain(|name| !name.is_empty());
        if names.is_empty() {
            names = catalogue::configured()?.unwrap_or_else(|| vec![local.to_owned()]);
        }
        Ok(names)
    }
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The installed plugin
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// All installed plugins that are in an index
    #[arg(long)]
    pub(crate) all: bool,
    /// Grant all that the new versions ask for, without a question
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// A capability to grant; may be given several times
    #[arg(long = "grant", value_name = "CAPABILITY")]
    pub(crate) grants: Vec<String>,
    /// Seconds to wait until a plugin is ready; 0 does not wait
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) wait: u64,
    #[command(flatten)]
    pub(crate) index: IndexArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Form of the answer
    #[arg(long, short, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArgs {
    /// A PluginPolicy in YAML: who must have signed what, and which mirrors there are
    #[arg(long, env = "PURLIN_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// A file of digests: what a tag was first seen as is kept there, and a tag that moved is refused
    #[arg(long, env = "PURLIN_LOCK", value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
}
