//! A server that is killed while it writes: what it acknowledged is there when it comes back.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use purlin_apiserver::{ApiServer, Config, Identity};
use rand::RngExt as _;

const FOLDER: &str = "PURLIN_TEST_KILLED_FOLDER";
const ROUND: &str = "PURLIN_TEST_KILLED_ROUND";
const ROUNDS: usize = 20;
const WRITERS: usize = 8;

async fn open(folder: &Path) -> anyhow::Result<Api<ConfigMap>> {
    let server = ApiServer::open(Config { data_dir: folder.to_owned(), ..Config::default() }).await?;
    let maps = Api::namespaced(server.client(Identity::component("test")), "default");
    // Lives as long as the process: the background work ends with the last handle.
    std::mem::forget(server);
    Ok(maps)
}

/// The process that is killed: writes as fast as it can and says each name after its acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn child() -> anyhow::Result<()> {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return Ok(()) };
    let maps = open(Path::new(&folder)).await?;
    let writers = (0..WRITERS).map(|writer| {
        let (maps, round) = (maps.clone(), round.clone());
        async move {
            for n in 0.. {
                let name = format!("r{round}-w{writer}-n{n}");
                let object = ConfigMap {
                    metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                    data: Some(BTreeMap::from([("n".into(), "x".repeat(200))])),
                    ..ConfigMap::default()
                };
                maps.create(&PostParams::default(), &object).await?;
                std::io::stderr().write_all(format!("acknowledged {name};\n").as_bytes())?;
            }
            anyhow::Ok(())
        }
    });
    futures::future::try_join_all(writers).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_every_kill() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = child.stderr.take().ok_or_else(|| anyhow::anyhow!("no pipe"))?;
        let reader = std::thread::spawn(move || -> Vec<String> {
            let lines = BufReader::new(said).lines().map_while(Result::ok);
            // A line that the kill cut short lacks the sign at its end.
            let name = |line: String| Some(line.strip_prefix("acknowledged ")?.strip_suffix(';')?.to_owned());
            lines.filter_map(name).collect()
        });
        let pause = rand::rng().random_range(150..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        child.kill()?;
        child.wait()?;
        acknowledged.extend(reader.join().map_err(|_| anyhow::anyhow!("the reader failed"))?);
    }
    assert!(acknowledged.len() > ROUNDS * WRITERS, "only {} writes were acknowledged", acknowledged.len());
    let maps = open(folder.path()).await?;
    let found = maps.list(&ListParams::default()).await?;
    let found: std::collections::HashSet<String> =
        found.items.into_iter().filter_map(|object| object.metadata.name).collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !found.contains(*name)).collect();
    assert!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), acknowledged.len());
    Ok(())
}
