//! The commands of `purlin plugin` about where plugins come from and who vouches for them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Output;

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
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArgs {
    /// A PluginPolicy in YAML: who must have signed what, and which mirrors there are
    #[arg(long, env = "PURLIN_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}
