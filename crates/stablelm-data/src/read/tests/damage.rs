//! Damage within a table: it loses the rows that it hits, and no others.

use std::ops::Range;

use ::parquet::basic::{BrotliLevel, Compression};
use ::parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, ParquetMetaData, ParquetMetaDataBuilder, ParquetMetaDataReader,
    ParquetMetaDataWriter,
};
use arrow::array::{Array, Int64Array, StringArray, StringDictionaryBuilder};
use arrow::datatypes::Int8Type;
use arrow::ipc::CompressionType;
use proptest::test_runner::Config as ProptestConfig;

use super::*;

const ROWS: usize = 50;

fn text(row: usize) -> String {
    format!("the text of row {row:03} {}", "x".repeat(row % 7 * 10))
}

/// Three batches of 50 rows.
fn batches() -> Vec<RecordBatch> {
    let of = |rows: Range<usize>| {
        let ids: Int64Array = rows.clone().map(|row| i64::try_from(row).ok()).collect();
        let texts: StringArray = rows.map(|row| Some(text(row))).collect();
        batch(vec![("id", Arc::new(ids)), ("text", Arc::new(texts))])
    };
    (0..3).map(|at| of(at * ROWS..(at + 1) * ROWS)).collect()
}

fn in_dictionaries() -> Vec<RecordBatch> {
    let encode = |batch: RecordBatch| {
        let texts = batch.column_by_name("text").unwrap().as_any();
        let texts: &StringArray = texts.downcast_ref().unwrap();
        let mut dictionary = StringDictionaryBuilder::<Int8Type>::new();
        dictionary.extend(texts.iter());
        super::batch(vec![("text", Arc::new(dictionary.finish()))])
    };
    batches().into_iter().map(encode).collect()
}

fn parquet_file() -> (Scratch, Vec<u8>) {
    let file = scratch("a.parquet");
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(ROWS))
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(20)
        .set_write_batch_size(10);
    write_parquet(&file.path, &batches(), properties.build());
    let bytes = std::fs::read(&file.path).unwrap();
    (file, bytes)
}

fn arrow_file(batches: &[RecordBatch], options: IpcWriteOptions) -> (Scratch, Vec<u8>) {
    let file = scratch("a.arrow");
    write_arrow_file(&file.path, batches, options);
    let bytes = std::fs::read(&file.path).unwrap();
    (file, bytes)
}

fn arrow_stream(batches: &[RecordBatch]) -> (Scratch, Vec<u8>) {
    let file = scratch("a.arrow");
    write_arrow_stream(&file.path, batches, IpcWriteOptions::default());
    let bytes = std::fs::read(&file.path).unwrap();
    (file, bytes)
}

/// Where a text lies in a file that is not compressed.
fn find(bytes: &[u8], text: &str) -> usize {
    memchr::memmem::find(bytes, text.as_bytes()).unwrap()
}

/// The row of each document, and first row, number of rows and message of each damage.
type Found = (Vec<usize>, Vec<(u64, Option<u64>, String)>);

fn sort_out(rows: &[Row]) -> Found {
    let (mut documents, mut damages) = (Vec::new(), Vec::new());
    for row in rows {
        match row {
            Ok(document) => {
                let row = usize::try_from(document.row).unwrap();
                documents.push(row);
            }
            Err(broken) => match &broken.error {
                RowError::DamagedRows { rows, message } => {
                    damages.push((broken.row, *rows, message.clone()));
                }
                other => panic!("{other}"),
            },
        }
    }
    (documents, damages)
}

/// The rows of a file, checked to be the same wherever reading goes on.
fn read_everywhere(path: &Path, kind: SourceKind) -> Vec<Row> {
    let limits = PieceLimits {
        piece_len: 300,
        ..PieceLimits::default()
    };
    let schema = schema(kind);
    let (rows, ends) = read_from(path, &schema, Position::default(), limits).unwrap();
    for (num_rows, position) in ends {
        let (rest, _) = read_from(path, &schema, position, limits).unwrap();
        assert_eq!(rest, rows[num_rows..], "from {position:?}");
    }
    rows
}

/// Checks that a damaged file loses these rows, told by one record.
fn check(file: &Scratch, kind: SourceKind, lost: Range<usize>, why: &str) {
    let (documents, damages) = sort_out(&read_everywhere(&file.path, kind));
    let kept: Vec<_> = (0..3 * ROWS).filter(|row| !lost.contains(row)).collect();
    assert_eq!(documents, kept);
    let [(row, rows, message)] = &damages[..] else {
        panic!("{damages:?}");
    };
    assert_eq!(
        (*row, *rows),
        (lost.start as u64, Some(lost.len() as u64)),
        "{message}"
    );
    assert!(message.contains(why), "{message}");
}

#[test]
fn a_damaged_row_group_loses_its_rest() {
    let (file, bytes) = parquet_file();
    // The header of a page, a length within a page, and bytes that are no UTF-8.
    let mut bad = bytes.clone();
    let page = find(&bytes, &text(50)) - 4;
    bad[page - 30..page].fill(0xff);
    std::fs::write(&file.path, &bad).unwrap();
    check(&file, SourceKind::Parquet, 50..100, "");
    for (change, why) in [(-4_isize, ""), (3, "UTF-8")] {
        let mut bad = bytes.clone();
        let at = find(&bytes, &text(90)).checked_add_signed(change).unwrap();
        bad[at..at + 2].fill(0xff);
        std::fs::write(&file.path, &bad).unwrap();
        let (documents, damages) = sort_out(&read_everywhere(&file.path, SourceKind::Parquet));
        let (row, rows, message) = &damages[0];
        assert_eq!(damages.len(), 1);
        assert!(message.contains(why), "{message}");
        // Batches are small here, so that the rows before the damaged one are kept.
        assert!((51..=90).contains(row), "{row}");
        assert_eq!(row + rows.unwrap(), 100);
        let first = usize::try_from(*row).unwrap();
        assert!(documents.into_iter().eq((0..first).chain(100..150)));
    }
}

/// Writes the footer of a file anew.
fn change_footer(bytes: &[u8], change: impl Fn(&ParquetMetaData) -> ParquetMetaData) -> Vec<u8> {
    let tail = bytes.len() - 8;
    let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap());
    let start = tail - usize::try_from(length).unwrap();
    let footer = ParquetMetaDataReader::decode_metadata(&bytes[start..tail]).unwrap();
    let mut changed = bytes[..start].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &change(&footer))
        .finish()
        .unwrap();
    changed
}

fn with_rows(bytes: &[u8], rows: i64) -> Vec<u8> {
    change_footer(bytes, |footer| {
        let mut groups = footer.row_groups().to_vec();
        let group = groups[1].clone().into_builder().set_num_rows(rows);
        groups[1] = group.build().unwrap();
        ParquetMetaDataBuilder::new(footer.file_metadata().clone())
            .set_row_groups(groups)
            .build()
    })
}

#[test]
fn row_groups_that_lie_about_their_rows_take_no_memory() {
    let (file, bytes) = parquet_file();
    let claimed = 1_i64 << 40;
    std::fs::write(&file.path, with_rows(&bytes, claimed)).unwrap();
    let (documents, damages) = sort_out(&read_everywhere(&file.path, SourceKind::Parquet));
    let (lost, after) = (claimed.unsigned_abs() - 50, 50 + (1_usize << 40));
    assert!(documents.into_iter().eq((0..100).chain(after..after + 50)));
    assert_eq!((damages[0].0, damages[0].1), (100, Some(lost)));
    assert!(
        damages[0].2.contains("claims to go on from row 100"),
        "{damages:?}"
    );

    // Fewer than there are: whoever wrote them, 20 are counted, and some were read.
    std::fs::write(&file.path, with_rows(&bytes, 20)).unwrap();
    let (documents, damages) = sort_out(&read_everywhere(&file.path, SourceKind::Parquet));
    let [(row, rows, message)] = &damages[..] else {
        panic!("{damages:?}");
    };
    assert!(message.contains("goes on beyond row 70"), "{message}");
    assert_eq!(row + rows.unwrap(), 70);
    let first = usize::try_from(*row).unwrap();
    assert!(documents.into_iter().eq((0..first).chain(70..120)));

    for rows in [-1, -50] {
        std::fs::write(&file.path, with_rows(&bytes, rows)).unwrap();
        let error = read(&file.path, SourceKind::Parquet).unwrap_err();
        assert!(matches!(error, ReadError::Parquet { .. }), "{error}");
    }
}

/// Changes what the footer says of the columns of the second row group.
fn with_columns(
    bytes: &[u8],
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Vec<u8> {
    change_footer(bytes, |footer| {
        let mut groups = footer.row_groups().to_vec();
        let mut group = groups[1].clone().into_builder();
        for column in group.take_columns() {
            let column = change(column.into_builder()).build().unwrap();
            group = group.add_column_metadata(column);
        }
        groups[1] = group.build().unwrap();
        ParquetMetaDataBuilder::new(footer.file_metadata().clone())
            .set_row_groups(groups)
            .build()
    })
}

#[test]
fn a_row_group_outside_of_its_file_is_lost_alone() {
    let (file, bytes) = parquet_file();
    let moved = with_columns(&bytes, |column| column.set_data_page_offset(1 << 40));
    std::fs::write(&file.path, moved).unwrap();
    let why = "lies outside of the file";
    check(&file, SourceKind::Parquet, 50..100, why);
}

#[test]
fn compression_that_is_not_known_is_no_damage() {
    let (file, bytes) = parquet_file();
    for (codec, name) in [
        (Compression::BROTLI(BrotliLevel::default()), "BROTLI"),
        (Compression::LZO, "LZO"),
    ] {
        let bytes = with_columns(&bytes, |column| column.set_compression(codec));
        std::fs::write(&file.path, bytes).unwrap();
        let Err(ReadError::Parquet { source, .. }) = read(&file.path, SourceKind::Parquet) else {
            panic!("{codec} is read");
        };
        assert!(source.to_string().contains(name), "{source}");
    }
}

#[test]
fn a_damaged_batch_is_lost_alone() {
    let compressed = |compression| {
        let options = IpcWriteOptions::default();
        options.try_with_compression(Some(compression)).unwrap()
    };
    let (file, bytes) = arrow_file(&batches(), IpcWriteOptions::default());
    let (stream, stream_bytes) = arrow_stream(&batches());
    for (file, mut bytes) in [(file, bytes), (stream, stream_bytes)] {
        let at = find(&bytes, &text(70));
        bytes[at] = 0xff;
        std::fs::write(&file.path, &bytes).unwrap();
        check(&file, SourceKind::Arrow, 50..100, "UTF8");
    }
    for compression in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        let (file, bytes) = arrow_file(&batches(), compressed(compression));
        let magic: &[u8] = match compression {
            CompressionType::ZSTD => &[0x28, 0xb5, 0x2f, 0xfd],
            _ => &[0x04, 0x22, 0x4d, 0x18],
        };
        let frames: Vec<_> = memchr::memmem::find_iter(&bytes, magic).collect();
        assert!(frames.len() >= 3, "{frames:?}");
        let mut bad = bytes.clone();
        let frame = frames[frames.len() / 2];
        bad[frame..frame + 4].fill(0);
        std::fs::write(&file.path, &bad).unwrap();
        check(&file, SourceKind::Arrow, 50..100, "");
    }
}

/// The places of all message heads.
fn heads(bytes: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, &[0xff; 4]).collect()
}

#[test]
fn a_damaged_head_counts_as_one_row() {
    let (file, bytes) = arrow_file(&batches(), IpcWriteOptions::default());
    let mut bad = bytes.clone();
    // The schema, three batches and the end have heads.
    let second = heads(&bytes)[2];
    bad[second + 8..second + 40].fill(0xff);
    std::fs::write(&file.path, &bad).unwrap();
    let (documents, damages) = sort_out(&read_everywhere(&file.path, SourceKind::Arrow));
    assert_eq!(damages.len(), 1);
    assert_eq!((damages[0].0, damages[0].1), (50, None));
    assert!(documents.into_iter().eq((0..50).chain(51..101)));
}

#[test]
fn a_stream_ends_where_no_message_can_be_found() {
    let (file, bytes) = arrow_stream(&batches());
    let second = heads(&bytes)[2];
    let mut bad = bytes.clone();
    bad[second + 8..second + 40].fill(0xff);
    let cut = bytes[..find(&bytes, &text(70))].to_vec();
    for bytes in [bad, cut] {
        std::fs::write(&file.path, &bytes).unwrap();
        let (documents, damages) = sort_out(&read_everywhere(&file.path, SourceKind::Arrow));
        assert_eq!(damages.len(), 1);
        assert_eq!((damages[0].0, damages[0].1), (50, None));
        assert!(documents.into_iter().eq(0..50));
    }
}

#[test]
fn batches_behind_a_lost_dictionary_are_lost() {
    // In the stream each batch has a dictionary of its own, with the same keys for other texts.
    let (file, mut bytes) = arrow_stream(&in_dictionaries());
    let at = find(&bytes, &text(70));
    bytes[at] = 0xff;
    std::fs::write(&file.path, &bytes).unwrap();
    let (documents, damages) = sort_out(&read_everywhere(&file.path, SourceKind::Arrow));
    assert!(documents.into_iter().eq(0..50));
    let lost: Vec<_> = damages.iter().map(|(row, rows, _)| (*row, *rows)).collect();
    assert_eq!(lost, [(50, Some(50)), (100, Some(50))]);
    let why = "a dictionary before it can't be read";
    assert!(damages.iter().all(|(_, _, message)| message.contains(why)));
}

#[test]
fn a_file_that_is_cut_while_it_is_read_ends_the_run() {
    let (parquet, _) = parquet_file();
    let (arrow, _) = arrow_file(&batches(), IpcWriteOptions::default());
    for (file, kind) in [(parquet, SourceKind::Parquet), (arrow, SourceKind::Arrow)] {
        let limits = PieceLimits::default();
        let schema = schema(kind);
        let start = Position::default();
        let mut reader = SourceFileReader::open(&file.path, &schema, start, limits).unwrap();
        let opened = File::options().write(true).open(&file.path).unwrap();
        opened.set_len(300).unwrap();
        let mut piece = Piece::default();
        let mut read = || -> Result<(), ReadError> {
            while reader.next_piece(&mut piece)? {}
            Ok(())
        };
        let error = read().unwrap_err();
        assert!(matches!(error, ReadError::Io { .. }), "{error}");
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn any_damage_is_met_the_same_wherever_reading_goes_on(
        at: proptest::sample::Index,
        value: [u8; 3],
        len in 1..4_usize,
    ) {
        let files = [
            parquet_file(),
            arrow_file(&batches(), IpcWriteOptions::default()),
            arrow_stream(&in_dictionaries()),
        ];
        for ((file, bytes), kind) in files.into_iter().zip([
            SourceKind::Parquet,
            SourceKind::Arrow,
            SourceKind::Arrow,
        ]) {
            let at = at.index(bytes.len() - len);
            let mut bytes = bytes;
            bytes[at..at + len].copy_from_slice(&value[..len]);
            std::fs::write(&file.path, &bytes).unwrap();
            if read(&file.path, kind).is_ok() {
                read_everywhere(&file.path, kind);
            }
        }
    }
}
