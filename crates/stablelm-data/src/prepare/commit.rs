//! The files of one source being written, in the order of its rows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::books3::says_books3;
use crate::document::Split;
use crate::hash::{Sha256Bytes, to_hex};
use crate::prepare::judge::Stages;
use crate::prepare::outcomes::OutcomeRow;
use crate::prepare::source::SourceFile;
use crate::prepare::tally::SourceTally;
use crate::prepare::{DROPPED, LicenseOf, QUARANTINE, TEXT, TOKENS};
use crate::read::pile;
use crate::recipe::{OutputRecipe, SourceKind, SourceRecipe};
use crate::report::DroppedSample;
use crate::write::WriteError;
use crate::write::documents::DocumentRow;
use crate::write::dropped::{DroppedRow, DroppedTextRow};
use crate::write::indexed::{IndexedWriter, TokenDtype};
use crate::write::quarantine::QuarantineRow;
use crate::write::table::TableWriter;
use crate::write::text::TextRow;

/// Rows of which nobody can tell whether they are of Books3.
const UNJUDGED: [&str; 2] = ["unknown_book_row", "bad_meta"];
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
    /// Shards that are full.
    shards: Vec<Shard>,
    dropped: DroppedWriter,
    quarantine: TableWriter<QuarantineRow>,
    text: Option<TableWriter<TextRow>>,
    licenses: HashMap<Option<String>, Arc<str>>,
}

/// A finished pair of token files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) split: Split,
    /// Its path without endings, relative to the output folder.
    pub(crate) prefix: String,
    pub(crate) documents: u64,
    pub(crate) tokens: u64,
}

struct SplitOutput {
    name: String,
    shard: u32,
    tokens: IndexedWriter,
    documents: TableWriter<DocumentRow>,
}

enum DroppedWriter {
    Plain(TableWriter<DroppedRow>),
    WithText(TableWriter<DroppedTextRow>),
}

/// The prefix of a source's token files in one split, relative to the output folder.
fn tokens_prefix(source: &str, split: Split, shard: Option<u32>) -> String {
    match shard {
        None => format!("{TOKENS}/{source}_{split}_text_document"),
        Some(shard) => format!("{TOKENS}/{source}_{split}_{shard:05}_text_document"),
    }
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
            shards: Vec::new(),
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

    /// Writes what became of one row, and counts it.
    ///
    /// `duplicate` names the reason and the document that stays in place of this one.
    pub(crate) fn write(
        &mut self,
        row: &OutcomeRow<'_>,
        duplicate: Option<(&'static str, String)>,
        split: impl FnOnce(&Sha256Bytes) -> Split,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        let path = self.files[row.file as usize].shown.clone();
        tally.documents_in += 1;
        tally.bytes_in += row.bytes_in;
        if let Some(error) = row.error {
            return self.write_broken(path, row, error, tally);
        }
        self.count_in(row, tally);
        let dropped = match (row.stage, duplicate, self.stages.dedup()) {
            (Some(stage), _, _) => Some((usize::from(stage), row.reason.unwrap_or_default(), None)),
            (None, Some((reason, original)), Some(stage)) => Some((stage, reason, Some(original))),
            (None, _, _) => None,
        };
        match (dropped, row.text_sha256, row.tokens) {
            (None, Some(text_sha256), Some(tokens)) => {
                let split = split(text_sha256);
                self.write_kept(path, row, &to_hex(text_sha256), tokens, split, tally)
            }
            (dropped, _, _) => {
                let (stage, reason, original) = dropped.unwrap_or_default();
                self.write_dropped(path, row, stage, reason, original, tally)
            }
        }
    }

    /// Ends every file of the source.
    pub(crate) fn finish(self) -> Result<Vec<Shard>, WriteError> {
        let mut shards = self.shards;
        for (split, output) in Split::ALL.into_iter().zip(self.splits) {
            shards.extend(output.map(|output| output.finish(split)).transpose()?);
        }
        match self.dropped {
            DroppedWriter::Plain(writer) => writer.finish()?,
            DroppedWriter::WithText(writer) => writer.finish()?,
        }
        self.quarantine.finish()?;
        self.text.map_or(Ok(()), TableWriter::finish)?;
        Ok(shards)
    }

    fn count_in(&self, row: &OutcomeRow<'_>, tally: &mut SourceTally) {
        if let Some(subset) = row.subset {
            tally.subset(subset).documents_in += 1;
        }
        if self.kind == SourceKind::Pile {
            let known = row.subset.is_some_and(pile::is_known_subset);
            tally.unknown_subset_documents += u64::from(!known);
        }
    }

    fn write_broken(
        &mut self,
        path: Arc<str>,
        row: &OutcomeRow<'_>,
        error: &str,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        tally.quarantined += 1;
        let name = row.reason.unwrap_or_default();
        tally.books3_quarantined += u64::from(UNJUDGED.contains(&name));
        tally.drop(Stages::READ, name, row.bytes_in, || DroppedSample {
            stage: self.stages.names()[Stages::READ].to_string(),
            reason: name.to_owned(),
            value: None,
            threshold: None,
            id: format!("{path}:{}", row.row),
            excerpt: row.raw.unwrap_or_default().chars().take(240).collect(),
        });
        self.quarantine.push(QuarantineRow {
            path,
            row: row.row.cast_signed(),
            error: error.to_owned(),
            raw: row.raw.unwrap_or_default().to_owned(),
        })
    }

    fn write_dropped(
        &mut self,
        path: Arc<str>,
        row: &OutcomeRow<'_>,
        stage: usize,
        reason: &str,
        duplicate_of: Option<String>,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        let name = self.stages.names()[stage].clone();
        tally.drop(stage, reason, row.bytes_in, || DroppedSample {
            stage: name.to_string(),
            reason: reason.to_owned(),
            value: row.value,
            threshold: row.threshold,
            id: row
                .id
                .map_or_else(|| format!("{path}:{}", row.row), str::to_owned),
            excerpt: row.excerpt.unwrap_or_default().to_owned(),
        });
        let dropped = DroppedRow {
            source: self.name.clone(),
            subset: row.subset.map(str::to_owned),
            path,
            row: row.row.cast_signed(),
            id: row.id.map(str::to_owned),
            stage: name,
            reason: reason.to_owned(),
            value: row.value,
            threshold: row.threshold,
            duplicate_of,
        };
        match &mut self.dropped {
            DroppedWriter::Plain(writer) => writer.push(dropped),
            DroppedWriter::WithText(writer) => {
                let text = row.text.unwrap_or_default().to_owned();
                writer.push(DroppedTextRow { dropped, text })
            }
        }
    }

    fn write_kept(
        &mut self,
        path: Arc<str>,
        row: &OutcomeRow<'_>,
        text_sha256: &str,
        tokens: &[u8],
        split: Split,
        tally: &mut SourceTally,
    ) -> Result<(), WriteError> {
        // Asked again of what is really written, by the rule that needs no text.
        let remaining = row.subset.is_some_and(says_books3);
        tally.books3_remaining += u64::from(remaining);
        let num_tokens = tokens.len() as u64 / self.settings.dtype.size();
        let license = self.license(row);
        count_kept(row, num_tokens, split, &license, tally);

        let shard_tokens = self.settings.wanted.shard_tokens;
        let output = self.split_output(split, num_tokens, shard_tokens)?;
        let number = output.tokens.num_documents().cast_signed();
        let num_tokens = output.tokens.push_bytes(tokens)?;
        let shard = output.shard;
        let name = self.name.clone();
        if let Some(writer) = &mut self.text {
            writer.push(TextRow {
                split,
                shard,
                document: number,
                subset: row.subset.map(str::to_owned),
                path: path.clone(),
                row: row.row.cast_signed(),
                id: row.id.map(str::to_owned),
                text: row.text.unwrap_or_default().to_owned(),
            })?;
        }
        let output = self.splits[split.index()].as_mut();
        output
            .expect("it was opened for the tokens")
            .documents
            .push(DocumentRow {
                document: number,
                source: name,
                subset: row.subset.map(str::to_owned),
                path,
                row: row.row.cast_signed(),
                id: row.id.map(str::to_owned),
                text_sha256: text_sha256.to_owned(),
                license,
                num_tokens,
            })
    }

    /// The writers of a split, new ones when the shard is full.
    fn split_output(
        &mut self,
        split: Split,
        num_tokens: u64,
        shard_tokens: u64,
    ) -> Result<&mut SplitOutput, WriteError> {
        let slot = &mut self.splits[split.index()];
        let full = slot.as_ref().is_some_and(|output| {
            let tokens = output.tokens.num_tokens();
            shard_tokens > 0 && tokens > 0 && tokens + num_tokens > shard_tokens
        });
        let shard = match slot {
            Some(output) if !full => output.shard,
            Some(output) => output.shard + 1,
            None => 0,
        };
        if full && let Some(output) = slot.take() {
            self.shards.push(output.finish(split)?);
        }
        if slot.is_none() {
            let number = (shard_tokens > 0).then_some(shard);
            let name = tokens_prefix(&self.name, split, number);
            let prefix = self.settings.folder.join(&name);
            let tokens = IndexedWriter::create(&prefix, self.settings.dtype)?;
            let table = crate::write::indexed::with_suffix(&prefix, ".documents.parquet");
            let documents = TableWriter::create(table)?;
            *slot = Some(SplitOutput {
                name,
                shard,
                tokens,
                documents,
            });
        }
        Ok(slot.as_mut().expect("it was filled just now"))
    }

    fn license(&mut self, row: &OutcomeRow<'_>) -> Arc<str> {
        // What the row itself states is nearer to the text than what its data set states.
        if let Some(license) = row.license {
            return license.into();
        }
        let subset = row.subset.map(str::to_owned);
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

impl SplitOutput {
    fn finish(self, split: Split) -> Result<Shard, WriteError> {
        let shard = Shard {
            split,
            prefix: self.name,
            documents: self.tokens.num_documents(),
            tokens: self.tokens.num_tokens(),
        };
        self.tokens.finish()?;
        self.documents.finish()?;
        Ok(shard)
    }
}

fn count_kept(
    row: &OutcomeRow<'_>,
    tokens: u64,
    split: Split,
    license: &str,
    tally: &mut SourceTally,
) {
    tally.documents_kept += 1;
    tally.bytes_kept += row.bytes_out;
    tally.special_tokens_found += row.special_tokens;
    tally.tokens_histogram.count(tokens);
    tally.characters_histogram.count(row.characters);
    let counts = &mut tally.splits[split.index()];
    counts.documents += 1;
    counts.tokens += tokens;
    if let Some(subset) = row.subset {
        let counts = tally.subset(subset);
        counts.documents_kept += 1;
        counts.tokens += tokens;
    }
    let counts = tally.license(row.subset.unwrap_or_default(), license);
    counts.documents += 1;
    counts.tokens += tokens;
}
