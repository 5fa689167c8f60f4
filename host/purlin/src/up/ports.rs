//! The four ports of `purlin up`, taken before anything else starts, so that a port in use costs nothing.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;

/// Which port serves what. The API's comes first, the others follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) registry: u16,
    pub(crate) metrics: u16,
    pub(crate) gateway: u16,
}

/// The sockets, bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) api: TcpListener,
    pub(crate) registry: TcpListener,
    pub(crate) metrics: TcpListener,
    pub(crate) gateway: TcpListener,
}

/// A port that could not be taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for the {what}: {source}; choose others with --port (it and the three after it are used)"
)]
pub(crate) struct PortError {
    what: &'static str,
    address: SocketAddr,
    source: std::io::Error,
}

impl Ports {
    /// The ports that follow from the API's, which is at most 65532.
    pub(crate) fn from_first(api: u16) -> Self {
        Self {
            api,
            registry: api.saturating_add(1),
            metrics: api.saturating_add(2),
            gateway: api.saturating_add(3),
        }
    }

    /// Each port with the name that people see.
    pub(crate) fn named(self) -> [(&'static str, u16); 4] {
        [
            ("API port", self.api),
            ("registry port", self.registry),
            ("metrics port", self.metrics),
            ("gateway port", self.gateway),
        ]
    }

    /// Takes all of them, or none.
    pub(crate) async fn listen(self, on: IpAddr) -> Result<Listeners, PortError> {
        Ok(Listeners {
            api: listen("Kubernetes API", on, self.api).await?,
            registry: listen("plugin registry", on, self.registry).await?,
            metrics: listen("health and metrics", on, self.metrics).await?,
            gateway: listen("inference gateway", on, self.gateway).await?,
        })
    }
}

async fn listen(what: &'static str, on: IpAddr, port: u16) -> Result<TcpListener, PortError> {
    let address = SocketAddr::new(on, port);
    TcpListener::bind(address).await.map_err(|source| PortError { what, address, source })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_use() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ports = Ports::from_first(taken.local_addr().unwrap().port());
        let error = ports.listen(Ipv4Addr::LOCALHOST.into()).await.unwrap_err().to_string();
        assert!(error.contains("Kubernetes API") && error.contains("--port"), "{error}");
    }
}
