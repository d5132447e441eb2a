//! GPT-NeoX checkpoints: folders of PyTorch files, one a layer and tensor-parallel rank.

pub(crate) mod archive;
pub(crate) mod discover;
mod masters;
pub(crate) mod names;
pub(crate) mod partitions;
pub(crate) mod pickle;
mod place;
pub(crate) mod read;
pub(crate) mod source;
pub(crate) mod torch_file;
pub(crate) mod write;
