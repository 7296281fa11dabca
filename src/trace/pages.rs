//! The headers of a Parquet file's pages, looked at before polars believes them: it sets memory aside
//! for as many values as a damaged one says, and a process that gets none is aborted.

use polars::prelude::*;
use polars_parquet_format::PageHeader;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;
use std::io::Cursor;

/// Values in a page; writers cut pages at about a megabyte.
const VALUES: i64 = 1 << 24;

/// Bytes of a page when it is unpacked.
const BYTES: i32 = 1 << 30;

/// Refuses a file with a page whose header cannot be true.
pub(super) fn check(bytes: &[u8]) -> PolarsResult<()> {
    let metadata = ParquetReader::new(Cursor::new(bytes))
        .get_metadata()?
        .clone();
    for group in &metadata.row_groups {
        for chunk in group.parquet_columns() {
            let range = chunk.byte_range();
            let pages = usize::try_from(range.start)
                .ok()
                .zip(usize::try_from(range.end).ok())
                .and_then(|(start, end)| bytes.get(start..end))
                .ok_or_else(|| damaged("a column lies outside the file"))?;
            check_column(pages, chunk.num_values())?;
        }
    }
    Ok(())
}

fn check_column(mut rest: &[u8], values: i64) -> PolarsResult<()> {
    let mut seen = 0;
    while seen < values {
        let most = rest.len();
        let header =
            PageHeader::read_from_in_protocol(&mut TCompactInputProtocol::new(&mut rest, most))
                .map_err(|error| damaged(&format!("a page header ({error})")))?;
        let data = header.data_page_header.as_ref().map(|h| h.num_values);
        let data_v2 = header.data_page_header_v2.as_ref();
        let dictionary = header.dictionary_page_header.as_ref();
        let counts = [
            data,
            data_v2.map(|h| h.num_values),
            data_v2.map(|h| h.num_nulls),
            data_v2.map(|h| h.num_rows),
            dictionary.map(|h| h.num_values),
        ];
        let possible = |count: &i32| (0..=VALUES).contains(&i64::from(*count));
        if !counts.iter().flatten().all(possible)
            || !(0..=BYTES).contains(&header.uncompressed_page_size)
        {
            return Err(damaged("a page header says an impossible number"));
        }
        seen += i64::from(data.or(data_v2.map(|h| h.num_values)).unwrap_or(0));
        rest = usize::try_from(header.compressed_page_size)
            .ok()
            .and_then(|size| rest.get(size..))
            .ok_or_else(|| damaged("a page lies outside its column"))?;
    }
    Ok(())
}

fn damaged(what: &str) -> PolarsError {
    PolarsError::ComputeError(format!("damaged Parquet: {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> DataFrame {
        let numbers: Vec<u32> = (0..50).collect();
        let maybe: Vec<Option<u32>> = (0..50u32).map(|i| (i % 3 == 0).then_some(i)).collect();
        let columns = vec![
            Column::new("numbers".into(), numbers),
            Column::new("maybe".into(), maybe),
        ];
        DataFrame::new(50, columns).unwrap()
    }

    #[test]
    fn good_files_pass_and_negative_counts_do_not() {
        let bytes = super::super::parquet::encode(&mut frame()).unwrap();
        check(&bytes).unwrap();
        // 50 as a zigzag varint, right behind the field header of `num_values`.
        let at = bytes
            .windows(2)
            .position(|pair| pair == [0x15, 100])
            .unwrap();
        let mut negative = bytes.clone();
        negative[at + 1] = 99;
        let error = check(&negative).unwrap_err().to_string();
        assert!(error.contains("impossible number"), "{error}");
        assert!(check(&bytes[..bytes.len() / 2]).is_err());
    }
}
