"""Writes random bf16 weights in the shape of StableLM-3B-4E1T: 5.59 GB of safetensors and a config.json.

Run by hand, with numpy installed: python random_3b.py FOLDER
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

HIDDEN, INNER, LAYERS, HEADS, ROWS = 2560, 6912, 32, 32, 50304
ONE = 0x3F80  # 1.0 in bf16


def tensors():
    yield "model.embed_tokens.weight", (ROWS, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}{norm}.weight", (HIDDEN,)
            yield f"{prefix}{norm}.bias", (HIDDEN,)
        for projection in "qkvo":
            yield f"{prefix}self_attn.{projection}_proj.weight", (HIDDEN, HIDDEN)
        yield f"{prefix}mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "model.norm.bias", (HIDDEN,)
    yield "lm_head.weight", (ROWS, HIDDEN)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["StableLmForCausalLM"],
        "model_type": "stablelm",
        "vocab_size": ROWS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 4096,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors():
        end = offset + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = np.random.default_rng(0).standard_normal(1 << 24, dtype=np.float32) * np.float32(0.02)
    block = (values.view(np.uint32) >> 16).astype(np.uint16)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for turn, (name, shape) in enumerate(tensors()):
            count = int(np.prod(shape))
            if name.endswith("norm.weight"):
                file.write(np.full(count, ONE, np.uint16).tobytes())
                continue
            rolled = np.roll(block, 977 * turn)
            for start in range(0, count, len(block)):
                file.write(rolled[: min(len(block), count - start)].tobytes())


if __name__ == "__main__":
    main()
