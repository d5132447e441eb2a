"""Holds converted checkpoints against PyTorch and Hugging Face transformers. Run by hand.

    python peer_check.py torch CONVERTED ORIGINAL
        CONVERTED and ORIGINAL are folders of one GPT-NeoX step (global_stepN) with the same number of
        tensor-parallel ranks and the same naming. Every layer file is loaded with torch.load(weights_only=True), once
        as it is and once memory-mapped; names, order, dtypes, shapes and bytes must be equal file by file. The state
        files of the ranks must load the same way. ORIGINAL may keep all layers in its mp_rank files.

    python peer_check.py load CONVERTED
        As above without an original: everything in CONVERTED must load with weights_only=True.

    python peer_check.py logits CONVERTED INPUT_IDS.npy LOGITS.npy [REFERENCE]
        CONVERTED is a safetensors folder. transformers loads it in fp32 with neither missing nor unexpected keys, and
        its logits on INPUT_IDS must be within 1e-5 of LOGITS. With REFERENCE, another folder of the same model, the
        logits of both must be identical.

Needs torch, numpy, safetensors and transformers. Exits with 1 when something differs.
"""

import pathlib
import sys

import numpy
import torch


def layers_of(folder):
    """Every layer file's tensors, by (module, rank)."""
    files = {}
    for path in sorted(folder.glob("layer_*-model_*-model_states.pt")):
        layer, model, _ = path.stem.split("-", 2)
        files[number(layer), number(model)] = load(path)
    if not files:
        for path in sorted(folder.glob("mp_rank_*_model_states.pt")):
            rank = int(path.stem.split("_")[2])
            state = torch.load(path, weights_only=False)["module"]
            for name, tensor in state.items():
                _, module, key = name.split(".", 2)
                files.setdefault((int(module), rank), {})[key] = tensor
    return files


def number(part):
    return int(part.split("_")[1])


def load(path):
    plain = torch.load(path, weights_only=True)
    mapped = torch.load(path, weights_only=True, mmap=True)
    for key, tensor in plain.items():
        if isinstance(tensor, torch.Tensor):
            check(torch.equal(as_bytes(tensor), as_bytes(mapped[key])), f"{path}: {key} differs when mapped")
    return plain


def as_bytes(tensor):
    return tensor.contiguous().flatten().view(torch.uint8)


def check(good, message):
    if not good:
        sys.exit(f"different: {message}")


def compare_torch(converted, original):
    ours, theirs = layers_of(converted), layers_of(original)
    check(ours.keys() == theirs.keys(), f"files {sorted(ours)} and {sorted(theirs)}")
    count = 0
    for place, tensors in theirs.items():
        check(list(ours[place]) == list(tensors), f"{place}: names {list(ours[place])} and {list(tensors)}")
        for key, tensor in tensors.items():
            found = ours[place][key]
            same = found.dtype == tensor.dtype and found.shape == tensor.shape and found.is_contiguous()
            check(same and torch.equal(as_bytes(found), as_bytes(tensor)), f"{place}: {key}")
            count += 1
    print(f"equal: {count} tensors in {len(theirs)} files")
    load_states(converted)


def load_states(folder):
    for path in sorted(folder.glob("mp_rank_*_model_states.pt")):
        state = load(path)
        check(state["module"] is None, f"{path}: module is not None")
        print(path.name, state)


def load_all(folder):
    files = layers_of(folder)
    print(f"loaded: {sum(len(tensors) for tensors in files.values())} tensors in {len(files)} files")
    load_states(folder)


def logits_of(folder, input_ids):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        check(not info[kind], f"{kind} {info[kind]}")
    print(type(model).__name__, f"{sum(p.numel() for p in model.parameters())} parameters")
    with torch.no_grad():
        return model(torch.from_numpy(input_ids).long()).logits.numpy()


def compare_logits(converted, ids_path, logits_path, reference=None):
    input_ids, expected = numpy.load(ids_path), numpy.load(logits_path)
    found = logits_of(converted, input_ids)
    difference = float(numpy.abs(found - expected).max())
    agree = bool((found.argmax(-1) == expected.argmax(-1)).all())
    print(f"logits: largest difference {difference:.3g}, every argmax equal: {agree}")
    check(found.shape == expected.shape and difference <= 1e-5 and agree, "logits")
    if reference:
        check(numpy.array_equal(found, logits_of(reference, input_ids)), "logits of the reference")
        print("logits: identical to the reference's")


def main():
    what, *paths = sys.argv[1:]
    paths = [pathlib.Path(path) for path in paths]
    {"torch": compare_torch, "load": load_all, "logits": compare_logits}[what](*paths)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main()
