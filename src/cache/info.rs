//! What Redis tells of itself (`INFO`), as metrics.

use redis::{FromRedisValue as _, InfoDict, RedisError, Value};

use crate::telemetry::catalogue::figure;
use crate::telemetry::catalogue::redis_server::{
    REDIS_CLIENTS, REDIS_COMMANDS, REDIS_EVICTED, REDIS_EXPIRED, REDIS_MEMORY, REDIS_MEMORY_MAX,
    REDIS_REJECTED_CONNECTIONS,
};
use crate::telemetry::theirs::Theirs;

/// The answers of the nodes: a cluster answers for each of its primaries, by address.
pub(super) fn nodes(answer: Value) -> Result<Vec<InfoDict>, RedisError> {
    let each = match answer {
        Value::Map(nodes) => nodes.into_iter().map(|(_, node)| node).collect(),
        node => vec![node],
    };
    each.into_iter().map(|node| Ok(InfoDict::from_redis_value(node)?)).collect()
}

/// Gauges are added up; counters are followed node by node, so that one that goes or comes makes no leap.
pub(super) fn observe(nodes: &[InfoDict], theirs: &mut Theirs) {
    let sum = |field: &str| figure(nodes.iter().filter_map(|node| node.get::<u64>(field)).sum::<u64>());
    REDIS_MEMORY.set((), sum("used_memory"));
    REDIS_MEMORY_MAX.set((), sum("maxmemory"));
    REDIS_CLIENTS.set((), sum("connected_clients"));
    // A process of a node has one; a restarted one has another.
    let run = |node: &InfoDict| node.get::<String>("run_id").unwrap_or_default();
    theirs.retain(|teller| nodes.iter().any(|node| run(node) == teller));
    for node in nodes {
        for (field, counter) in [
            ("evicted_keys", &REDIS_EVICTED),
            ("expired_keys", &REDIS_EXPIRED),
            ("total_commands_processed", &REDIS_COMMANDS),
            ("rejected_connections", &REDIS_REJECTED_CONNECTIONS),
        ] {
            if let Some(count) = node.get(field) {
                theirs.count(&run(node), counter, (), count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_answer_and_a_cluster_one_of_each() {
        let info =
            |memory: u32| Value::BulkString(format!("# Memory\r\nused_memory:{memory}\r\nmaxmemory:0\r\n").into());
        let memory = |answer| -> Vec<Option<u64>> {
            nodes(answer).unwrap().iter().map(|node| node.get("used_memory")).collect()
        };
        assert_eq!(memory(info(7)), [Some(7)]);
        let address = |port: u32| Value::BulkString(format!("127.0.0.1:{port}").into());
        assert_eq!(memory(Value::Map(vec![(address(1), info(7)), (address(2), info(8))])), [Some(7), Some(8)]);
        assert!(nodes(Value::Nil).is_err());
    }
}
