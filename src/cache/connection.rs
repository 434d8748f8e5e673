//! Connections to Redis, one node or a cluster.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo as _, RedisError, TlsCertificates};

use super::Redis;

/// Longest wait for a connection.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// The prefix of a cluster's URL, which lists its nodes separated by commas, and that of the URL of one node; with an `s` by TLS.
const CLUSTERS: [(&str, &str); 2] = [("redis+cluster://", "redis://"), ("rediss+cluster://", "rediss://")];

/// Both are cheap to clone, share their connections, pipeline, and reconnect after errors of the network. They give up after an
/// error answer to the login (AUTH), which the tier makes up for ([`super::l2`]).
#[derive(Clone)]
pub(super) enum Connection {
    Node(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects when first used.
    pub(super) fn new(redis: &Redis) -> Result<Self, RedisError> {
        let (Redis { url, authorities, .. }, answer) = (redis, redis.answer_timeout());
        // Off by default there; without it a small answer waits for the acknowledgement of the one before.
        let tcp = TcpSettings::default().set_nodelay(true);
        crate::tls::use_ring();
        let certificates = authorities.clone().map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) });
        let nodes = CLUSTERS.iter().find_map(|(prefix, scheme)| Some((scheme, url.strip_prefix(prefix)?)));
        if let Some((scheme, nodes)) = nodes {
            // Credentials stand once, before the first node.
            let (credentials, nodes) =
                nodes.rsplit_once('@').map_or((String::new(), nodes), |(c, n)| (format!("{c}@"), n));
            let nodes = nodes.split(',').filter(|node| !node.is_empty());
            let nodes = nodes.map(|node| format!("{scheme}{credentials}{node}"));
            let mut client = ClusterClient::builder(nodes).tcp_settings(tcp).retries(1);
            if let Some(certificates) = certificates {
                client = client.certs(certificates);
            }
            let config = ClusterConfig::new().set_connection_timeout(CONNECT).set_response_timeout(answer);
            return Ok(Self::Cluster(client.build()?.get_pending_async_connection_with_config(config)));
        }
        let info = url.as_str().into_connection_info()?.set_tcp_settings(tcp);
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500))
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answer));
        ConnectionManager::new_lazy_with_config(client, config).map(Self::Node)
    }

    pub(super) async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Node(node) => command.query_async(node).await,
            Self::Cluster(cluster) => command.query_async(cluster).await,
        }
    }
}
