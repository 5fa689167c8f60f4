//! The webhooks: HTTP servers that call the function, and the client that calls them as an API server would, over one
//! connection that is kept.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::serve::{Listener, ListenerExt as _};
use purlin_sandbox::Child;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a server of its own is reached.
#[derive(Clone, Copy)]
pub(crate) enum Served {
    Plain,
    Tls,
}

const SERVE: &str = "--serve";

/// A webhook to call.
pub(crate) struct Hook {
    url: String,
    client: reqwest::Client,
    /// Ends when its standard input does.
    _server: Option<tokio::process::Child>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    children: Vec<&'a RawValue>,
    status: Option<Value>,
}

impl Hook {
    /// A server on this process's own threads.
    pub(crate) async fn in_process() -> Result<Hook> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/sync", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(without_delay(listener), router()).await });
        Ok(Hook { url, client: client(None)?, _server: None })
    }

    /// This program once more, as a server.
    pub(crate) async fn in_a_process(how: Served) -> Result<Hook> {
        let (word, scheme) = match how {
            Served::Plain => ("plain", "http"),
            Served::Tls => ("tls", "https"),
        };
        let mut server = tokio::process::Command::new(std::env::current_exe()?)
            .args([SERVE, word])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the webhook's process")?;
        let mut said = BufReader::new(server.stdout.take().context("the webhook has no output")?).lines();
        let mut line = async || said.next_line().await?.context("the webhook ended before it served");
        let port: u16 = line().await?.parse()?;
        let certificate: Vec<u8> = serde_json::from_str(&line().await?)?;
        let url = format!("{scheme}://localhost:{port}/sync");
        Ok(Hook { url, client: client(Some(&certificate))?, _server: Some(server) })
    }

    pub(crate) async fn call(&self, parent: &str) -> Result<(Vec<Child>, Option<Value>)> {
        let response = self.client.post(&self.url).body(parent.to_owned()).send().await?;
        let body = response.error_for_status()?.bytes().await?;
        let Body { children, status } = serde_json::from_slice(&body)?;
        let children = children.into_iter().map(|child| Child::new(child.get())).collect::<Result<_, _>>()?;
        Ok((children, status))
    }
}

fn client(certificate: Option<&[u8]>) -> Result<reqwest::Client> {
    let mut client = reqwest::Client::builder().no_proxy().http1_only();
    if let Some(certificate) = certificate.filter(|bytes| !bytes.is_empty()) {
        client = client.tls_certs_only([reqwest::Certificate::from_der(certificate)?]);
    }
    Ok(client.build()?)
}

fn router() -> axum::Router {
    axum::Router::new().route("/sync", axum::routing::post(sync))
}

async fn sync(body: String) -> Result<String, String> {
    let answer = crate::answer(body).map_err(|error| error.to_string())?;
    let (children, status) = (answer.children.join(","), answer.status.unwrap_or_else(|| "null".to_owned()));
    Ok(format!(r#"{{"children":[{children}],"status":{status}}}"#))
}

/// As what this process was started to serve, if it was.
pub(crate) fn asked_to_serve() -> Result<Option<Served>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != SERVE).skip(1);
    match arguments.next().as_deref() {
        None => Ok(None),
        Some("plain") => Ok(Some(Served::Plain)),
        Some("tls") => Ok(Some(Served::Tls)),
        Some(other) => bail!("{SERVE} takes plain or tls, not {other}"),
    }
}

/// Says its port and certificate, and serves until its standard input ends.
pub(crate) async fn serve(how: Served) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    match how {
        Served::Plain => {
            say(port, &[])?;
            tokio::spawn(async move { axum::serve(without_delay(listener), router()).await });
        }
        Served::Tls => {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            let certificate = made.cert.der().clone();
            let key = made.signing_key.serialize_der();
            let settings = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
                vec![certificate.clone()],
                rustls_pki_types::PrivatePkcs8KeyDer::from(key).into(),
            )?;
            let tls = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(settings)) };
            say(port, &certificate)?;
            tokio::spawn(async move { axum::serve(tls, router()).await });
        }
    }
    // A thread that is waiting for a read cannot be stopped, so that it is this one that ends the program.
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}

fn say(port: u16, certificate: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{port}\n{}", serde_json::to_string(certificate)?)?;
    Ok(out.flush()?)
}

/// Answers are sent at once, as the servers of real webhooks do.
fn without_delay(listener: TcpListener) -> impl Listener<Addr = SocketAddr> {
    listener.tap_io(|stream: &mut TcpStream| {
        let _ = stream.set_nodelay(true);
    })
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
