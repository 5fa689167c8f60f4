//! The server as everybody else uses it: TLS, bearer tokens, and the real kubectl where it is installed.

use std::net::SocketAddr;
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use purlin_apiserver::{ApiServer, Config};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Fixture {
    server: ApiServer,
    address: SocketAddr,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn fixture() -> anyhow::Result<Fixture> {
    let folder = tempfile::tempdir()?;
    let server = ApiServer::open(Config { data_dir: folder.path().to_owned(), ..Config::default() }).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move { server.serve(listener, stop).await }
    });
    std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig(address))?;
    Ok(Fixture { server, address, folder, stop, serving })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubeconfig_is_enough_and_a_wrong_token_is_not() -> anyhow::Result<()> {
    // Another crate of this test may have chosen the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fixture = fixture().await?;
    let text = fixture.server.kubeconfig(fixture.address);
    let client = |text: String| async move {
        let config = kube::Config::from_custom_kubeconfig(
            Kubeconfig::from_yaml(&text)?,
            &KubeConfigOptions::default(),
        )
        .await?;
        anyhow::Ok(kube::Client::try_from(config)?)
    };
    let maps: Api<ConfigMap> = Api::all(client(text.clone()).await?);
    assert!(maps.list(&ListParams::default()).await.is_ok());
    let at = text.find("token: ").unwrap_or_default() + 7;
    let mut wrong = text.clone();
    wrong.replace_range(at..at + 8, "00000000");
    let maps: Api<ConfigMap> = Api::all(client(wrong).await?);
    let refused = maps.list(&ListParams::default()).await.expect_err("not the token");
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 401 && status.reason == "Unauthorized"),
        "{refused}"
    );
    fixture.stop.cancel();
    fixture.serving.await??;
    Ok(())
}

async fn kubectl(fixture: &Fixture, arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(fixture.folder.path().join("kubeconfig")).args(arguments);
    command.env("HOME", fixture.folder.path());
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works() -> anyhow::Result<()> {
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        tracing::warn!("kubectl is not installed; nothing was tested with it");
        return Ok(());
    }
    let fixture = fixture().await?;
    let manifest = fixture.folder.path().join("map.yaml");
    std::fs::write(&manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n")?;
    let file = manifest.to_string_lossy().into_owned();
    let steps: [(&[&str], &str); 9] = [
        (&["version"], "v1.37.2+purlin"),
        (&["api-resources"], "deployments"),
        (&["apply", "-f", &file], "configmap/m created"),
        (&["get", "configmaps", "m"], "NAME"),
        (&["label", "configmap", "m", "x=y"], "labeled"),
        (&["get", "cm", "-l", "x=y", "-o", "name"], "configmap/m"),
        (
            &["patch", "cm", "m", "--type=json", "-p", r#"[{"op":"add","path":"/data/c","value":"d"}]"#],
            "patched",
        ),
        (&["get", "cm", "m", "-o", "jsonpath={.data.c}"], "d"),
        (&["delete", "cm", "m"], "deleted"),
    ];
    for (arguments, expected) in steps {
        let output = kubectl(&fixture, arguments).await?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(expected), "{arguments:?}: {said}");
    }
    fixture.stop.cancel();
    fixture.serving.await??;
    Ok(())
}

/// Typed clients, these commands among them, write built-in kinds as protobuf.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_creates_what_it_writes_as_protobuf() -> anyhow::Result<()> {
    if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        tracing::warn!("kubectl is not installed; nothing was tested with it");
        return Ok(());
    }
    let fixture = fixture().await?;
    for line in [
        "create namespace team",
        "create configmap c --from-literal=a=b",
        "create secret generic s --from-literal=a=b",
        "create serviceaccount sa",
        "create job j --image=i",
        "create cronjob cj --image=i --schedule=@daily",
        "create deployment d --image=i --replicas=2",
        "create role r --verb=get --resource=pods",
        "create rolebinding rb --role=r --serviceaccount=default:sa",
        "create clusterrole cr --verb=get --resource=pods",
        "create clusterrolebinding crb --clusterrole=cr --user=u",
        "create service clusterip svc --tcp=80:http",
        "create poddisruptionbudget p --selector=a=b --min-available=50%",
        "create quota q --hard=cpu=1,memory=1Gi",
        "create priorityclass pc --value=5",
        "create ingress i --rule=h/path=svc:80",
        "create token sa",
    ] {
        let output = kubectl(&fixture, &line.split(' ').collect::<Vec<_>>()).await?;
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let secret = kubectl(&fixture, &["get", "secret", "s", "-o", "jsonpath={.data.a}"]).await?;
    assert_eq!(secret.stdout, b"Yg==");
    let port = ["get", "service", "svc", "-o", "jsonpath={.spec.ports[0].targetPort}"];
    assert_eq!(kubectl(&fixture, &port).await?.stdout, b"http");
    fixture.stop.cancel();
    fixture.serving.await??;
    Ok(())
}
