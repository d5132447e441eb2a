//! The door to the `tokenizers` library: its errors, and the settings we take away from it.

use std::error::Error;
use std::fmt;

use serde_json::Value;
use tokenizers::normalizers::Precompiled;
use tokenizers::{ModelWrapper, PaddingParams, PostProcessorWrapper, TruncationParams};

/// What the underlying tokenizer library reported.
#[derive(Debug)]
pub struct EngineError(Box<dyn Error + Send + Sync>);

impl EngineError {
    pub(crate) fn new(error: tokenizers::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Reads a `tokenizer.json` into an engine that treats special tokens in a text as plain text.
///
/// Truncation, padding and the post-processor are left out: they only cut ids off or add some. So
/// is dropout, which makes ids random and belongs to training.
pub(crate) fn read_escaping(bytes: &[u8]) -> Result<tokenizers::Tokenizer, EngineError> {
    check_json(bytes).map_err(|error| EngineError(Box::new(error)))?;
    let mut engine = tokenizers::Tokenizer::from_bytes(bytes).map_err(EngineError::new)?;
    engine
        .with_truncation(None::<TruncationParams>)
        .map_err(EngineError::new)?
        .with_padding(None::<PaddingParams>)
        .with_post_processor(None::<PostProcessorWrapper>);
    let without_dropout = match engine.get_model() {
        ModelWrapper::BPE(model) if model.dropout.is_some() => {
            let mut model = model.clone();
            model.dropout = None;
            Some(model)
        }
        _ => None,
    };
    if let Some(model) = without_dropout {
        engine.with_model(model);
    }
    engine.set_encode_special_tokens(true);
    Ok(engine)
}

/// Refuses what the library would panic on: broken JSON inside the decoder, a character map in the
/// normalizer that can't be read, and merges that reach over the end of what they merge.
fn check_json(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let file: Value = serde_json::from_slice(bytes)?;
    check_normalizer(&file["normalizer"])?;
    check_merges(&file["model"])
}

/// Refuses a merge of two tokens that makes none, or whose right part is shorter than the prefix
/// that is cut off it.
fn check_merges(model: &Value) -> Result<(), serde_json::Error> {
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    let is_known = |token: &str| model["vocab"].get(token).is_some();
    for merge in model["merges"].as_array().into_iter().flatten() {
        let parts = match (merge.as_str(), merge.as_array().map(Vec::as_slice)) {
            (Some(both), _) => both.split_once(' '),
            (_, Some([left, right])) => left.as_str().zip(right.as_str()),
            _ => None,
        };
        // What is not of two known tokens, the library refuses.
        let parts = parts.filter(|(left, right)| is_known(left) && is_known(right));
        let Some((left, right)) = parts else {
            continue;
        };
        let whole = right
            .get(prefix.len()..)
            .map(|rest| format!("{left}{rest}"));
        if !whole.is_some_and(|whole| is_known(&whole)) {
            let message = format!("expected the merge of `{left}` and `{right}` in the vocabulary");
            return Err(serde::de::Error::custom(message));
        }
    }
    Ok(())
}

fn check_normalizer(normalizer: &Value) -> Result<(), serde_json::Error> {
    if normalizer["type"] == "Precompiled" {
        serde_json::from_str::<Precompiled>(&normalizer.to_string())?;
    }
    let parts = normalizer["normalizers"].as_array();
    parts.into_iter().flatten().try_for_each(check_normalizer)
}

/// Returns a copy of an engine that turns special tokens in a text into their ids.
pub(crate) fn to_encoding(escaping: &tokenizers::Tokenizer) -> tokenizers::Tokenizer {
    let mut engine = escaping.clone();
    engine.set_encode_special_tokens(false);
    engine
}
