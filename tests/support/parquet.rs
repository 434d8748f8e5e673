//! Reads exports back.

use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeZone as _, Utc};
use dgm_service::domain::sample::Sample;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;

/// The Parquet files of a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    files
}

/// Every sample of a file, in its order.
pub(crate) fn samples(file: &Path) -> Vec<Sample> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| {
            let row = row.unwrap();
            let field = |name: &str| row.get_column_iter().find(|(column, _)| *column == name).unwrap().1.clone();
            let text = |name| match field(name) {
                Field::Str(text) => Some(text),
                Field::Null => None,
                other => panic!("{name}: {other:?}"),
            };
            let time = |name| match field(name) {
                Field::TimestampMicros(at) => Utc.timestamp_micros(at).unwrap(),
                other => panic!("{name}: {other:?}"),
            };
            let Field::Bytes(id) = field("id") else { panic!("id: {:?}", field("id")) };
            let Field::Double(metric_value) = field("metric_value") else { panic!("{:?}", field("metric_value")) };
            let (measurement_timestamp, created_at): (DateTime<Utc>, _) =
                (time("measurement_timestamp"), time("created_at"));
            Sample {
                id: uuid::Uuid::from_slice(id.data()).unwrap(),
                service_name: text("service_name").unwrap(),
                metric_type: text("metric_type").unwrap(),
                metric_value,
                measurement_timestamp,
                archive_entry_id: text("archive_entry_id"),
                created_at,
            }
        })
        .collect()
}
