//! Reads all tensors of a checkpoint for what is noted of them.

use std::num::NonZeroUsize;

use rayon::prelude::*;
use stablelm_model::{Dtype, Parameter, parameters};

use crate::convert::journal::Noted;
use crate::convert::lane::{Lane, Piece};
use crate::convert::plan::Content;
use crate::convert::run::NonFinite;
use crate::convert::{ConvertError, thread_pool};
use crate::hash::TensorHashes;
use crate::open::Checkpoint;

/// What is noted of a checkpoint's tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The digests that a conversion notes: they don't depend on format, ranks or files.
    pub hashes: TensorHashes,
    /// Tensors that hold NaN or infinity.
    pub warnings: Vec<NonFinite>,
}

/// Reads every parameter of a checkpoint, on several threads.
///
/// With `matrices`, the warnings are of matrices as they are in that dtype, in which large numbers may become infinite.
pub fn survey(
    checkpoint: &Checkpoint,
    matrices: Option<Dtype>,
    threads: NonZeroUsize,
) -> Result<Survey, ConvertError> {
    let content = |parameter: Parameter| {
        let name = parameter.name;
        let info = checkpoint.source().info(&name);
        let info = info.expect("opening found every parameter");
        let placement = checkpoint.placement(&name);
        let matrices = matrices.filter(|_| info.shape.len() == 2);
        Content {
            placement: placement.expect("opening placed every parameter"),
            dtype: matrices.unwrap_or(info.dtype),
            parameter: name,
            info,
        }
    };
    let contents: Vec<Content> = parameters(checkpoint.config()).map(content).collect();
    // Two are hashed in little more time than one.
    let pairs = contents.par_chunks(2);
    let pool = thread_pool(threads.get())?;
    let noted: Result<Vec<Vec<Noted>>, _> =
        pool.install(|| pairs.map(|pair| read(checkpoint, pair)).collect());
    let noted = noted?.into_iter().flatten();
    let noted: Vec<(&Content, Noted)> = contents.iter().zip(noted).collect();
    let hash = |(content, noted): &(&Content, Noted)| {
        let hash = content.hash(content.info.dtype, &noted.source);
        (content.parameter.clone(), hash)
    };
    let warning = |(content, noted): &(&Content, Noted)| noted.warning(&content.parameter);
    Ok(Survey {
        hashes: TensorHashes::new(noted.iter().map(hash).collect()),
        warnings: noted.iter().filter_map(warning).collect(),
    })
}

/// Reads some parameters side by side.
fn read(checkpoint: &Checkpoint, contents: &[Content]) -> Result<Vec<Noted>, ConvertError> {
    let lanes = contents.iter();
    let mut lanes: Vec<Lane<'_>> = lanes
        .map(|content| Lane::new(checkpoint, content))
        .collect();
    loop {
        let pieces: Result<Vec<_>, _> = lanes.iter_mut().map(Lane::next).collect();
        let mut pieces = pieces?;
        if pieces.iter().all(Option::is_none) {
            break;
        }
        Piece::hash_each(pieces.iter_mut().flatten());
    }
    Ok(lanes.into_iter().map(Lane::finish).collect())
}
