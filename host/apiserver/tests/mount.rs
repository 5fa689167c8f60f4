//! What is served beside the API: a part for everybody, and a part for whoever has a right.

use axum::Router;
use axum::routing::get;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, PostParams};
use purlin_apiserver::{ApiServer, Config, Identity, Mount, Right};
use serde_json::json;

fn user(name: &str) -> Identity {
    let groups = vec!["system:authenticated".to_owned()];
    Identity { user: name.to_owned(), groups, ..Identity::default() }
}

async fn ask(server: &ApiServer, who: Identity, path: &str, acting_as: Option<&str>) -> u16 {
    let mut request = http::Request::get(path);
    if let Some(name) = acting_as {
        request = request.header("Impersonate-User", name);
    }
    let request = request.body(Vec::new()).expect("a request");
    match server.client(who).request_text(request).await {
        Ok(text) => {
            assert_eq!(text, path.rsplit('/').next().unwrap_or_default());
            200
        }
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{path}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guarded_part_is_for_whoever_has_the_right() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = ApiServer::open(Config { data_dir: folder.path().to_owned(), ..Config::default() }).await?;
    let server = server.mounting(Mount {
        open: Router::new().route("/page/open", get(async || "open")),
        guarded: Router::new().route("/page/closed", get(async || "closed")),
        right: Right { verb: "list", group: "example.com", resource: "things" },
    });
    let role: ClusterRole = serde_json::from_value(json!({
        "metadata": {"name": "looks"},
        "rules": [{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["list"]}],
    }))?;
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "looks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looks"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "reader"}],
    }))?;
    let client = server.client(Identity::admin());
    Api::all(client.clone()).create(&PostParams::default(), &role).await?;
    Api::all(client).create(&PostParams::default(), &binding).await?;

    for who in [Identity::anonymous(), user("stranger"), user("reader"), Identity::admin()] {
        assert_eq!(ask(&server, who.clone(), "/page/open", None).await, 200, "{who:?}");
    }
    let closed = async |who, acting_as| ask(&server, who, "/page/closed", acting_as).await;
    assert_eq!(closed(Identity::anonymous(), None).await, 401);
    assert_eq!(closed(user("stranger"), None).await, 403);
    assert_eq!(closed(user("reader"), None).await, 200);
    assert_eq!(closed(Identity::admin(), None).await, 200);
    // Acting as somebody is what it is in the API.
    assert_eq!(closed(Identity::admin(), Some("stranger")).await, 403);
    assert_eq!(closed(user("reader"), Some("admin")).await, 403);
    // The API is where it was.
    assert_eq!(ask(&server, user("stranger"), "/page/nothing", None).await, 403);
    Ok(())
}
