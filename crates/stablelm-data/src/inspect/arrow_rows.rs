//! An Arrow IPC file or stream.

use std::path::Path;

use arrow::array::RecordBatch;

use crate::inspect::rows::{LengthsInspection, check_document, text_column, values_of};
use crate::inspect::{
    ColumnInspection, DocumentInspection, InspectError, InspectOptions, RowsInspection,
};
use crate::read::arrow_ipc::ArrowBatches;
use crate::read::compression::Compression;
use crate::read::container::Container;
use crate::read::table::{Batch, Columns, text_at};
use crate::read::{ColumnarError, ReadError};

/// Reads all columns once, batch by batch.
pub(super) fn inspect(
    path: &Path,
    container: Container,
    bytes: u64,
    options: &InspectOptions<'_>,
) -> Result<RowsInspection, InspectError> {
    let every = |fields: &_| Ok(Columns::all(fields));
    let mut batches = ArrowBatches::open_for(path, container, every, 0)?;
    let fields = batches.schema().fields().iter();
    let columns: Vec<_> = fields
        .map(|field| ColumnInspection {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
        })
        .collect();
    let text = text_column(&columns);
    let mut lengths = LengthsInspection {
        column: text.unwrap_or_default().to_owned(),
        ..LengthsInspection::default()
    };
    let (mut rows, mut broken_rows) = (0_u64, 0_u64);
    let mut document = None;
    while let Some(batch) = batches.next_batch()? {
        let before = rows;
        let is_wanted = |rows: u64| options.document.filter(|at| (before..rows).contains(at));
        match batch {
            Batch::Damaged(damaged) => {
                let count = damaged.rows.unwrap_or(1);
                rows = rows.saturating_add(count);
                broken_rows = broken_rows.saturating_add(count);
                if is_wanted(rows).is_some() {
                    return Err(at(path)(damaged.error).into());
                }
            }
            Batch::Rows(_, table) => {
                let Some(batch) = table.batch else {
                    continue;
                };
                rows += batch.num_rows() as u64;
                if let Some(texts) = text.and_then(|name| batch.column_by_name(name)) {
                    let texts = (0..texts.len()).filter_map(|at| text_at(texts, at));
                    texts.for_each(|text| lengths.add(text.len() as u64));
                }
                if let Some(number) = is_wanted(rows) {
                    document = Some(show(path, &batch, number, number - before, text)?);
                }
            }
        }
    }
    check_document(path, options.document, document.is_some(), rows)?;
    Ok(RowsInspection {
        path: path.to_path_buf(),
        format: match container {
            Container::ArrowFile => "arrow-file",
            _ => "arrow-stream",
        },
        compression: Compression::None,
        bytes,
        rows,
        broken_rows,
        lengths: (lengths.texts > 0).then_some(lengths),
        columns,
        document,
    })
}

fn at(path: &Path) -> impl Fn(ColumnarError) -> ReadError {
    let path = path.to_path_buf();
    move |source| ReadError::Arrow {
        path: path.clone(),
        source,
    }
}

fn show(
    path: &Path,
    batch: &RecordBatch,
    number: u64,
    row: u64,
    text: Option<&str>,
) -> Result<DocumentInspection, InspectError> {
    let row = usize::try_from(row).expect("a row of a batch");
    let text = text.and_then(|name| text_at(batch.column_by_name(name)?, row));
    let text = text.map(str::to_owned);
    let values = values_of(&batch.slice(row, 1)).map_err(|error| at(path)(error.into()))?;
    Ok(DocumentInspection {
        document: number,
        text,
        values: Some(values.into()),
        ..DocumentInspection::default()
    })
}
