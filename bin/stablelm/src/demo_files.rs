//! The fixtures that `stablelm demo` works on, built into the command so that it needs no checkout.

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../../fixtures/", $name)) as &[u8])),*]
    };
}

/// Every file with its path below `fixtures/`. A test compares the list with the folder.
pub(crate) const FILES: &[(&str, &[u8])] = files![
    "data/falcon-refinedweb/part-00000.parquet",
    "data/notes/notes.jsonl",
    "data/pile/00.jsonl.zst",
    "data/recipe.toml",
    "model/global_step0/configs/model.yml",
    "model/global_step0/layer_00-model_00-model_states.pt",
    "model/global_step0/layer_00-model_01-model_states.pt",
    "model/global_step0/layer_02-model_00-model_states.pt",
    "model/global_step0/layer_02-model_01-model_states.pt",
    "model/global_step0/layer_03-model_00-model_states.pt",
    "model/global_step0/layer_03-model_01-model_states.pt",
    "model/global_step0/layer_04-model_00-model_states.pt",
    "model/global_step0/layer_04-model_01-model_states.pt",
    "model/global_step0/layer_05-model_00-model_states.pt",
    "model/global_step0/layer_05-model_01-model_states.pt",
    "model/global_step0/layer_07-model_00-model_states.pt",
    "model/global_step0/layer_07-model_01-model_states.pt",
    "model/global_step0/layer_08-model_00-model_states.pt",
    "model/global_step0/layer_08-model_01-model_states.pt",
    "model/global_step0/mp_rank_00_model_states.pt",
    "model/global_step0/mp_rank_01_model_states.pt",
    "model/latest",
    "model/ledger.json",
    "tokenizer/tokenizer.json",
];
