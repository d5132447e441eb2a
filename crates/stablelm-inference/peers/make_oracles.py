"""Makes the checkpoints and golden values in `fixtures/inference`: `make_oracles.py OUTPUT LLAMA_CPP`.

Golden values are those of Hugging Face transformers in f32 with eager attention, on random weights. LLAMA_CPP is the
source tree of llama.cpp, whose converter and quantizer make the GGUF file; its golden values are those of
transformers on the weights as `gguf` (llama.cpp's Python package) dequantizes them.

A seed of weights is taken when no step of a greedy path is decided by less than MARGIN, so that the paths are the
same in any f32 engine. llama.cpp runs every checkpoint too, in f32, and has to agree.
"""

import ctypes
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, StableLmConfig, StableLmForCausalLM
from transformers.models.stablelm import modeling_stablelm

MARGIN = 0.004
NEW_TOKENS = 64
LENGTHS = [1, 7, 64, 513]
LONG = 6001
SIZES = {"vocab_size": 128, "num_hidden_layers": 2, "hidden_act": "silu", "max_position_embeddings": 4096}
COMMON = {
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "hidden_dropout": 0.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "tie_word_embeddings": False,
    "use_cache": True,
}
STABLELM = {
    "architectures": ["StableLmForCausalLM"],
    "model_type": "stablelm",
    "partial_rotary_factor": 0.25,
    "qk_layernorm": False,
    "rope_theta": 10000,
    "torch_dtype": "bfloat16",
    "use_parallel_residual": False,
    "use_qkv_bias": False,
}
VARIANTS = {
    # Rotary base 1e6 and a context of 16,384 tokens; 10 of 40 dimensions turn.
    "stable-code-3b": STABLELM
    | {
        "hidden_size": 80,
        "intermediate_size": 96,
        "max_position_embeddings": 16384,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_theta": 1000000,
    },
    # Queries and keys normalized head by head, one norm for both branches, two query heads a key head.
    "2-12b": STABLELM
    | {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "qk_layernorm": True,
        "use_parallel_residual": True,
    },
    # GPT-NeoX whose MLP reads what attention has added.
    "neox-sequential": {
        "architectures": ["GPTNeoXForCausalLM"],
        "attention_bias": True,
        "hidden_act": "gelu",
        "hidden_size": 64,
        "intermediate_size": 256,
        "model_type": "gpt_neox",
        "num_attention_heads": 2,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "torch_dtype": "float16",
        "use_parallel_residual": False,
    },
    # Widths that blocks of 256 divide, for k-quants. With one layer, q4_k_m has matrices of q4_K and of q6_K.
    "gguf": STABLELM
    | {
        "hidden_size": 256,
        "intermediate_size": 256,
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "rope_theta": 500000,
        "vocab_size": 256,
    },
}


def make_model(config):
    """Makes an empty f32 model on eager attention."""
    if config["model_type"] == "gpt_neox":
        kind, settings = GPTNeoXForCausalLM, GPTNeoXConfig(**config)
    else:
        kind, settings = StableLmForCausalLM, StableLmConfig(**config)
        # 4.57.6 zeroes the bias of every norm it finds, and those of heads have none.
        modeling_stablelm.StableLmPreTrainedModel._init_weights = lambda self, module: None
    settings._attn_implementation = "eager"
    # Whatever the file's dtype is, the numbers are computed in f32.
    settings.torch_dtype = torch.float32
    return kind(settings).float().eval()


def random_weights(model, seed):
    """Draws weights under which every rule of the network shows in the logits, whose spread is about 2.5."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, mean, spread):
        return mean + spread * torch.randn(shape, generator=generator)

    weights = {}
    for name, value in model.state_dict().items():
        if value.ndim == 1:
            is_norm = "norm" in name and name.endswith("weight")
            weights[name] = normal(value.shape, 1.0 if is_norm else 0.0, 0.3 if is_norm else 0.2)
        elif "embed_tokens" in name or "embed_in" in name:
            weights[name] = normal(value.shape, 0.0, 1.0)
        else:
            gain = 2.2 if name in ("lm_head.weight", "embed_out.weight") else 1.2
            weights[name] = normal(value.shape, 0.0, gain / math.sqrt(value.shape[1]))
    return weights


def set_weights(model, weights):
    missing, unexpected = model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    assert not unexpected, unexpected
    assert all("rotary" in name or "bias" in name for name in missing), missing


@torch.no_grad()
def forward(model, ids):
    """Returns logits [len, vocab] and the hidden states of a prompt."""
    out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    return out.logits[0].float(), [state[0].float() for state in out.hidden_states]


@torch.no_grad()
def greedy(model, ids, eos=()):
    """Returns the greedy path with the log-probability of each token and the least lead of the best over the second."""
    path, logprobs, margin = [], [], math.inf
    out = model(torch.tensor([ids]), use_cache=True)
    while len(path) < NEW_TOKENS:
        logits = out.logits[0, -1].float()
        best, second = logits.topk(2).values
        margin = min(margin, (best - second).item())
        path.append(logits.argmax().item())
        logprobs.append(logits.log_softmax(-1)[path[-1]].item())
        if path[-1] in eos:
            break
        out = model(torch.tensor([path[-1:]]), past_key_values=out.past_key_values, use_cache=True)
    return path, logprobs, margin


def eager_long(model, ids):
    """As `forward` without hidden states, piece by piece: the whole score matrix of a long prompt is large."""
    with torch.no_grad():
        cache, pieces = None, []
        for start in range(0, len(ids), 512):
            out = model(torch.tensor([ids[start : start + 512]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            pieces.append(out.logits[0].float())
    return torch.cat(pieces)


def prompt_golden(index, model, half, ids, tensors):
    """Fills `tensors` and returns the JSON of one prompt, or None when a step of its path is too close."""
    path, logprobs, margin = greedy(model, ids)
    if margin < MARGIN:
        return None
    long = len(ids) > max(LENGTHS)
    if long:
        logits, half_logits = eager_long(model, ids), eager_long(half, ids)
    else:
        logits, hidden = forward(model, ids)
        half_logits, _ = forward(half, ids)
        tensors[f"p{index}.final_hidden_last"] = hidden[-1][-1].clone()
        if index == 1:
            tensors["p1.hidden"] = torch.stack(hidden)
    tensors[f"p{index}.logits_last"] = logits[-1].clone()
    if len(ids) <= 64:
        tensors[f"p{index}.logits_all"] = logits
    nll = -logits[:-1].log_softmax(-1).gather(1, torch.tensor(ids)[1:, None])[:, 0]
    if len(ids) > 1 and not long:
        tensors[f"p{index}.token_nll"] = nll
    mean = nll.double().mean().item() if len(ids) > 1 else None
    top = logits[-1].log_softmax(-1).topk(5)
    return {
        "ids": ids,
        "length": len(ids),
        "greedy": path,
        "greedy_logprob": [round(value, 6) for value in logprobs],
        "greedy_min_margin": round(margin, 5),
        "top5_ids": top.indices.tolist(),
        "top5_logprob": [round(value, 6) for value in top.values.tolist()],
        "mean_nll": mean and round(mean, 7),
        "perplexity": mean and round(math.exp(mean), 4),
        "logit_std": round(logits.std().item(), 4),
        "bf16_compute": {
            "max_abs_logit_diff": round((logits - half_logits).abs().max().item(), 4),
            "argmax_agree": round((logits.argmax(-1) == half_logits.argmax(-1)).float().mean().item(), 4),
        },
    }


def golden(model, half, prompts):
    """Returns the JSON of all prompts and the tensors, or None when a path is too close."""
    tensors, entries = {}, []
    for index, ids in enumerate(prompts):
        entry = prompt_golden(index, model, half, ids, tensors)
        if entry is None:
            return None
        entries.append(entry)
    return entries, tensors


def eos_cases(model, prompt):
    """One token that ends the text, and two of which the earlier one counts."""
    path, _, _ = greedy(model, prompt)
    first = {token: at for at, token in reversed(list(enumerate(path)))}
    late = max((at, token) for token, at in first.items() if at < 12)[1]
    early = max((at, token) for token, at in first.items() if at < 5)[1]
    cases = []
    for eos in (late, [late, early]):
        ends = eos if isinstance(eos, list) else [eos]
        cases.append({"prompt": 2, "eos_token_id": eos, "greedy": greedy(model, prompt, ends)[0]})
    return cases


def make_prompts(variant, vocab):
    generator = np.random.default_rng(len(variant))
    lengths = LENGTHS + ([LONG] if variant == "stable-code-3b" else [])
    return [generator.integers(1, vocab, length).tolist() for length in lengths]


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def write_checkpoint(folder, config, weights):
    folder.mkdir(parents=True, exist_ok=True)
    dtype = getattr(torch, config["torch_dtype"])
    # Sorted names, so that the file's bytes depend on nothing but the weights.
    stored = {name: weights[name].to(dtype).contiguous() for name in sorted(weights)}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    (folder / "generation_config.json").write_text('{\n  "bos_token_id": 0,\n  "eos_token_id": 0\n}\n')
    return stored


def about(variant, config, model, seed):
    return {
        "variant": variant,
        "architecture": config["architectures"][0],
        "parameters": sum(value.numel() for value in model.parameters()),
        "weight_seed": seed,
        "storage_dtype": config["torch_dtype"],
        "compute_dtype": "float32",
        "attention": "eager",
        "made_with": {
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
    }


def make_variant(output, llama_cpp, variant, config):
    folder = output / variant
    prompts = make_prompts(variant, config["vocab_size"])
    model, half = make_model(config), make_model(config).bfloat16()
    for seed in range(1, 200):
        weights = write_checkpoint(folder, config, random_weights(model, seed))
        set_weights(model, weights)
        set_weights(half, weights)
        found = golden(model, half, prompts)
        if found:
            break
    else:
        sys.exit(f"`{variant}`: every seed has a path that is too close")
    entries, tensors = found
    save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, folder / "golden.safetensors")
    write_json(
        folder / "golden.json",
        about(variant, config, model, seed) | {"prompts": entries, "eos_stop": eos_cases(model, prompts[2])},
    )
    check_with_llama_cpp(folder, llama_cpp, entries, tensors)


def gguf_weights(path, model):
    """Returns the weights of a GGUF file under transformers' names, dequantized, and the type of each tensor."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "output": "lm_head",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    weights, types = {}, {}
    for tensor in GGUFReader(path).tensors:
        *layer, name, part = tensor.name.removeprefix("blk.").split(".")
        prefix = f"model.layers.{layer[0]}." if layer else ""
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        shape = model.state_dict()[f"{prefix}{names[name]}.{part}"].shape
        weights[f"{prefix}{names[name]}.{part}"] = torch.from_numpy(values.reshape(shape).copy())
        types[tensor.name] = tensor.tensor_type.name
    return weights, types


def make_gguf(output, llama_cpp, config):
    """A q4_k_m file of llama.cpp's, and what transformers makes of its weights."""
    folder = output / "gguf"
    scratch = output / "gguf.scratch"
    prompts = make_prompts("gguf", config["vocab_size"])
    model, half = make_model(config), make_model(config).bfloat16()
    for seed in range(1, 200):
        write_checkpoint(scratch, config, random_weights(model, seed))
        run_to_gguf(scratch, scratch / "model", llama_cpp, "f32", "q4_k_m")
        weights, types = gguf_weights(scratch / "model-q4_k_m.gguf", model)
        set_weights(model, weights)
        set_weights(half, weights)
        found = golden(model, half, prompts)
        if found:
            break
        shutil.rmtree(scratch)
    else:
        sys.exit("`gguf`: every seed has a path that is too close")
    entries, tensors = found
    folder.mkdir(parents=True, exist_ok=True)
    stem = "stablelm-q4_k_m"
    shutil.copy(scratch / "model-q4_k_m.gguf", folder / f"{stem}.gguf")
    shutil.rmtree(scratch)
    keep = {name: tensors[name].contiguous() for name in sorted(tensors) if name.endswith("logits_last")}
    save_file(keep, folder / f"{stem}.golden.safetensors")
    facts = {"file": f"{stem}.gguf", "tensor_types": types}
    write_json(
        folder / f"{stem}.golden.json",
        about("gguf", config, model, seed) | facts | {"prompts": entries},
    )
    strays = llama_cpp_logits(folder / f"{stem}.gguf", entries)
    difference = max(np.abs(found - tensors[f"p{i}.logits_last"].numpy()).max() for i, found in enumerate(strays))
    print(f"gguf: seed {seed}, types {sorted(set(types.values()))}, llama.cpp strays by {difference:.3g}")


def run_to_gguf(model, stem, llama_cpp, *kinds):
    script = Path(__file__).with_name("to_gguf.py")
    command = [sys.executable, script, model, stem, llama_cpp, *kinds]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-3000:])


def llama_cpp_logits(path, entries):
    """Returns llama.cpp's logits of the last position of each prompt, with an f32 cache."""
    import llama_cpp as api

    quiet = api.llama_log_callback(lambda level, text, data: None)
    api.llama_log_set(quiet, None)
    parameters = api.llama_model_default_params()
    model = api.llama_model_load_from_file(str(path).encode(), parameters)
    context = api.llama_context_default_params()
    context.n_ctx, context.n_batch, context.n_ubatch = 8192, 512, 512
    context.type_k = context.type_v = api.GGML_TYPE_F32
    context.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = api.llama_init_from_model(model, context)
    size = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
    found = []
    for entry in entries:
        api.llama_memory_clear(api.llama_get_memory(context), True)
        for start in range(0, entry["length"], 512):
            ids = entry["ids"][start : start + 512]
            # The batch points to the ids and does not keep them.
            ids = (ctypes.c_int32 * len(ids))(*ids)
            assert api.llama_decode(context, api.llama_batch_get_one(ids, len(ids))) == 0
        logits = api.llama_get_logits_ith(context, -1)
        found.append(np.ctypeslib.as_array(logits, (size,)).copy())
    api.llama_free(context)
    api.llama_model_free(model)
    return found


def check_with_llama_cpp(folder, llama_cpp, entries, tensors):
    """llama.cpp in f32 must see the same model."""
    stem = folder / "check"
    run_to_gguf(folder, stem, llama_cpp, "f32")
    path = folder / "check-f32.gguf"
    found = llama_cpp_logits(path, entries)
    path.unlink()
    differences = [
        float(np.abs(logits - tensors[f"p{index}.logits_last"].numpy()).max()) for index, logits in enumerate(found)
    ]
    print(f"{folder.name}: llama.cpp strays by {[f'{value:.2g}' for value in differences]}")
    # llama.cpp looks GELU up in a table of f16, where GPT-NeoX means the exact function.
    if max(differences) > (1e-2 if folder.name.startswith("neox") else 1e-4):
        sys.exit(f"`{folder.name}`: transformers and llama.cpp do not agree")


def main():
    output, llama_cpp = map(Path, sys.argv[1:3])
    torch.set_num_threads(1)
    for variant, config in VARIANTS.items():
        config = COMMON | SIZES | config
        if variant == "gguf":
            make_gguf(output, llama_cpp, config)
        else:
            make_variant(output, llama_cpp, variant, config)


if __name__ == "__main__":
    main()
