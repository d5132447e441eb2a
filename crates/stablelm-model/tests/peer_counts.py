"""Prints parameter counts by Hugging Face transformers for the configurations in `it/params.rs`.

Run by hand: pip install torch "transformers>=5", then `python peer_counts.py`.
"""

import torch
from transformers import AutoModelForCausalLM, GPTNeoXConfig, StableLmConfig

CONFIGS = {
    "stablelm-3b-4e1t": StableLmConfig(
        vocab_size=50304, hidden_size=2560, intermediate_size=6912, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=32,
    ),
    "stablelm-2-1_6b": StableLmConfig(
        vocab_size=100352, hidden_size=2048, intermediate_size=5632, num_hidden_layers=24,
        num_attention_heads=32, num_key_value_heads=32, use_qkv_bias=True,
    ),
    "stablelm-2-12b": StableLmConfig(
        vocab_size=100352, hidden_size=5120, intermediate_size=13824, num_hidden_layers=40,
        num_attention_heads=32, num_key_value_heads=8, qk_layernorm=True, use_parallel_residual=True,
    ),
    "stablelm-base-alpha-3b": GPTNeoXConfig(
        vocab_size=50688, hidden_size=4096, intermediate_size=16384, num_hidden_layers=16,
        num_attention_heads=32,
    ),
}


def main():
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        print(name, sum(parameter.numel() for parameter in model.parameters()))


if __name__ == "__main__":
    main()
