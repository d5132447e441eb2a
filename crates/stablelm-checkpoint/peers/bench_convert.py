"""Times `stablelm convert` beside `cp` of the same bytes and beside the Python way, on weights the size of the 3B.

    bench_convert.py --stablelm BINARY --folder FOLDER [--rounds 5] [--cases CASE,...]

makes random weights in the shape of StableLM-3B-4E1T (5.6 GB), turns them into GPT-NeoX checkpoints with one and with two
tensor-parallel ranks, and runs the sides of each case in turn. `just bench-convert` calls it. Needs Linux, 25 GB of disk
in FOLDER, numpy, and for the Python side torch and safetensors in the interpreter that runs it (without them that side
is left out). With FOLDER in memory, such as /dev/shm, no disk is in the way.

Before each run the input is read once, so that all sides find it in the page cache as far as it fits. `stablelm` waits
until its output is on disk, which `cp` does not: there is also `stablelm --no-sync`, to be compared with `cp`, and `cp`
with `sync` of what it copied, to be compared with `stablelm`. The Python side does not wait either. CPU is user
and system time of the process and its children; memory is the largest `RssAnon`, which leaves out pages of files. The
Python side is torch.load(mmap=True) of every layer file, the rows of query, key and value taken apart, and
safetensors.torch.save_file in shards of at most 5 GB; it checks and hashes nothing.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
HEADS, HEAD_DIM, HIDDEN = 32, 80, 2560
CASES = {
    "neox to safetensors": ("tp1", [], 1),
    "neox of two ranks to safetensors": ("tp2", [], 1),
    "safetensors to neox of four ranks": ("hf", ["--to", "neox", "--tensor-parallel", "4"], 1),
    "neox to safetensors in f32": ("tp1", ["--dtype", "f32"], 2),
    "neox to safetensors, verified": ("tp1", ["--verify"], 1),
}


def main():
    if sys.argv[1:2] == ["python-side"]:
        python_side(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = pathlib.Path
    parser.add_argument("--stablelm", type=path, default=path("target/release/stablelm"), help="the command to time")
    parser.add_argument("--folder", type=path, default=path("target/bench-convert"), help="where all files go")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs; the median counts")
    parser.add_argument("--cases", default=",".join(CASES), help="which of: " + "; ".join(CASES))
    parser.add_argument("--keep", action="store_true", help="leave the inputs for the next time")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| case | side | wall s | by cp's | by cp and sync's | CPU s (user + system) | user s | RssAnon MiB | runs |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in options.cases.split(","):
        bench(options, case, *CASES[case])
    if not options.keep:
        for name in ("hf", "tp1", "tp2"):
            shutil.rmtree(options.folder / name, ignore_errors=True)


def bench(options, case, name, arguments, copies):
    source = make(options, name)
    output = options.folder / "output"
    command = [str(options.stablelm), "convert", str(source), str(output), "-q", *arguments]
    sides = {"stablelm": command, "stablelm --no-sync": [*command, "--no-sync"]}
    copy = " && ".join(f"cp -r '{source}' '{output}/{nth}'" for nth in range(copies))
    sides["cp"] = ["sh", "-c", f"mkdir '{output}' && {copy}"]
    sides["cp and sync"] = ["sh", "-c", f"mkdir '{output}' && {copy} && find '{output}' -type f -exec sync {{}} +"]
    has_peer = all(importlib.util.find_spec(module) for module in ("torch", "safetensors"))
    if name == "tp1" and not arguments and has_peer:
        sides["python"] = [sys.executable, __file__, "python-side", str(source), str(output)]
    runs = {side: [] for side in sides}
    for turn in range(options.rounds):
        order = list(sides)
        # No side always follows the same other.
        for side in order[turn % len(order) :] + order[: turn % len(order)]:
            warm(source)
            runs[side].append(run(sides[side]))
            shutil.rmtree(output)
            os.sync()
    copied, synced = (statistics.median(run["wall"] for run in runs[side]) for side in ("cp", "cp and sync"))
    for side, measured in runs.items():
        median = {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        cpu = median["user"] + median["system"]
        walls = " ".join(f"{run['wall']:.1f}" for run in measured)
        print(
            f"| {case} | {side} | {median['wall']:.2f} | {median['wall'] / copied:.2f} | "
            f"{median['wall'] / synced:.2f} | {cpu:.2f} | {median['user']:.2f} | "
            f"{median['anonymous'] / 2**20:.0f} | {walls} |",
            flush=True,
        )


def make(options, name):
    """Makes an input that is not there yet."""
    folder = options.folder / name
    if folder.exists():
        return folder
    if name == "hf":
        maker = HERE.parent / "tests" / "random_3b.py"
        subprocess.run([sys.executable, str(maker), str(folder)], check=True)
        return folder
    source, ranks = make(options, "hf"), name.removeprefix("tp")
    command = [str(options.stablelm), "convert", str(source), str(folder), "-q", "--to", "neox"]
    subprocess.run([*command, "--tensor-parallel", ranks], check=True)
    return folder


def warm(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass


def run(command):
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    largest = [0]
    watcher = threading.Thread(target=watch, args=(child.pid, largest), daemon=True)
    watcher.start()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command} failed with {child.returncode}")
    watcher.join()
    return {"wall": wall, "user": usage.ru_utime, "system": usage.ru_stime, "anonymous": largest[0]}


def watch(pid, largest):
    while True:
        try:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        lines = [line.split() for line in status.splitlines() if line.startswith("RssAnon")]
        if not lines:
            return
        largest[0] = max(largest[0], int(lines[0][1]) * 1024)
        time.sleep(0.02)


def python_side(source, output):
    """What a person would write: one tensor-parallel rank, multi-head attention, `linear1` of up and gate."""
    import torch
    from safetensors.torch import save_file

    step = source / (source / "latest").read_text()
    files = {int(path.name.split("_")[1].split("-")[0]): path for path in step.glob("layer_*-model_00-*.pt")}
    tensors = {}
    for module, path in sorted(files.items()):
        for key, tensor in torch.load(path, weights_only=True, mmap=True).items():
            tensors.update(renamed(module, key, tensor, max(files)))
    output.mkdir(parents=True)
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        length = tensor.numel() * tensor.element_size()
        if shards[-1] and size + length > 5_000_000_000:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += length
    weight_map = {}
    for nth, shard in enumerate(shards, 1):
        name = f"model-{nth:05}-of-{len(shards):05}.safetensors"
        save_file(shard, output / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, name))
    (output / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def renamed(module, key, tensor, last):
    prefix = f"model.layers.{module - 2}."
    if module == 0:
        yield "model.embed_tokens.weight", tensor
    elif module == last:
        yield "lm_head.weight", tensor
    elif module == last - 1:
        yield "model." + key, tensor
    elif key == "attention.query_key_value.weight":
        parts = tensor.view(HEADS, 3, HEAD_DIM, HIDDEN)
        for nth, part in enumerate("qkv"):
            yield f"{prefix}self_attn.{part}_proj.weight", parts[:, nth].reshape(HIDDEN, HIDDEN)
    elif key == "attention.dense.weight":
        yield prefix + "self_attn.o_proj.weight", tensor
    elif key == "mlp.linear1.weight":
        up, gate = tensor.chunk(2)
        yield prefix + "mlp.up_proj.weight", up
        yield prefix + "mlp.gate_proj.weight", gate
    elif key == "mlp.linear2.weight":
        yield prefix + "mlp.down_proj.weight", tensor
    else:
        yield prefix + key, tensor


if __name__ == "__main__":
    main()
