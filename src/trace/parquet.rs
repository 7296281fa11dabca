//! Data frames to and from Parquet bytes, with every setting that decides the bytes
//! fixed here.

use std::io::Cursor;
use std::sync::Arc;

use super::pages;
use crate::guard::guarded;
use polars::prelude::*;

/// Rows of a row group: a reader's unit of work.
const ROW_GROUP: usize = 1 << 17;

/// The file. Equal frames give equal bytes, whatever the number of threads.
pub(super) fn encode(frame: &mut DataFrame) -> PolarsResult<Vec<u8>> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_statistics(StatisticsOptions::default())
        .with_row_group_size(Some(ROW_GROUP))
        .with_data_page_size(Some(1 << 20))
        .finish(frame)?;
    Ok(bytes)
}

/// The named columns of a file, all of them for `None`, each in one chunk.
pub(super) fn decode(bytes: &[u8], columns: Option<Vec<String>>) -> PolarsResult<DataFrame> {
    refused(|| {
        pages::check(bytes)?;
        ParquetReader::new(Cursor::new(bytes))
            .with_columns(columns)
            .set_rechunk(true)
            .finish()
    })
}

/// Damaged bytes make polars panic in places.
fn refused<T>(read: impl FnOnce() -> PolarsResult<T>) -> PolarsResult<T> {
    guarded(read).unwrap_or_else(|panic| Err(PolarsError::ComputeError(panic.into())))
}

/// The columns of a file and their types.
pub(super) fn schema(bytes: &[u8]) -> PolarsResult<Arc<ArrowSchema>> {
    refused(|| ParquetReader::new(Cursor::new(bytes)).schema())
}

/// The names of the columns, for a message.
pub(super) fn column_names(schema: &ArrowSchema) -> String {
    let names: Vec<&str> = schema.iter_names().map(|name| name.as_str()).collect();
    names.join(", ")
}

/// A column of lists.
pub(super) fn list_column<'a, T: PolarsNumericType>(
    name: &str,
    lists: impl ExactSizeIterator<Item = Option<&'a [T::Native]>> + Clone,
) -> Column {
    let values = lists.clone().flatten().map(<[_]>::len).sum();
    let mut builder = ListPrimitiveChunkedBuilder::<T>::new(
        name.into(),
        lists.len(),
        values,
        T::get_static_dtype(),
    );
    for list in lists {
        builder.append_opt_slice(list);
    }
    builder.finish().into_column()
}
