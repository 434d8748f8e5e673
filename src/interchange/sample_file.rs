//! Samples as an Apache Parquet file, compressed by zstd: what is kept of them after their month was dropped.

use std::io;
use std::sync::{Arc, Mutex};

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use crate::domain::sample::Sample;

/// The columns of the table, in its order. Times are UTC, in microseconds, as PostgreSQL keeps them.
const SCHEMA: &str = "
    message sample {
        required fixed_len_byte_array(16) id (UUID);
        required binary service_name (STRING);
        required binary metric_type (STRING);
        required double metric_value;
        required int64 measurement_timestamp (TIMESTAMP(MICROS, true));
        optional binary archive_entry_id (STRING);
        required int64 created_at (TIMESTAMP(MICROS, true));
    }";

/// Why a file cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] ParquetError);

type Result<T> = std::result::Result<T, Error>;

/// Writes samples as Parquet, a row group for each piece.
#[derive(Debug)]
pub struct SampleFile {
    writer: SerializedFileWriter<Buffer>,
    buffer: Buffer,
}

/// What was written and not taken yet.
#[derive(Debug, Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::ErrorKind::Other)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn take(&self) -> Vec<u8> {
        self.0.lock().map(|mut bytes| std::mem::take(&mut *bytes)).unwrap_or_default()
    }
}

impl SampleFile {
    /// Begins a file; `notes` are kept in its footer.
    ///
    /// # Errors
    /// None that is known; the library's.
    pub fn new(notes: &[(&str, String)]) -> Result<Self> {
        let notes = notes.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
        let properties = WriterProperties::builder()
            .set_created_by(concat!("dgm-service ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(notes))
            .build();
        let (schema, buffer) = (Arc::new(parse_message_type(SCHEMA)?), Buffer::default());
        let writer = SerializedFileWriter::new(buffer.clone(), schema, Arc::new(properties))?;
        Ok(Self { writer, buffer })
    }

    /// Adds samples; answers the bytes that the file goes on with. A piece of a hundred thousand takes some 100 ms.
    ///
    /// # Errors
    /// None that is known; the library's.
    pub fn push(&mut self, samples: &[Sample]) -> Result<Vec<u8>> {
        let mut group = self.writer.next_row_group()?;
        let ids = samples.iter().map(|s| FixedLenByteArray::from(s.id.as_bytes().to_vec()));
        column::<FixedLenByteArrayType>(&mut group, ids, None)?;
        column::<ByteArrayType>(&mut group, samples.iter().map(|s| s.service_name.as_str().into()), None)?;
        column::<ByteArrayType>(&mut group, samples.iter().map(|s| s.metric_type.as_str().into()), None)?;
        column::<DoubleType>(&mut group, samples.iter().map(|s| s.metric_value), None)?;
        let times = samples.iter().map(|s| s.measurement_timestamp.timestamp_micros());
        column::<Int64Type>(&mut group, times, None)?;
        let there: Vec<i16> = samples.iter().map(|s| i16::from(s.archive_entry_id.is_some())).collect();
        let entries = samples.iter().filter_map(|s| s.archive_entry_id.as_deref()).map(ByteArray::from);
        column::<ByteArrayType>(&mut group, entries, Some(&there))?;
        column::<Int64Type>(&mut group, samples.iter().map(|s| s.created_at.timestamp_micros()), None)?;
        group.close()?;
        Ok(self.buffer.take())
    }

    /// The bytes that the file ends with.
    ///
    /// # Errors
    /// None that is known; the library's.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.writer.close()?;
        Ok(self.buffer.take())
    }
}

/// Writes the next column of a row group; `there` says which rows have a value, if not all.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Buffer>,
    values: impl Iterator<Item = T::T>,
    there: Option<&[i16]>,
) -> Result<()> {
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("one column too many".to_owned()))?;
    column.typed::<T>().write_batch(&values.collect::<Vec<_>>(), there, None)?;
    Ok(column.close()?)
}

/// The columns of such a file.
pub(super) fn columns() -> Result<Vec<ColumnDescPtr>> {
    Ok(SchemaDescriptor::new(Arc::new(parse_message_type(SCHEMA)?)).columns().to_vec())
}
