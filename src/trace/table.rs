//! Plain tables: data sets in, evaluation results out.

use std::path::Path;

use polars::prelude::*;

use super::parquet::{self, list_column};
use super::{Error, fs};

/// The named columns of a Parquet file, as text: `result[i][row]` is column
/// `columns[i]`. Numbers and booleans are written out; a column may be asked for twice.
///
/// # Errors
///
/// A file that cannot be read, a column that it lacks (the message lists those it
/// has), a column of dates, lists or the like, or a missing value.
pub fn read_text_columns(path: &Path, columns: &[&str]) -> Result<Vec<Vec<String>>, Error> {
    let parquet = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(fs::Error::at("read", path))?;
    let schema = parquet::schema(&bytes).map_err(parquet)?;
    let mut wanted: Vec<String> = Vec::new();
    for &column in columns {
        let field = schema.get(column).ok_or_else(|| Error::NoColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            present: parquet::column_names(&schema),
        })?;
        // Before decoding: polars panics on types that it was built without.
        if !has_text(&field.dtype) {
            return Err(Error::ColumnType {
                path: path.to_owned(),
                column: column.to_owned(),
                expected: "text, booleans, or numbers of 32 or 64 bits".to_owned(),
                found: format!("{:?}", field.dtype),
            });
        }
        if !wanted.iter().any(|name| name == column) {
            wanted.push(column.to_owned());
        }
    }
    let frame = parquet::decode(&bytes, Some(wanted)).map_err(parquet)?;
    columns
        .iter()
        .map(|&name| text_column(path, frame.column(name).map_err(parquet)?))
        .collect()
}

/// The names of a Parquet file's columns, in their order.
///
/// # Errors
///
/// A file that cannot be read.
pub fn column_names(path: &Path) -> Result<Vec<String>, Error> {
    let bytes = std::fs::read(path).map_err(fs::Error::at("read", path))?;
    let schema = parquet::schema(&bytes).map_err(|source| Error::Parquet {
        path: path.to_owned(),
        source,
    })?;
    Ok(schema.iter_names().map(ToString::to_string).collect())
}

/// A column of lists of texts of a Parquet file: one list a row.
///
/// # Errors
///
/// As [`read_text_columns`], and a column of anything else.
pub fn read_text_lists(path: &Path, column: &str) -> Result<Vec<Vec<String>>, Error> {
    let parquet = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(fs::Error::at("read", path))?;
    let schema = parquet::schema(&bytes).map_err(parquet)?;
    let field = schema.get(column).ok_or_else(|| Error::NoColumn {
        path: path.to_owned(),
        column: column.to_owned(),
        present: parquet::column_names(&schema),
    })?;
    use ArrowDataType::{LargeList, LargeUtf8, List, Utf8, Utf8View};
    let (List(inner) | LargeList(inner)) = &field.dtype else {
        return Err(not_texts(path, column, &field.dtype));
    };
    if !matches!(inner.dtype, Utf8 | LargeUtf8 | Utf8View) {
        return Err(not_texts(path, column, &field.dtype));
    }
    let frame = parquet::decode(&bytes, Some(vec![column.to_owned()])).map_err(parquet)?;
    let lists = frame.column(column).map_err(parquet)?;
    let lists = lists.list().map_err(parquet)?.rechunk().into_owned();
    let inner = lists.get_inner().rechunk();
    let texts = inner.str().map_err(parquet)?;
    let missing = |row| Error::Null {
        path: path.to_owned(),
        column: column.to_owned(),
        row,
    };
    let mut rows = Vec::with_capacity(lists.len());
    for array in lists.downcast_iter() {
        for (row, place) in array.offsets().as_slice().windows(2).enumerate() {
            let of = |at: i64| texts.get(at as usize).map(str::to_owned);
            let list: Option<Vec<String>> = (place[0]..place[1]).map(of).collect();
            rows.push(list.ok_or_else(|| missing(row))?);
        }
    }
    Ok(rows)
}

fn not_texts(path: &Path, column: &str, found: &ArrowDataType) -> Error {
    Error::ColumnType {
        path: path.to_owned(),
        column: column.to_owned(),
        expected: "lists of text".to_owned(),
        found: format!("{found:?}"),
    }
}

/// The types that [`read_text_columns`] writes out.
fn has_text(dtype: &ArrowDataType) -> bool {
    use ArrowDataType::{
        Boolean, Float32, Float64, Int32, Int64, LargeUtf8, UInt32, UInt64, Utf8, Utf8View,
    };
    matches!(
        dtype,
        Utf8 | LargeUtf8 | Utf8View | Boolean | Int32 | Int64 | UInt32 | UInt64 | Float32 | Float64
    )
}

fn text_column(path: &Path, column: &Column) -> Result<Vec<String>, Error> {
    let parquet = |source| Error::Parquet {
        path: path.to_owned(),
        source,
    };
    let text = column.cast(&DataType::String).map_err(parquet)?;
    text.str()
        .map_err(parquet)?
        .iter()
        .enumerate()
        .map(|(row, value)| match value {
            Some(value) => Ok(value.to_owned()),
            None => Err(Error::Null {
                path: path.to_owned(),
                column: column.name().to_string(),
                row,
            }),
        })
        .collect()
}

/// Columns on their way into a Parquet file. They are of one length and of
/// different names, or [`Table::write`] fails.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// Without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column of u64.
    pub fn column_u64(self, name: &str, values: Vec<u64>) -> Self {
        self.push(Series::new(name.into(), values).into_column())
    }

    /// Adds a column of f64.
    pub fn column_f64(self, name: &str, values: Vec<f64>) -> Self {
        self.push(Series::new(name.into(), values).into_column())
    }

    /// Adds a column of booleans.
    pub fn column_bool(self, name: &str, values: Vec<bool>) -> Self {
        self.push(Series::new(name.into(), values).into_column())
    }

    /// Adds a column of text.
    pub fn column_str(self, name: &str, values: Vec<impl AsRef<str>>) -> Self {
        let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        self.push(Series::new(name.into(), values).into_column())
    }

    /// Adds a column of lists of u32, such as tokens.
    pub fn column_list_u32(self, name: &str, values: Vec<impl AsRef<[u32]>>) -> Self {
        let lists = values.iter().map(|list| Some(list.as_ref()));
        self.push(list_column::<UInt32Type>(name, lists))
    }

    /// Adds a column of lists of text.
    pub fn column_list_str(self, name: &str, values: &[Vec<String>]) -> Self {
        let texts = values.iter().map(|list| Series::new("".into(), list));
        let lists: ListChunked = texts.map(Some).collect();
        self.push(lists.with_name(name.into()).into_column())
    }

    /// Writes the columns, complete or not at all. Equal tables give equal bytes.
    ///
    /// # Errors
    ///
    /// Columns that differ in length or share a name, or the file system.
    pub fn write(self, path: &Path) -> Result<(), Error> {
        let bytes = DataFrame::new_infer_height(self.columns)
            .and_then(|mut frame| parquet::encode(&mut frame))
            .map_err(|source| Error::Parquet {
                path: path.to_owned(),
                source,
            })?;
        Ok(fs::write_atomic_bytes(path, &bytes)?)
    }

    fn push(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answers.parquet");
        Table::new()
            .column_u64("id", vec![1, u64::MAX])
            .column_str("question", vec!["Größe?", ""])
            .column_bool("correct", vec![true, false])
            .column_f64("value", vec![0.5, -1.0])
            .column_list_u32("tokens", vec![vec![1, 2], vec![]])
            .write(&path)
            .unwrap();
        let read = read_text_columns(&path, &["question", "id", "correct", "value", "id"]).unwrap();
        assert_eq!(read[0], ["Größe?", ""]);
        assert_eq!(read[1], ["1", "18446744073709551615"]);
        assert_eq!(read[2], ["true", "false"]);
        assert_eq!(read[3], ["0.5", "-1.0"]);
        assert_eq!(read[4], read[1]);
        let names = column_names(&path).unwrap();
        assert_eq!(names, ["id", "question", "correct", "value", "tokens"]);

        let missing = read_text_columns(&path, &["answer"]).unwrap_err();
        let missing = missing.to_string();
        assert!(
            missing.contains("no column `answer`; its columns are id, question, correct"),
            "{missing}"
        );
        let nested = read_text_columns(&path, &["tokens"]).unwrap_err();
        assert!(nested.to_string().contains("`tokens`"), "{nested}");
    }

    #[test]
    fn columns_of_different_length_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.parquet");
        let table = Table::new()
            .column_u64("a", vec![1])
            .column_u64("b", vec![1, 2]);
        assert!(table.write(&path).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_value_is_named_by_its_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holes.parquet");
        let column = Series::new("answer".into(), [Some("1"), None]).into_column();
        let table = Table {
            columns: vec![column],
        };
        table.write(&path).unwrap();
        let error = read_text_columns(&path, &["answer"]).unwrap_err();
        assert!(error.to_string().contains("row 1"), "{error}");
    }

    #[test]
    fn what_is_not_parquet_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.parquet");
        std::fs::write(&path, "no Parquet at all").unwrap();
        let error = read_text_columns(&path, &["a"]).unwrap_err().to_string();
        assert!(error.contains("notes.parquet"), "{error}");
    }
}
