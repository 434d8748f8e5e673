//! What a set of samples holds, in whatever order it is read.

use sha2::{Digest as _, Sha256};

use super::artifact::Digest;
use super::sample::Sample;

/// Types of the columns in PostgreSQL (`pg_type.oid`).
const UUID: i32 = 2950;
const TEXT: i32 = 25;
const DOUBLE: i32 = 701;
const TIMESTAMPTZ: i32 = 1184;
/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH: i64 = 946_684_800_000_000;

/// Number of samples and digest of all of their columns.
///
/// Each row is encoded as PostgreSQL sends a composite value (`record_send`), and the SHA-256 of all rows are combined by exclusive
/// or. So PostgreSQL computes the same digest in one pass without sorting, and equal contents have equal digests. Rows are distinct by the primary
/// key, so no two of them cancel each other out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// Number of rows.
    pub rows: u64,
    /// Exclusive or of the digests of the rows.
    pub digest: [u8; 32],
}

impl Contents {
    /// With one more row.
    pub fn add(&mut self, sample: &Sample) {
        self.rows += 1;
        for (byte, other) in self.digest.iter_mut().zip(Sha256::digest(encoded(sample))) {
            *byte ^= other;
        }
    }

    /// The digest in 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        Digest(self.digest).hex()
    }
}

fn encoded(sample: &Sample) -> Vec<u8> {
    let mut row = Vec::with_capacity(192);
    let mut put = |oid: i32, value: Option<&[u8]>| {
        row.extend(oid.to_be_bytes());
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX));
        row.extend(length.to_be_bytes());
        row.extend(value.unwrap_or_default());
    };
    let time = |at: chrono::DateTime<chrono::Utc>| (at.timestamp_micros() - EPOCH).to_be_bytes();
    put(UUID, Some(sample.id.as_bytes()));
    put(TEXT, Some(sample.service_name.as_bytes()));
    put(TEXT, Some(sample.metric_type.as_bytes()));
    put(DOUBLE, Some(&sample.metric_value.to_be_bytes()));
    put(TIMESTAMPTZ, Some(&time(sample.measurement_timestamp)));
    put(TEXT, sample.archive_entry_id.as_deref().map(str::as_bytes));
    put(TIMESTAMPTZ, Some(&time(sample.created_at)));
    [&7_i32.to_be_bytes(), row.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(id: u128) -> Sample {
        Sample {
            id: uuid::Uuid::from_u128(id),
            service_name: "s".to_owned(),
            metric_type: "m".to_owned(),
            metric_value: 1.0,
            measurement_timestamp: "2025-10-01T00:00:00Z".parse().unwrap(),
            archive_entry_id: None,
            created_at: "2025-10-01T00:00:01Z".parse().unwrap(),
        }
    }

    fn of(samples: &[Sample]) -> String {
        let mut contents = Contents::default();
        for sample in samples {
            contents.add(sample);
        }
        contents.hex()
    }

    #[test]
    fn the_digest_depends_on_every_column_and_not_on_the_order() {
        let whole = [sample(1), sample(2), sample(3)];
        let digest = of(&whole);
        assert_eq!(of(&[sample(3), sample(1), sample(2)]), digest);
        assert_ne!(of(&[sample(1), sample(2)]), digest);
        assert_eq!(of(&[]), "0".repeat(64));
        let second = "2025-10-01T00:00:02Z".parse().unwrap();
        let changes: [fn(&mut Sample); 5] = [
            |sample| sample.service_name = "t".to_owned(),
            |sample| sample.metric_value = -1.0,
            |sample| sample.archive_entry_id = Some(String::new()),
            // Text that moves from one column to the next.
            |sample| (sample.service_name, sample.metric_type) = ("sm".to_owned(), String::new()),
            |sample| sample.id = uuid::Uuid::from_u128(4),
        ];
        let mut seen = vec![digest];
        for change in changes {
            let mut other = whole.clone();
            change(&mut other[1]);
            seen.push(of(&other));
        }
        let times: [fn(&mut Sample) -> &mut chrono::DateTime<chrono::Utc>; 2] =
            [|sample| &mut sample.measurement_timestamp, |sample| &mut sample.created_at];
        for time in times {
            let mut other = whole.clone();
            *time(&mut other[1]) = second;
            seen.push(of(&other));
        }
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{seen:?}");
    }
}
