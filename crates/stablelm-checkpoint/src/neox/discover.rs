//! Which files of a folder belong to a GPT-NeoX checkpoint, told by their names alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

/// How a GPT-NeoX checkpoint is spread over files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NeoxLayout {
    /// One file a layer and rank: trained with pipeline modules.
    Layers,
    /// One file a rank.
    Single,
}

impl NeoxLayout {
    /// Returns the name on our command line and in our JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Layers => "layers",
            Self::Single => "single",
        }
    }
}

/// The files of one saved step.
#[derive(Debug, Default)]
pub(crate) struct StepFiles {
    /// `layer_{module}-model_{rank}-model_states.pt`, by module and rank.
    pub(crate) layers: BTreeMap<(usize, usize), PathBuf>,
    /// `mp_rank_{rank}_model_states.pt`.
    pub(crate) ranks: BTreeMap<usize, PathBuf>,
    /// `{bf16_}zero_pp_rank_{dp}_mp_rank_{rank}_optim_states.pt`, by rank and data-parallel rank.
    pub(crate) optimizers: BTreeMap<(usize, usize), PathBuf>,
    /// `configs/*.yml`, sorted.
    pub(crate) configs: Vec<PathBuf>,
    /// The number in the folder's name.
    pub(crate) step: Option<u64>,
}

impl StepFiles {
    /// Lists a folder; nothing is opened.
    pub(crate) fn list(folder: &Path) -> io::Result<Self> {
        let mut files = Self {
            step: folder.file_name().and_then(|name| step_of(name.to_str()?)),
            ..Self::default()
        };
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if let Some(place) = layer_and_rank(name) {
                files.layers.insert(place, path);
            } else if let Some(rank) = rank_of(name) {
                files.ranks.insert(rank, path);
            } else if let Some(place) = optimizer_place(name) {
                files.optimizers.insert(place, path);
            }
        }
        let configs = folder.join("configs");
        if configs.is_dir() {
            for entry in fs::read_dir(configs)? {
                let path = entry?.path();
                if path
                    .extension()
                    .is_some_and(|end| end == "yml" || end == "yaml")
                {
                    files.configs.push(path);
                }
            }
            files.configs.sort();
        }
        Ok(files)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.ranks.is_empty()
    }

    pub(crate) fn layout(&self) -> NeoxLayout {
        if self.layers.is_empty() {
            NeoxLayout::Single
        } else {
            NeoxLayout::Layers
        }
    }

    /// The ranks that weights are stored for.
    pub(crate) fn weight_ranks(&self) -> BTreeSet<usize> {
        match self.layout() {
            NeoxLayout::Layers => self.layers.keys().map(|&(_, rank)| rank).collect(),
            NeoxLayout::Single => self.ranks.keys().copied().collect(),
        }
    }
}

/// Returns what `latest` names, if it is the plain name of a folder beside it.
pub(crate) fn plain_name(tag: &str) -> Option<&str> {
    let mut components = Path::new(tag).components();
    let plain = matches!(components.next(), Some(Component::Normal(name)) if name == tag);
    // A backslash parts folders on one system only, and no tag has one.
    (plain && components.next().is_none() && !tag.contains(['\\', '\0'])).then_some(tag)
}

pub(crate) fn layer_file_name(module: usize, rank: usize) -> String {
    format!("layer_{module:02}-model_{rank:02}-model_states.pt")
}

pub(crate) fn rank_file_name(rank: usize) -> String {
    format!("mp_rank_{rank:02}_model_states.pt")
}

pub(crate) fn step_folder_name(step: u64) -> String {
    format!("global_step{step}")
}

/// Reads module and rank from the name of a layer's file.
pub(crate) fn layer_and_rank(name: &str) -> Option<(usize, usize)> {
    let middle = name
        .strip_prefix("layer_")?
        .strip_suffix("-model_states.pt")?;
    let (module, rank) = middle.split_once("-model_")?;
    Some((number(module)?, number(rank)?))
}

/// Reads the rank from the name of a state file.
pub(crate) fn rank_of(name: &str) -> Option<usize> {
    number(
        name.strip_prefix("mp_rank_")?
            .strip_suffix("_model_states.pt")?,
    )
}

/// Reads rank and data-parallel rank, which DeepSpeed calls `pp_rank`, from the name of an optimizer shard.
pub(crate) fn optimizer_place(name: &str) -> Option<(usize, usize)> {
    let middle = name.strip_prefix("bf16_").unwrap_or(name);
    let middle = middle
        .strip_prefix("zero_pp_rank_")?
        .strip_suffix("_optim_states.pt")?;
    let (data, rank) = middle.split_once("_mp_rank_")?;
    Some((number(rank)?, number(data)?))
}

pub(crate) fn optimizer_file_name(rank: usize, data: usize) -> String {
    format!("zero_pp_rank_{data}_mp_rank_{rank:02}_optim_states.pt")
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("global_step")?.parse().ok()
}

/// Reads a number of at most six digits; no checkpoint has more layers or ranks.
fn number(text: &str) -> Option<usize> {
    let digits = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<(usize, usize)>) {
        assert_eq!(layer_and_rank(name), expected, "{name}");
    }

    #[test]
    fn names_of_layer_files_are_told_from_others() {
        check("layer_02-model_01-model_states.pt", Some((2, 1)));
        check("layer_102-model_00-model_states.pt", Some((102, 0)));
        check(&layer_file_name(7, 3), Some((7, 3)));
        check("layer_-1-model_01-model_states.pt", None);
        check("layer_02-model_states.pt", None);
        check("mp_rank_00_model_states.pt", None);
        assert_eq!(rank_of(&rank_file_name(3)), Some(3));
        assert_eq!(
            rank_of("bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt"),
            None
        );
        let optimizer = "bf16_zero_pp_rank_3_mp_rank_01_optim_states.pt";
        assert_eq!(optimizer_place(optimizer), Some((1, 3)));
        assert_eq!(optimizer_place(&optimizer_file_name(1, 3)), Some((1, 3)));
        assert_eq!(step_of(&step_folder_name(12)), Some(12));
    }

    #[test]
    fn only_a_plain_name_is_followed() {
        assert_eq!(plain_name("global_step4"), Some("global_step4"));
        for tag in ["", ".", "..", "../x", "/etc", "a/b", "a/", "./a", "a\\b"] {
            assert_eq!(plain_name(tag), None, "{tag}");
        }
    }
}
