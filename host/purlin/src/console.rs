//! The console: wiring it to the API server of `purlin up`, and `purlin console`.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use axum::http::Request;
use kube::config::AuthInfo;
use purlin_apiserver::{Mount, Right};
use purlin_console::{Config, Console, PATH, PolicySource};
use purlin_kernel::HeldPolicies;
use purlin_registry::{Client, Policy, Reference};
use serde_json::json;

use crate::cli::{ConsoleArgs, IndexArgs, Output};
use crate::{connect, output};

/// The indexes that the console offers; by default that of the registry on `port`.
pub(crate) fn indexes(args: &IndexArgs, port: u16) -> Result<Vec<Reference>> {
    let names = args.names(&format!("localhost:{port}/purlin/index:latest"))?;
    let parse = |name: &String| name.parse().with_context(|| format!("cannot use the index {name}"));
    names.iter().map(parse).collect()
}

/// What the API server is to serve beside the API. What the page shows is for whoever may list plugins.
pub(crate) fn mount(registry: Client, indexes: Vec<Reference>, policies: HeldPolicies) -> Mount {
    let console = Console::new(Config { registry, indexes, policy: Arc::new(Held(policies)) });
    Mount {
        open: console.page(),
        guarded: console.api(),
        right: Right { verb: "list", group: "purlin.dev", resource: "plugins" },
    }
}

struct Held(HeldPolicies);

#[async_trait]
impl PolicySource for Held {
    async fn policy(&self) -> Option<Arc<Policy>> {
        self.0.current().await
    }
}

/// Prints where the console is. The token is behind `#`: a browser sends that to nobody.
pub(crate) async fn show(args: &ConsoleArgs) -> Result<()> {
    let config = connect::credentials(&args.cluster).await?;
    let token = token(&config.auth_info)?;
    let server = config.cluster_url.to_string();
    let client = kube::Client::try_from(config.clone())?;
    let page = Request::get(PATH).body(Vec::new()).context("cannot ask for the console")?;
    client.request_text(page).await.with_context(|| {
        format!("there is no console at {server}; `purlin up` serves one, a cluster does not")
    })?;
    let address = format!("{}{PATH}#token={token}", server.trim_end_matches('/'));
    match args.output {
        Output::Json => output::json(&json!({"url": address}))?,
        Output::Text => output::line(address)?,
    }
    Ok(())
}

fn token(user: &AuthInfo) -> Result<String> {
    use secrecy::ExposeSecret as _;
    if let Some(token) = &user.token {
        return Ok(token.expose_secret().to_owned());
    }
    if let Some(file) = &user.token_file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read the token in {file}"))?;
        return Ok(text.trim().to_owned());
    }
    bail!(
        "the kubeconfig's user has no token, and the console takes nothing else; make one with `kubectl create token`"
    )
}
