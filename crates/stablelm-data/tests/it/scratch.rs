//! A folder with a recipe and its inputs, for one test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use stablelm_data::{
    PrepareError, PrepareOptions, Prepared, Recipe, RemoteOptions, SourceKind, parse_recipe,
};
use stablelm_tokenizer::Tokenizer;

pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    pub(crate) tokenizer: Tokenizer,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let tokenizer = stablelm_testkit::fixtures().join("tokenizer/tokenizer.json");
        Self {
            folder: tempfile::tempdir().unwrap(),
            tokenizer: Tokenizer::from_file(&tokenizer).unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Writes a table of string columns.
    pub(crate) fn write_table(&self, name: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = std::fs::File::create(self.path(name)).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    /// A recipe of one source, kept free of filters, with `more` after it.
    pub(crate) fn recipe(&self, kind: &str, path: &str, more: &str) -> Recipe {
        let text = format!(
            "name = 'test'\nseed = 1\n[[sources]]\nname = 'src'\nkind = '{kind}'\npaths = ['{path}']\n\
             [tokenizer]\nsource = 'tokenizer.json'\n{more}"
        );
        parse_recipe(&text, &self.path("recipe.toml")).unwrap()
    }

    pub(crate) fn prepare(&self, recipe: &Recipe, output: &str) -> Result<Prepared, PrepareError> {
        prepare(recipe, &self.tokenizer, &self.path(output), 2, 1 << 28)
    }
}

pub(crate) fn prepare(
    recipe: &Recipe,
    tokenizer: &Tokenizer,
    output: &Path,
    threads: usize,
    memory_limit: u64,
) -> Result<Prepared, PrepareError> {
    std::fs::create_dir_all(output).unwrap();
    stablelm_data::prepare(&PrepareOptions {
        recipe,
        recipe_path: &recipe.folder.join("recipe.toml"),
        tokenizer,
        output,
        threads: NonZeroUsize::new(threads).unwrap(),
        memory_limit,
        remote: &RemoteOptions::default(),
        tool_version: "1.2.3",
        license_of: &license_of,
    })
}

pub(crate) fn license_of(kind: SourceKind, subset: Option<&str>) -> Option<String> {
    match (kind, subset) {
        (SourceKind::FalconRefinedweb, _) => Some("ODC-By-1.0".to_owned()),
        (_, Some("FreeLaw")) => Some("CC0-1.0".to_owned()),
        _ => None,
    }
}

/// Every file below a folder with its bytes.
pub(crate) fn read_folder(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// A table as rows of strings, `null` for null.
pub(crate) fn read_table(path: &Path) -> Vec<BTreeMap<String, String>> {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            let schema = batch.schema();
            let cells = schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| {
                    let cell = match column.as_string_opt::<i32>() {
                        _ if column.is_null(row) => "null".to_owned(),
                        Some(strings) => strings.value(row).to_owned(),
                        None => arrow::util::display::array_value_to_string(column, row).unwrap(),
                    };
                    (field.name().clone(), cell)
                });
            rows.push(cells.collect());
        }
    }
    rows
}

/// One column of such rows.
pub(crate) fn column<'r>(rows: &'r [BTreeMap<String, String>], name: &str) -> Vec<&'r str> {
    rows.iter().map(|row| row[name].as_str()).collect()
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}
