//! Which tokenizers the fast engine can stand in for: the family of GPT-2 and GPT-NeoX.
//!
//! NFC or nothing, byte level with the pattern of GPT-2, byte pair encoding, and added tokens that
//! are plain text. Whatever is not exactly that is left to the library.

use serde_json::Value;

use super::bpe::{Merges, NUM_BYTES, Unsuited};
use super::file::{self, AddedToken, File};
use super::unicode::nfc;
use crate::decode::byte_of;

/// Why a tokenizer is left to the library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("the file is no byte pair encoding: {0}")]
    File(String),
    #[error("its {part} is `{found}`")]
    Part { part: &'static str, found: String },
    #[error("`{setting}` is set")]
    Setting { setting: &'static str },
    #[error("the byte {byte:#04x} has no token")]
    NoByte { byte: u8 },
    #[error("its merges can't be carried out by rank: {0:?}")]
    Merges(Unsuited),
    #[error("merge {rank} is no pair of tokens")]
    Merge { rank: usize },
    #[error("the id of `{token}` is over 65535")]
    Id { token: String },
    #[error("the added token `{token}` is more than plain text")]
    Added { token: String },
}

/// A tokenizer of the family, as what it does.
pub(crate) struct Family {
    pub(crate) merges: Merges,
    /// The id of each symbol.
    pub(crate) ids: Vec<u16>,
    /// Whether text is brought into NFC.
    pub(crate) has_nfc: bool,
    /// Tokens that are cut from the text as it is.
    pub(crate) raw: Vec<Added>,
    /// Tokens that are cut from it in NFC; none has a space.
    pub(crate) normalized: Vec<Added>,
    /// The ids of runs of two and more spaces.
    pub(crate) runs: Vec<u16>,
}

/// An added token that is plain text.
pub(crate) struct Added {
    pub(crate) text: String,
    pub(crate) id: u16,
    pub(crate) is_special: bool,
}

impl Family {
    /// Takes a parsed `tokenizer.json`.
    pub(crate) fn new(file: &File<'_>) -> Result<Self, Foreign> {
        let has_nfc = check_pipeline(file)?;
        let (merges, ids) = read_merges(&file.model)?;
        let mut family = Self {
            merges,
            ids,
            has_nfc,
            raw: Vec::new(),
            normalized: Vec::new(),
            runs: Vec::new(),
        };
        let mut added: Vec<_> = file.added_tokens.iter().collect();
        // Runs of spaces come in the order of their lengths.
        added.sort_by_key(|token| (token.content.len(), token.id));
        for token in added {
            family.add(token)?;
        }
        Ok(family)
    }

    fn add(&mut self, token: &AddedToken) -> Result<(), Foreign> {
        let text = token.content.clone();
        let foreign = || Foreign::Added {
            token: text.clone(),
        };
        let id = u16::try_from(token.id).map_err(|_| Foreign::Id {
            token: text.clone(),
        })?;
        let is_plain = !token.single_word && !token.lstrip && !token.rstrip && !text.is_empty();
        // A special token that text can spell in its own tokens can't be escaped.
        if !is_plain || (token.special && self.ids.contains(&id)) {
            return Err(foreign());
        }
        if token.normalized && text.bytes().all(|byte| byte == b' ') {
            if text.len() != self.runs.len() + 2 || token.special {
                return Err(foreign());
            }
            self.runs.push(id);
            return Ok(());
        }
        let added = Added {
            id,
            is_special: token.special,
            text: text.clone(),
        };
        if !token.normalized {
            self.raw.push(added);
        } else if text.contains(' ') || (self.has_nfc && nfc(&text) != text) {
            return Err(foreign());
        } else {
            self.normalized.push(added);
        }
        Ok(())
    }
}

/// Checks everything around the model; returns whether text is normalized.
fn check_pipeline(file: &File<'_>) -> Result<bool, Foreign> {
    let foreign = |part: &'static str, value: &Value| Foreign::Part {
        part,
        found: value["type"].as_str().unwrap_or("nothing").to_owned(),
    };
    let setting = |setting| Err(Foreign::Setting { setting });
    if file.version != "1.0" || !file.has_ids_of_library() {
        return setting("a version or an id of its own");
    }
    let has_nfc = file.normalizer["type"] == "NFC";
    if !has_nfc && !file.normalizer.is_null() {
        return Err(foreign("normalizer", &file.normalizer));
    }
    if file.pre_tokenizer["type"] != "ByteLevel" {
        return Err(foreign("pre-tokenizer", &file.pre_tokenizer));
    }
    if file.decoder["type"] != "ByteLevel" {
        return Err(foreign("decoder", &file.decoder));
    }
    if file.pre_tokenizer["add_prefix_space"] != false {
        return setting("add_prefix_space");
    }
    if file.pre_tokenizer["use_regex"] == false {
        return setting("use_regex: false");
    }
    let model = &file.model;
    if model.r#type != "BPE" {
        return Err(Foreign::Part {
            part: "model",
            found: model.r#type.clone(),
        });
    }
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if is_set(&model.continuing_subword_prefix) {
        return setting("continuing_subword_prefix");
    }
    if is_set(&model.end_of_word_suffix) {
        return setting("end_of_word_suffix");
    }
    if model.ignore_merges == Some(true) {
        return setting("ignore_merges");
    }
    Ok(has_nfc)
}

/// Stands for the id of a byte that is in no text.
const NO_ID: u16 = u16::MAX;

fn read_merges(model: &file::Model<'_>) -> Result<(Merges, Vec<u16>), Foreign> {
    let id_of = |token: &str| -> Result<Option<u16>, Foreign> {
        let id = model.vocab.get(token).copied();
        id.map(u16::try_from).transpose().map_err(|_| Foreign::Id {
            token: token.to_owned(),
        })
    };
    let mut ids = vec![NO_ID; NUM_BYTES];
    for character in (0..0x144).filter_map(char::from_u32) {
        let Some(byte) = byte_of(character) else {
            continue;
        };
        match id_of(character.encode_utf8(&mut [0; 2]))? {
            Some(id) => ids[usize::from(byte)] = id,
            // These are in no UTF-8.
            None if matches!(byte, 0xC0 | 0xC1 | 0xF5..) => {}
            None => return Err(Foreign::NoByte { byte }),
        }
    }
    let mut merges = Vec::with_capacity(model.merges.len());
    let mut token = String::new();
    for (rank, merge) in model.merges.iter().enumerate() {
        let foreign = Foreign::Merge { rank };
        let (left, right) = merge.parts().ok_or(foreign.clone())?;
        token.clear();
        token.extend([left, right]);
        let id = id_of(&token)?.ok_or(foreign.clone())?;
        let pair = bytes_of(left).zip(bytes_of(right)).ok_or(foreign)?;
        merges.push(pair);
        ids.push(id);
    }
    let merges = Merges::new(&merges).map_err(Foreign::Merges)?;
    Ok((merges, ids))
}

fn bytes_of(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}
