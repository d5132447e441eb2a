//! What is refused before a byte is loaded.

use stablelm_inference::{KvDtype, LoadError, LoadOptions, TensorMismatch, WeightDtype, load};

use crate::source::{Weights, config};

#[track_caller]
fn check(change: impl Fn(&mut Weights), expected: Result<(), &str>) {
    let config = config(r#""model_type": "stablelm""#);
    let mut weights = Weights::random(&config, 1);
    change(&mut weights);
    let options = LoadOptions::default();
    let found = load(&config, &weights, &options).map(|_| ());
    let found = found.map_err(|error| error.to_string());
    assert_eq!(found, expected.map_err(str::to_owned));
}

#[test]
fn tensors_that_do_not_fit_are_listed_with_both_shapes() {
    check(|_| (), Ok(()));
    check(
        |weights| {
            weights.tensors.remove("lm_head.weight");
            let norm = weights.tensors.get_mut("model.norm.bias").unwrap();
            norm.0 = vec![47];
        },
        Err(
            "the tensors are not those of the configuration: `model.norm.bias` has shape [47], expected [48]; \
             `lm_head.weight` is missing, expected shape [96, 48]",
        ),
    );
    check(
        |weights| {
            weights.tensors.insert(
                "model.layers.2.x.weight".to_owned(),
                (vec![2], vec![0.0; 2]),
            );
        },
        Err(
            "the tensors are not those of the configuration: `model.layers.2.x.weight` of shape [2] has no place in \
             the network",
        ),
    );
    check(
        |weights| {
            weights.tensors.get_mut("model.norm.bias").unwrap().1.pop();
        },
        Err("tensor `model.norm.bias` has 188 bytes, expected 192"),
    );
}

#[test]
fn buffers_of_old_checkpoints_are_passed_over() {
    check(
        |weights| {
            for name in [
                "self_attn.rotary_emb.inv_freq",
                "attention.bias",
                "attention.masked_bias",
            ] {
                let name = format!("model.layers.0.{name}");
                weights.tensors.insert(name, (vec![1], vec![0.0]));
            }
        },
        Ok(()),
    );
}

#[test]
fn a_long_list_is_cut_in_the_message_but_not_in_the_error() {
    let config = config(r#""model_type": "gpt_neox""#);
    let options = LoadOptions::default();
    let error = load(&config, &Weights::default(), &options).unwrap_err();
    assert!(error.to_string().ends_with("; and 22 more"), "{error}");
    let LoadError::Mismatch { mismatches } = error else {
        panic!("{error}");
    };
    assert_eq!(mismatches.len(), 28);
    assert!(
        mismatches
            .iter()
            .all(|mismatch| matches!(mismatch, TensorMismatch::Missing { .. }))
    );
}

#[test]
fn a_configuration_of_absurd_size_is_refused_soon() {
    let config = config(r#""model_type": "stablelm", "num_hidden_layers": 1000000000"#);
    let options = LoadOptions::default();
    let error = load(&config, &Weights::default(), &options).unwrap_err();
    assert!(error.to_string().ends_with("; and 9994 more"), "{error}");
}

#[test]
fn keys_and_values_are_cached_as_it_is_said_or_beside_the_weights() {
    let config = config(r#""model_type": "stablelm""#);
    let weights = Weights::random(&config, 1);
    let check = |dtype, kv_dtype, expected| {
        let model = weights.load_with_cache(&config, dtype, kv_dtype);
        assert_eq!(model.kv_dtype(), expected, "{dtype} {kv_dtype:?}");
    };
    check(WeightDtype::F32, None, KvDtype::F32);
    check(WeightDtype::Bf16, None, KvDtype::F16);
    check(WeightDtype::Q8_0, None, KvDtype::F16);
    check(WeightDtype::F32, Some(KvDtype::F8), KvDtype::F8);
    check(WeightDtype::Bf16, Some(KvDtype::F32), KvDtype::F32);
}

#[test]
fn weight_bytes_are_those_of_the_dtype() {
    let config = config(r#""model_type": "stablelm""#);
    let weights = Weights::random(&config, 1);
    let (mut matrices, mut vectors) = (0, 0);
    for (shape, values) in weights.tensors.values() {
        *(if shape.len() == 2 {
            &mut matrices
        } else {
            &mut vectors
        }) += values.len() as u64;
    }
    let bytes = |dtype| weights.load(&config, dtype).weight_bytes();
    assert_eq!(bytes(WeightDtype::Auto), 4 * (matrices + vectors));
    assert_eq!(bytes(WeightDtype::Bf16), 2 * matrices + 4 * vectors);
}
