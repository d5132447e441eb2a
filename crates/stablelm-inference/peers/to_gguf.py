"""Makes GGUF files with llama.cpp's own tools: `to_gguf.py MODEL STEM LLAMA_CPP [TYPE...]`.

MODEL is a folder with config.json and safetensors, LLAMA_CPP the source tree of llama.cpp (the source package of
llama-cpp-python has it in `vendor/llama.cpp`). Writes STEM-TYPE.gguf for each TYPE of f32, bf16, q8_0 and q4_k_m
that is not there; bf16, q8_0 and q4_k_m without TYPE. A model without a tokenizer gets a file without a vocabulary.

The quantized files come from the bf16 one, or from the f32 one where that is what was asked for.
"""

import json
import runpy
import sys
from pathlib import Path

FILE_TYPES = {"q8_0": 7, "q4_k_m": 15}


def convert(model, path, llama_cpp, kind):
    """llama.cpp's converter, but a vocabulary may be absent, and rope_theta and the norms of heads are kept."""
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    from conversion.gptneox import GPTNeoXModel
    from conversion.stablelm import StableLMModel

    config = json.loads((model / "config.json").read_text())

    def no_vocabulary(self):
        self._set_vocab_none()
        self.gguf_writer.add_vocab_size(config["vocab_size"])

    if not (model / "tokenizer.json").is_file():
        StableLMModel.set_vocab = GPTNeoXModel.set_vocab = no_vocabulary
    parameters = StableLMModel.set_gguf_parameters

    def with_rotary_base(self):
        parameters(self)
        self.gguf_writer.add_rope_freq_base(config.get("rope_theta", 10000.0))

    StableLMModel.set_gguf_parameters = with_rotary_base
    tensors = StableLMModel.modify_tensors

    def with_head_norms(self, *arguments):
        # The stacked norms are what its generator returns, where they should be what it yields.
        stacked = yield from tensors(self, *arguments)
        yield from stacked or ()

    StableLMModel.modify_tensors = with_head_norms
    sys.argv = ["convert_hf_to_gguf.py", "--outtype", kind, "--outfile", str(path), str(model)]
    runpy.run_path(str(llama_cpp / "convert_hf_to_gguf.py"), run_name="__main__")


def quantize(source, path, kind):
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = FILE_TYPES[kind]
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(path).encode(), parameters)
    if code != 0:
        sys.exit(f"llama.cpp could not quantize `{source}`: code {code}")


def main():
    model, stem, llama_cpp = map(Path, sys.argv[1:4])
    kinds = sys.argv[4:] or ["bf16", "q8_0", "q4_k_m"]
    source = "f32" if "f32" in kinds else "bf16"
    for kind in [source] + [kind for kind in kinds if kind != source]:
        path = stem.with_name(f"{stem.name}-{kind}.gguf")
        if path.exists():
            continue
        # A file gets its name when it is whole; the converter looks at nothing but the name's end.
        partial = stem.with_name(f"{stem.name}-{kind}.partial.gguf")
        if kind == source:
            convert(model, partial, llama_cpp, kind)
        else:
            quantize(stem.with_name(f"{stem.name}-{source}.gguf"), partial, kind)
        partial.rename(path)


if __name__ == "__main__":
    main()
