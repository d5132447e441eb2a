//! The files of one source being written, in the order of its rows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::document::{BrokenRow, Document, Split};
use crate::filter::{Reason, Verdict, books3};
use crate::hash::to_hex;
use crate::prepare::judge::{Fate, Stages};
use crate::prepare::source::SourceFile;
use crate::prepare::tally::SourceTally;
use crate::prepare::{DROPPED, LicenseOf, QUARANTINE, TEXT, TOKENS};
use crate::read::pile;
use crate::recipe::{OutputRecipe, SourceKind, SourceRecipe};
use crate::write::WriteError;
use crate::write::documents::DocumentRow;
use crate::write::dropped::{DroppedRow, DroppedTextRow};
use crate::write::indexed::{IndexedWriter, TokenDtype};
use crate::write::quarantine::QuarantineRow;
use crate::write::table::TableWriter;
use crate::write::text::TextRow;

/// What a document's license is called when nobody knows it.
pub(crate) const NO_LICENSE: &str = "NOASSERTION";
/// Licenses that are looked up only once.
const MAX_CACHED_LICENSES: usize = 1000;

/// What every source's output has in common.
#[derive(Clone, Copy)]
pub(crate) struct OutputSettings<'o> {
    pub(crate) folder: &'o Path,
    pub(crate) wanted: OutputRecipe,
    pub(crate) dtype: TokenDtype,
    pub(crate) license_of: LicenseOf<'o>,
}

/// The writers of one source.
pub(crate) struct SourceOutput<'o> {
    settings: OutputSettings<'o>,
    name: Arc<str>,
    kind: SourceKind,
    files: &'o [SourceFile],
    stages: &'o Stages<'o>,
    splits: [Option<SplitOutput>; 3],
    dropped: DroppedWriter,
    quarantine: TableWriter<QuarantineRow>,
    text: Option<TableWriter<TextRow>>,
    licenses: HashMap<Option<String>, Arc<str>>,
}

struct SplitOutput {
    tokens: IndexedWriter,
    documents: TableWriter<DocumentRow>,
}

enum DroppedWriter {
    Plain(TableWriter<DroppedRow>),
    WithText(TableWriter<DroppedTextRow>),
}

/// The prefix of a source's token files in one split, relative to the output folder.
pub(crate) fn tokens_prefix(source: &str, split: Split) -> String {
    format!("{TOKENS}/{source}_{split}_text_document")
}

impl<'o> SourceOutput<'o> {
    pub(crate) fn create(
        settings: OutputSettings<'o>,
        source: &SourceRecipe,
        files: &'o [SourceFile],
        stages: &'o Stages<'o>,
    ) -> Result<Self, WriteError> {
        let table = |folder: &str| {
            settings
                .folder
                .join(folder)
                .join(format!("{}.parquet", source.name))
        };
        let dropped = if settings.wanted.dropped_text {
            DroppedWriter::WithText(TableWriter::create(table(DROPPED))?)
        } else {
            DroppedWriter::Plain(TableWriter::create(table(DROPPED))?)
        };
        Ok(Self {
            settings,
            name: source.name.as_str().into(),
            kind: source.kind,
            files,
            stages,
            splits: [None, None, None],
            dropped,
            quarantine: TableWriter::create(table(QUARANTINE))?,
            text: settings
                .wanted
                .text
                .then(|| TableWriter::create(table(TEXT)))
                .transpose()?,
            licenses: HashMap::new(),
        })
    }

    /// Writes what became of one row of `file`, and counts it.
    pub(crate) fn write(
        &mut self,
        file: usize,
        fate: Fate,
        split: impl FnOnce(&[u8; 32]) -> Split,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        let path = self.files[file].shown.clone();
        tally.documents_in += 1;
        match fate {
            Fate::Broken(broken) => self.write_broken(path, broken, tally),
            Fate::Dropped {
                document,
                stage,
                reason,
            } => {
                self.count_in(&document, tally);
                self.write_dropped(path, document, stage, reason, tally)
            }
            Fate::Encoded {
                document,
                text_sha256,
                ids,
                special_tokens_found,
            } => {
                self.count_in(&document, tally);
                tally.special_tokens_found += special_tokens_found;
                let split = split(&text_sha256);
                self.write_kept(path, document, to_hex(&text_sha256), &ids, split, tally)
            }
            // Whatever passes is encoded before it comes here.
            Fate::Passed { .. } => Ok(()),
        }
    }

    /// Ends every file of the source.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        for split in self.splits.into_iter().flatten() {
            split.tokens.finish()?;
            split.documents.finish()?;
        }
        match self.dropped {
            DroppedWriter::Plain(writer) => writer.finish()?,
            DroppedWriter::WithText(writer) => writer.finish()?,
        }
        self.quarantine.finish()?;
        self.text.map_or(Ok(()), TableWriter::finish)
    }

    fn count_in(&self, document: &Document, tally: &mut SourceTally) {
        tally.bytes_in += document.text.len() as u64;
        if let Some(subset) = &document.subset {
            tally
                .subsets
                .entry(subset.clone())
                .or_default()
                .documents_in += 1;
        }
        if self.kind == SourceKind::Pile {
            let known = document
                .subset
                .as_deref()
                .is_some_and(pile::is_known_subset);
            tally.unknown_subset_documents += u64::from(!known);
        }
    }

    fn write_broken(
        &mut self,
        path: Arc<str>,
        broken: BrokenRow,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        tally.bytes_in += broken.len;
        tally.quarantined += 1;
        tally.drop(Stages::READ, broken.error.name(), broken.len, || {
            format!("{path}:{}", broken.row)
        });
        self.quarantine.push(QuarantineRow {
            path,
            row: broken.row.cast_signed(),
            error: broken.error.to_string(),
            raw: broken.raw,
        })
    }

    fn write_dropped(
        &mut self,
        path: Arc<str>,
        document: Document,
        stage: usize,
        reason: Reason,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        let Document {
            row,
            id,
            subset,
            text,
        } = document;
        tally.drop(stage, reason.name, text.len() as u64, || {
            id.clone().unwrap_or_else(|| format!("{path}:{row}"))
        });
        let dropped = DroppedRow {
            source: self.name.clone(),
            subset,
            path,
            row: row.cast_signed(),
            id,
            stage: self.stages.names()[stage].clone(),
            reason: reason.name,
            value: reason.value,
            threshold: reason.threshold,
        };
        match &mut self.dropped {
            DroppedWriter::Plain(writer) => writer.push(dropped),
            DroppedWriter::WithText(writer) => writer.push(DroppedTextRow { dropped, text }),
        }
    }

    fn write_kept(
        &mut self,
        path: Arc<str>,
        document: Document,
        text_sha256: String,
        ids: &[u32],
        split: Split,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        // The proof that nothing slipped by: asked again of what is really written.
        tally.books3_remaining += u64::from(books3::verdict(&document) != Verdict::Keep);
        let license = self.license(document.subset.as_deref());
        count_kept(&document, ids.len() as u64, split, &license, tally);

        let writer = self.split_output(split)?;
        let number = writer.tokens.num_documents().cast_signed();
        let num_tokens = writer.tokens.push(ids)?;
        let Document {
            row,
            id,
            subset,
            text,
        } = document;
        let row = row.cast_signed();
        let name = self.name.clone();
        if let Some(writer) = &mut self.text {
            let (path, subset, id) = (path.clone(), subset.clone(), id.clone());
            writer.push(TextRow {
                split,
                document: number,
                subset,
                path,
                row,
                id,
                text,
            })?;
        }
        self.split_output(split)?.documents.push(DocumentRow {
            document: number,
            source: name,
            subset,
            path,
            row,
            id,
            text_sha256,
            license,
            num_tokens,
        })
    }

    fn split_output(&mut self, split: Split) -> Result<&mut SplitOutput, WriteError> {
        let slot = &mut self.splits[split.index()];
        if let Some(output) = slot {
            return Ok(output);
        }
        let prefix = self.settings.folder.join(tokens_prefix(&self.name, split));
        let tokens = IndexedWriter::create(&prefix, self.settings.dtype)?;
        let table = crate::write::indexed::with_suffix(&prefix, ".documents.parquet");
        let documents = TableWriter::create(table)?;
        Ok(slot.insert(SplitOutput { tokens, documents }))
    }

    fn license(&mut self, subset: Option<&str>) -> Arc<str> {
        let subset = subset.map(str::to_owned);
        if let Some(license) = self.licenses.get(&subset) {
            return license.clone();
        }
        let license = (self.settings.license_of)(self.kind, subset.as_deref());
        let license: Arc<str> = license.as_deref().unwrap_or(NO_LICENSE).into();
        if self.licenses.len() < MAX_CACHED_LICENSES {
            self.licenses.insert(subset, license.clone());
        }
        license
    }
}

fn count_kept(
    document: &Document,
    tokens: u64,
    split: Split,
    license: &str,
    tally: &mut SourceTally,
) {
    tally.documents_kept += 1;
    tally.bytes_kept += document.text.len() as u64;
    let counts = &mut tally.splits[split.index()];
    counts.documents += 1;
    counts.tokens += tokens;
    let subset = document.subset.clone().unwrap_or_default();
    if document.subset.is_some() {
        let counts = tally.subsets.entry(subset.clone()).or_default();
        counts.documents_kept += 1;
        counts.tokens += tokens;
    }
    let counts = tally
        .licenses
        .entry((subset, license.to_owned()))
        .or_default();
    counts.documents += 1;
    counts.tokens += tokens;
}
