//! Reading what [`super::sample_file`] writes, a row group at a time.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use chrono::{DateTime, TimeZone as _, Utc};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int64Type};
use parquet::errors::{ParquetError, Result as Decoded};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;
use uuid::Uuid;

use super::sample_file::{Error, columns};
use crate::domain::sample::Sample;

/// The footer of a file of samples; cheap to clone.
#[derive(Debug, Clone)]
pub struct ExportedFile {
    metadata: Arc<ParquetMetaData>,
    size: u64,
}

impl ExportedFile {
    /// Reads the footer from the last bytes of a file of `size` bytes.
    ///
    /// # Errors
    /// When they are not the end of a Parquet file.
    pub fn open(size: u64, end: &Bytes) -> Result<Self, Error> {
        let mut reader = ParquetMetaDataReader::new();
        reader.try_parse_sized(end, size)?;
        Ok(Self { metadata: Arc::new(reader.finish()?), size })
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.metadata.file_metadata().num_rows().unsigned_abs()
    }

    /// A note of the footer.
    #[must_use]
    pub fn note(&self, key: &str) -> Option<&str> {
        let notes = self.metadata.file_metadata().key_value_metadata().into_iter().flatten();
        notes.filter(|pair| pair.key == key).find_map(|pair| pair.value.as_deref())
    }

    /// The number of row groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Whether the columns are those of an export.
    ///
    /// # Errors
    /// States the first column that differs.
    pub fn check_columns(&self) -> Result<(), Error> {
        let wanted = columns()?;
        let found = self.metadata.file_metadata().schema_descr().columns();
        let shape = |column: &ColumnDescriptor| {
            let kind = column.physical_type();
            (column.path().string(), kind, column.max_def_level(), column.max_rep_level())
        };
        for (at, wanted) in wanted.iter().enumerate() {
            if found.get(at).is_none_or(|found| shape(found) != shape(wanted)) {
                let name = wanted.path().string();
                return Err(damaged(format!("it is no export of samples: column {} should be {name}", at + 1)));
            }
        }
        if found.len() == wanted.len() { Ok(()) } else { Err(damaged("it is no export of samples: too many columns")) }
    }

    /// Where the bytes of a row group are.
    ///
    /// # Errors
    /// When the footer is damaged.
    pub fn range(&self, group: usize) -> Result<Range<u64>, Error> {
        let chunk = |column: &parquet::file::metadata::ColumnChunkMetaData| {
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let start = u64::try_from(start).ok()?;
            Some(start..start.checked_add(u64::try_from(column.compressed_size()).ok()?)?)
        };
        let chunks: Option<Vec<Range<u64>>> = self.metadata.row_group(group).columns().iter().map(chunk).collect();
        let chunks = chunks.unwrap_or_default();
        let start = chunks.iter().map(|chunk| chunk.start).min();
        let end = chunks.iter().map(|chunk| chunk.end).max().filter(|end| *end <= self.size);
        start.zip(end).map(|(start, end)| start..end).ok_or_else(|| damaged("the footer is damaged"))
    }

    /// The samples of a row group, from the bytes at its [`ExportedFile::range`].
    ///
    /// # Errors
    /// When they are damaged.
    pub fn decode(&self, group: usize, start: u64, bytes: Bytes) -> Result<Vec<Sample>, Error> {
        let part = Arc::new(Part { start, bytes, size: self.size });
        let group = self.metadata.row_group(group);
        let (ids, _) = column::<FixedLenByteArrayType>(&part, group, 0)?;
        let (services, _) = column::<ByteArrayType>(&part, group, 1)?;
        let (metrics, _) = column::<ByteArrayType>(&part, group, 2)?;
        let (values, _) = column::<DoubleType>(&part, group, 3)?;
        let (measured, _) = column::<Int64Type>(&part, group, 4)?;
        let (entries, present) = column::<ByteArrayType>(&part, group, 5)?;
        let (created, _) = column::<Int64Type>(&part, group, 6)?;
        let mut entries = entries.into_iter();
        let mut samples = Vec::with_capacity(ids.len());
        let all = ids.into_iter().zip(services).zip(metrics).zip(values).zip(measured).zip(present).zip(created);
        for ((((((id, service), metric), metric_value), measured), present), created) in all {
            let entry = if present == 1 { entries.next() } else { None };
            samples.push(Sample {
                id: Uuid::from_slice(id.data()).map_err(|_| damaged("an id has not 16 bytes"))?,
                service_name: text(&service)?,
                metric_type: text(&metric)?,
                metric_value,
                measurement_timestamp: time(measured)?,
                archive_entry_id: entry.as_ref().map(text).transpose()?,
                created_at: time(created)?,
            });
        }
        Ok(samples)
    }
}

fn damaged(what: impl Into<String>) -> Error {
    ParquetError::General(what.into()).into()
}

fn text(bytes: &ByteArray) -> Result<String, Error> {
    Ok(bytes.as_utf8()?.to_owned())
}

fn time(microseconds: i64) -> Result<DateTime<Utc>, Error> {
    Utc.timestamp_micros(microseconds).single().ok_or_else(|| damaged(format!("there is no time {microseconds}")))
}

/// The values of a column of a row group, and for an optional one which rows have a value.
fn column<T: DataType>(part: &Arc<Part>, group: &RowGroupMetaData, at: usize) -> Result<(Vec<T::T>, Vec<i16>), Error> {
    let chunk = group.column(at);
    let rows = usize::try_from(group.num_rows()).map_err(|_| damaged("the footer is damaged"))?;
    let pages = SerializedPageReader::new(Arc::clone(part), chunk, rows, None)?;
    let mut reader = ColumnReaderImpl::<T>::new(chunk.column_descr_ptr(), Box::new(pages));
    let (mut values, mut present, mut read) = (Vec::new(), Vec::new(), 0);
    while read < rows {
        match reader.read_records(rows - read, Some(&mut present), None, &mut values)? {
            (0, _, _) => {
                return Err(damaged(format!("column {} ends after {read} of {rows} rows", chunk.column_path())));
            }
            (more, _, _) => read += more,
        }
    }
    Ok((values, present))
}

/// Some bytes of a file.
struct Part {
    start: u64,
    bytes: Bytes,
    size: u64,
}

impl Part {
    fn from(&self, start: u64) -> Decoded<Bytes> {
        let offset = start.checked_sub(self.start).and_then(|offset| usize::try_from(offset).ok());
        let offset = offset.filter(|offset| *offset <= self.bytes.len());
        let offset = offset.ok_or_else(|| ParquetError::EOF("it points outside its row group".to_owned()))?;
        Ok(self.bytes.slice(offset..))
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Decoded<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Decoded<Bytes> {
        let rest = self.from(start)?;
        if length > rest.len() {
            return Err(ParquetError::EOF("a page ends after its row group".to_owned()));
        }
        Ok(rest.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample_file::SampleFile;
    use super::*;

    fn samples(from: u128, to: u128) -> Vec<Sample> {
        let time = |n: u128| Utc.timestamp_micros(i64::try_from(n).unwrap() - 1).unwrap();
        let sample = |n: u128| Sample {
            id: Uuid::from_u128(n),
            service_name: format!("größe {}", n % 3),
            metric_type: "m".to_owned(),
            metric_value: if n == 1 { -1e290 } else { 5e-324 },
            measurement_timestamp: time(n),
            archive_entry_id: n.is_multiple_of(2).then(|| format!("entry {n}")),
            created_at: time(2 * n),
        };
        (from..to).map(sample).collect()
    }

    fn file() -> Vec<u8> {
        let mut writer = SampleFile::new(&[("key", "value".to_owned())]).unwrap();
        let mut bytes = writer.push(&samples(1, 1000)).unwrap();
        bytes.extend(writer.push(&samples(1000, 1500)).unwrap());
        bytes.extend(writer.finish().unwrap());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<Sample>>, Error> {
        let bytes = Bytes::copy_from_slice(bytes);
        let file = ExportedFile::open(bytes.len() as u64, &bytes)?;
        file.check_columns()?;
        let group = |at: usize| {
            let range = file.range(at)?;
            let place = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            file.decode(at, range.start, bytes.slice(place))
        };
        (0..file.groups()).map(group).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = file();
        let footer = ExportedFile::open(bytes.len() as u64, &Bytes::from(bytes.clone())).unwrap();
        assert_eq!((footer.rows(), footer.note("key"), footer.note("other")), (1499, Some("value"), None));
        assert_eq!(read(&bytes).unwrap(), [samples(1, 1000), samples(1000, 1500)]);
    }

    #[test]
    fn what_is_damaged_is_refused_and_does_not_panic() {
        let whole = file();
        assert!(read(&whole[..whole.len() - 1]).is_err());
        assert!(read(b"PAR1").is_err() && read(b"").is_err());
        // Any byte may be another one: then an error, or other samples, which their digest shows.
        for at in (0..whole.len()).step_by(37) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let outcome = std::panic::catch_unwind(|| read(&bytes).is_ok());
            assert!(outcome.is_ok(), "byte {at} of {}", whole.len());
        }
    }
}
