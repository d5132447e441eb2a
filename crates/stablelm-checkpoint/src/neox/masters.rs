//! The fp32 weights that the optimizer trained, out of DeepSpeed's shards (`ZeRO` stage 1, `BF16_Optimizer`).
//!
//! Every rank's parameters are laid end to end in one run of numbers a group (weights that decay, and the rest), in the
//! order of `param_shapes` in the rank's state file; the run is parted among the data-parallel ranks, with padding only
//! at its end (`zero/stage_1_and_2.py` and `bf16_optimizer.py` in `deepspeed/runtime`). Adam's moments are not
//! weights and are not read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use stablelm_model::Dtype;

use crate::neox::discover::{StepFiles, optimizer_file_name, rank_file_name};
use crate::neox::pickle::{Pickle, TensorView, Value, ValueId};
use crate::neox::read::{RankState, Reader, open_torch_file};
use crate::neox::source::Located;
use crate::neox::torch_file::{TorchFile, TorchFileError, record_name};
use crate::open::OpenError;
use crate::stored::{Piece, Stored};

/// Name and sizes of each parameter of a group, in the order of the run.
type Group = Vec<(String, Vec<usize>)>;

/// Reads the fp32 weights of all ranks and returns the number of tensor-parallel ranks.
pub(crate) fn read(
    folder: &Path,
    files: &StepFiles,
    model_parallel_size: usize,
    reader: &mut Reader,
    state: &mut RankState,
) -> Result<usize, OpenError> {
    let ranks: BTreeSet<usize> = files.optimizers.keys().map(|&(rank, _)| rank).collect();
    let num_files = ranks.last().map_or(0, |last| last + 1);
    if num_files == 0 {
        return Err(OpenError::NoMasterWeights {
            folder: folder.to_owned(),
        });
    }
    let num_parts = files.optimizers.keys().map(|&(_, data)| data + 1).max();
    let mut shapes = Vec::with_capacity(num_files);
    for rank in 0..num_files {
        let path = files.ranks.get(&rank);
        let path = path.ok_or_else(|| OpenError::MissingFile {
            path: folder.join(rank_file_name(rank)),
        })?;
        shapes.push(param_shapes(path, state)?);
    }
    let num_ranks = state.model_parallel_size.unwrap_or(model_parallel_size);
    let mut found: BTreeMap<(usize, String), BTreeMap<usize, Located>> = BTreeMap::new();
    for (rank, groups) in shapes.into_iter().enumerate() {
        let mut runs: Vec<Vec<Piece>> = vec![Vec::new(); groups.len()];
        for part in 0..num_parts.unwrap_or(0) {
            let path = files.optimizers.get(&(rank, part));
            let path = path.ok_or_else(|| OpenError::MissingFile {
                path: folder.join(prefix(files) + &optimizer_file_name(rank, part)),
            })?;
            read_part(path, reader, &mut runs)?;
        }
        let state_path = &files.ranks[&rank];
        for (group, run) in groups.into_iter().zip(&runs) {
            for (name, located) in cut(state_path, group, run)? {
                match module_name(&name) {
                    // With tied weights, the first and the last stage both hold the embedding.
                    Some(place) => {
                        let of_rank = found.entry(place).or_default();
                        of_rank.entry(rank % num_ranks.max(1)).or_insert(located);
                    }
                    None => reader.foreign.push((name, located)),
                }
            }
        }
    }
    for (place, ranks) in found {
        reader.found.insert(place, ranks.into_values().collect());
    }
    Ok(num_ranks)
}

fn prefix(files: &StepFiles) -> String {
    let first = files.optimizers.values().next();
    let name = first.and_then(|path| path.file_name()?.to_str());
    let is_bf16 = name.is_some_and(|name| name.starts_with("bf16_"));
    if is_bf16 { "bf16_" } else { "" }.to_owned()
}

/// Reads `sequential.{module}.{key}`, `{module}.{key}` of pipeline stages, and `tied_modules.embed.{key}`.
fn module_name(name: &str) -> Option<(usize, String)> {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let name = name.strip_prefix("sequential.").unwrap_or(name);
    if let Some(tied) = name.strip_prefix("tied_modules.") {
        let (_, key) = tied.split_once('.')?;
        return Some((0, key.to_owned()));
    }
    let (module, key) = name.split_once('.')?;
    Some((module.parse().ok()?, key.to_owned()))
}

/// Reads names and sizes of a rank's parameters from its state file.
fn param_shapes(path: &Path, state: &mut RankState) -> Result<Vec<Group>, OpenError> {
    let file = open_torch_file(path)?;
    let failed = |error| OpenError::torch_file(path, error);
    let pickle = file.pickle().map_err(failed)?;
    let step = state.read(&pickle);
    state.step = state.step.or(step);
    let groups = pickle.get(pickle.root(), "param_shapes");
    let groups = groups.and_then(|id| {
        let groups = pickle.items(id)?.iter();
        groups.map(|&group| group_shapes(&pickle, group)).collect()
    });
    groups.ok_or_else(|| {
        failed(TorchFileError::Content {
            expected: "`param_shapes`, which tells the parameters of the optimizer's groups",
        })
    })
}

fn group_shapes(pickle: &Pickle<'_>, group: ValueId) -> Option<Group> {
    let entries = pickle.entries(group)?.iter();
    entries
        .map(|&(name, sizes)| Some((pickle.text(name)?.to_owned(), pickle.sizes(sizes)?)))
        .collect()
}

/// Adds one data-parallel rank's part of each group's run.
fn read_part(path: &Path, reader: &mut Reader, runs: &mut [Vec<Piece>]) -> Result<(), OpenError> {
    let file = open_torch_file(path)?;
    let failed = |error| OpenError::torch_file(path, error);
    let index = reader.files.len();
    {
        let pickle = file.pickle().map_err(failed)?;
        let parts = pickle
            .get(pickle.root(), "optimizer_state_dict")
            .and_then(|state| pickle.get(state, "single_partition_of_fp32_groups"))
            .and_then(|groups| pickle.items(groups));
        let parts = parts.filter(|parts| parts.len() == runs.len());
        let parts = parts.ok_or_else(|| {
            failed(TorchFileError::Content {
                expected: "`single_partition_of_fp32_groups`, the fp32 weights of ZeRO stage 1, for each group",
            })
        })?;
        for (&part, run) in parts.iter().zip(runs) {
            run.push(piece(&file, &pickle, part, index).map_err(failed)?);
        }
    }
    reader.files.push(file);
    Ok(())
}

fn piece(
    file: &TorchFile,
    pickle: &Pickle<'_>,
    part: ValueId,
    index: usize,
) -> Result<Piece, TorchFileError> {
    let content = TorchFileError::Content {
        expected: "runs of fp32 numbers in `single_partition_of_fp32_groups`",
    };
    let Value::Tensor(view) = pickle.value(part) else {
        return Err(content);
    };
    let (&[num_elements], [stride], Dtype::F32) =
        (view.shape.as_slice(), view.strides.as_slice(), view.dtype)
    else {
        return Err(content);
    };
    if *stride != 1 && num_elements > 1 {
        return Err(content);
    }
    file.check("single_partition_of_fp32_groups", view)?;
    Ok(Piece {
        file: index,
        record: record_name(view),
        start: view.offset * Dtype::F32.width(),
        num_elements,
    })
}

/// Cuts a group's run into parameters.
fn cut(path: &Path, group: Group, run: &[Piece]) -> Result<Vec<(String, Located)>, OpenError> {
    let found: usize = run.iter().map(|piece| piece.num_elements).sum();
    let mut start = 0;
    let mut cut = Vec::with_capacity(group.len());
    for (name, shape) in group {
        let num_elements = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        let end = num_elements.and_then(|len| start_of_next(start, len, found));
        let Some(end) = end else {
            return Err(OpenError::MasterLength {
                path: path.to_owned(),
                tensor: name,
                found,
            });
        };
        cut.push((name.clone(), located(&name, shape, run, start, end)));
        start = end;
    }
    Ok(cut)
}

fn start_of_next(start: usize, len: usize, found: usize) -> Option<usize> {
    start.checked_add(len).filter(|&end| end <= found)
}

fn located(name: &str, shape: Vec<usize>, run: &[Piece], start: usize, end: usize) -> Located {
    let mut pieces = Vec::new();
    let mut before = 0;
    for piece in run {
        let first = start.clamp(before, before + piece.num_elements);
        let last = end.clamp(before, before + piece.num_elements);
        if first < last {
            pieces.push(Piece {
                file: piece.file,
                record: piece.record.clone(),
                start: piece.start + (first - before) * Dtype::F32.width(),
                num_elements: last - first,
            });
        }
        before += piece.num_elements;
    }
    let mut strides = vec![1; shape.len()];
    for nth in (1..shape.len()).rev() {
        strides[nth - 1] = strides[nth] * shape[nth];
    }
    Located {
        file: pieces.first().map_or(0, |piece| piece.file),
        view: TensorView {
            storage: String::new(),
            dtype: Dtype::F32,
            storage_len: end - start,
            offset: 0,
            shape,
            strides,
        },
        stored: Arc::new(Stored {
            name: name.to_owned(),
            dtype: Dtype::F32,
            pieces,
        }),
        is_master: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<(usize, &str)>) {
        let found = module_name(name);
        let found = found.as_ref().map(|(module, key)| (*module, key.as_str()));
        assert_eq!(found, expected, "{name}");
    }

    #[test]
    fn names_of_parameters_are_read_in_every_form() {
        check("sequential.2.mlp.w1.weight", Some((2, "mlp.w1.weight")));
        check("2.mlp.w1.weight", Some((2, "mlp.w1.weight")));
        check("module.sequential.0.a", Some((0, "a")));
        let tied = "tied_modules.embed.word_embeddings.weight";
        check(tied, Some((0, "word_embeddings.weight")));
        check("mlp.w1.weight", None);
        check("weight", None);
    }

    #[test]
    fn a_parameter_may_lie_across_parts() {
        let part = |file, num_elements| Piece {
            file,
            record: "data/0".to_owned(),
            start: 40,
            num_elements,
        };
        let run = [part(0, 5), part(1, 5), part(2, 5)];
        let found = located("x", vec![2, 4], &run, 4, 12).stored;
        let found: Vec<_> = found
            .pieces
            .iter()
            .map(|piece| (piece.file, piece.start, piece.num_elements))
            .collect();
        assert_eq!(found, [(0, 56, 1), (1, 40, 5), (2, 40, 2)]);
        let group = |sizes: &[usize]| vec![("x".to_owned(), sizes.to_vec())];
        assert!(cut(Path::new("p"), group(&[3, 5]), &run).is_ok());
        assert!(cut(Path::new("p"), group(&[4, 4]), &run).is_err());
        assert!(cut(Path::new("p"), group(&[usize::MAX, 2]), &run).is_err());
    }
}
