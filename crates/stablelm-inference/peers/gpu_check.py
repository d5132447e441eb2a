"""Checks and times the CUDA backend on a machine with a GPU: `gpu_check.py --folder FOLDER [--stablelm S] ...`.

In order, each with its own line of the outcome, and one that fails keeps none from running:

1. the device: its name, and what a copy within its memory reaches in bytes a second;
2. the device tests of the crate (`--tests`, a test executable; made by cargo where none is given);
3. every checkpoint with golden values (`--oracles`, folders with config.json, model.safetensors, golden.json): logits and
   the greedy path, on the GPU and on the processor, in f32 (1e-3, the same path) and bf16 (0.26, what transformers
   itself strays by);
4. `compute-sanitizer` over one of them, where it is installed;
5. a model of random weights in the shape of StableLM-3B-4E1T (`--make-model`): decoding at contexts of 8 and 4,096 tokens
   (there with a cache of 8 bits as well), prefill of 2,048, 16 prompts side by side, in bf16, q8_0 and q4_k, against the bytes that must be read;
6. the same with launches that overlap and with launches that do not: tokens have to be the same;
7. decoding, prefill and a batch of 16 in transformers, eager and compiled with a static cache, and the rate of a large
   product in bf16, where torch finds the GPU;
8. what was measured beside what the backend is meant to reach.

It is meant to take ten minutes on a machine that has the binaries; cargo may take as long again to make them. It has not
run on a device yet. Everything that was found is in FOLDER/outcome.json. Only the standard library is needed; step 7 runs
in the interpreter of `--python`.
"""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
# Largest difference allowed in a log-probability.
TOLERANCES = {"f32": 1e-3, "bf16": 0.26}
# Of one decoded token of StableLM-3B-4E1T: all matrices but the embedding, and the numbers in the cache of one position.
WEIGHTS_PER_TOKEN = 2_666_664_960
CACHED_PER_POSITION = 2 * 2560 * 32
# Of one position of a prompt: all of them but the head, which the last one alone needs.
WEIGHTS_PER_POSITION = WEIGHTS_PER_TOKEN - 50_304 * 2560
BATCH = 16
# Shares of what a copy reaches that decoding is meant to reach; of the rate of a large product, prefill; and how many times
# the rate of one sequence a batch is meant to have.
DECODE_BARS = {
    "bf16 decode at 8, f16 cache": 0.85,
    f"bf16 decode at {4096 - 130}, f16 cache": 0.80,
    "q8_0 decode at 8, f16 cache": 0.75,
    "q4_k decode at 8, f16 cache": 0.60,
}
PREFILL_BAR, BATCH_BAR = 0.6, 10
BITS = {"bf16": 16, "q8_0": 8.5, "q4_k": 4.625}


def run(words, timeout=600, **options):
    """Returns what a command prints; raises with the end of what it says on stderr."""
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-1500:]}{done.stdout[-500:]}")
    return done.stdout


def device(options):
    """Measures a copy from one half of 2 GiB to the other; bytes read and bytes written both count."""
    cuda = ctypes.CDLL("libcuda.so.1")

    def check(code):
        if code != 0:
            raise RuntimeError(f"the CUDA driver gave {code}")

    number, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    check(cuda.cuInit(0))
    check(cuda.cuDeviceGet(ctypes.byref(number), options.ordinal))
    name = ctypes.create_string_buffer(256)
    check(cuda.cuDeviceGetName(name, 256, number))
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), number))
    check(cuda.cuCtxSetCurrent(context))
    half = 1 << 30
    check(cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(2 * half)))
    copy = [ctypes.c_uint64(memory.value + half), memory, ctypes.c_size_t(half), None]
    best = 0
    for _ in range(10):
        begin = time.perf_counter()
        for _ in range(8):
            check(cuda.cuMemcpyDtoDAsync_v2(*copy))
        check(cuda.cuCtxSynchronize())
        best = max(best, 8 * 2 * half / (time.perf_counter() - begin))
    check(cuda.cuMemFree_v2(memory))
    check(cuda.cuDevicePrimaryCtxRelease_v2(number))
    options.copy_bytes_per_s = best
    return {"device": name.value.decode(), "copy_bytes_per_s": best}


def device_tests(options):
    command = [options.tests] if options.tests else ["cargo", "test", "-p", "stablelm-inference", "--lib", "--"]
    said = run([*command, "cuda::tests::device", "--nocapture"], cwd=HERE.parent)
    if "skipped:" in said:
        raise RuntimeError("the tests found no device")
    return {"said": [line for line in said.splitlines() if line.startswith("test result")]}


def generated(options, folder, golden, device, dtype):
    ids = ",".join(map(str, golden["ids"]))
    words = [options.stablelm, "run", "--model", folder, "--prompt-ids", ids, "--device", device, "--dtype", dtype]
    words += ["--greedy", "--ignore-eos", "--max-new-tokens", len(golden["greedy"]), "--logprobs", 5, "--echo", "--json", "-q"]
    return json.loads(run(words))


def worst_difference(one, other):
    """Returns the largest difference of a log-probability of the prompt, and of new tokens as far as they agree."""
    worst = 0.0
    for here, there in zip(one["prompt_logprobs"][1:], other["prompt_logprobs"][1:]):
        worst = max(worst, abs(here["logprob"] - there["logprob"]))
    for here, there in zip(one["logprobs"], other["logprobs"]):
        if here["id"] != there["id"]:
            break
        worst = max(worst, abs(here["logprob"] - there["logprob"]))
    return worst


def oracles(options):
    outcome, failures = {}, []
    for golden_path in sorted(path for folder in options.oracles for path in Path(folder).glob("*/golden.json")):
        folder = golden_path.parent
        prompts = json.loads(golden_path.read_text())["prompts"]
        for dtype, tolerance in TOLERANCES.items():
            worst, same = 0.0, 0
            for golden in prompts:
                here = generated(options, folder, golden, options.device, dtype)
                there = generated(options, folder, golden, "cpu", dtype)
                worst = max(worst, worst_difference(here, there))
                same += here["ids"] == (golden["greedy"] if dtype == "f32" else there["ids"])
            outcome[f"{folder.name} {dtype}"] = {"worst": worst, "same_path": same, "prompts": len(prompts)}
            if worst > tolerance or (dtype == "f32" and same < len(prompts)):
                failures.append(f"{folder.name} {dtype}: worst {worst}, {same} of {len(prompts)} paths")
    if failures or not outcome:
        raise RuntimeError("; ".join(failures) or "no golden values were found")
    return outcome


def sanitizer(options):
    # Where CUDA's installer leaves it, on machines whose PATH does not say so.
    program = shutil.which("compute-sanitizer", path=f"{os.environ.get('PATH', '')}:/usr/local/cuda/bin")
    if program is None:
        return {"skipped": "compute-sanitizer is not installed"}
    folder = next(path.parent for folder in options.oracles for path in Path(folder).glob("*/golden.json"))
    words = [program, "--error-exitcode", 9, options.stablelm, "run", "--model", folder, "--prompt-ids", "1,2,3,4,5,6,7"]
    words += ["--device", options.device, "--greedy", "--max-new-tokens", 8, "--json", "-q"]
    for tool in ["memcheck", "racecheck"]:
        run([words[0], "--tool", tool, *words[1:]])
    return {"passed": str(folder)}


def random_model(options):
    """Makes the model once."""
    model = options.folder / "random-3b"
    if not (model / "model.safetensors").exists():
        maker = options.make_model
        command = [maker] if maker else ["cargo", "run", "--release", "--example", "make_random_model", "--"]
        run([*command, HERE / "stablelm-3b-4e1t.config.json", model], cwd=HERE.parent)
    return model


def least_seconds(options, dtype, context, kv_bytes):
    """Returns the time that a copy takes to move as many bytes as a token has to read."""
    read = WEIGHTS_PER_TOKEN * BITS[dtype] / 8 + CACHED_PER_POSITION * kv_bytes * context
    return read / options.copy_bytes_per_s


def speed(options):
    model, outcome = random_model(options), {}
    for dtype in BITS:
        bench = [options.stablelm, "bench", "--model", model, "--device", options.device, "--dtype", dtype, "--json", "-q"]
        for context, kv_dtype, kv_bytes in [(8, "f16", 2), (4096 - 130, "f16", 2), (4096 - 130, "f8", 1)]:
            words = [*bench, "--prompt-tokens", 0, "--context", context, "--new-tokens", 128, "--kv-dtype", kv_dtype]
            rate = json.loads(run(words))["decode_tokens_per_s"]
            share = rate * least_seconds(options, dtype, context, kv_bytes)
            what = f"{dtype} decode at {context}, {kv_dtype} cache"
            outcome[what] = {"tokens_per_s": rate, "share_of_copy": share}
        rate = json.loads(run([*bench, "--prompt-tokens", 2048, "--new-tokens", 0]))["prefill_tokens_per_s"]
        outcome[f"{dtype} prefill of 2048"] = {"tokens_per_s": rate}
        outcome[f"{dtype} batch of {BATCH}"] = {"tokens_per_s": batch_rate(options, model, dtype)[0]}
    return outcome


def overlap(options):
    """Compares launches that overlap with those that do not: the same tokens, alone and side by side, and both rates."""
    model, outcome = random_model(options), {}
    for dtype in BITS:
        shared = ["--model", model, "--device", options.device, "--dtype", dtype, "--json"]
        ids = ",".join(str(7 * at) for at in range(8))
        alone = [options.stablelm, "run", *shared, "-q", "--prompt-ids", ids, "--greedy", "--ignore-eos", "--max-new-tokens", 128]
        bench = [options.stablelm, "bench", *shared, "-q", "--prompt-tokens", 0, "--context", 8, "--new-tokens", 128]
        found = {}
        for name, value in [("overlapping", "1"), ("one by one", "0")]:
            environment = dict(os.environ, STABLELM_OVERLAP=value)
            tokens = json.loads(run(alone, env=environment))["ids"]
            rate = json.loads(run(bench, env=environment))["decode_tokens_per_s"]
            batch, texts = batch_rate(options, model, dtype, environment)
            found[name] = tokens, texts
            outcome[f"{dtype} {name}"] = {"tokens_per_s": rate, f"batch of {BATCH}": batch}
        if found["overlapping"] != found["one by one"]:
            raise RuntimeError(f"{dtype}: tokens differ with launches that overlap; {json.dumps(outcome)}")
    return outcome


def batch_rate(options, model, dtype, environment=None):
    """Returns the tokens a second of prompts that are answered side by side, and their tokens; the first of two runs may make
    kernels."""
    prompts = options.folder / "prompts.jsonl"
    lines = [json.dumps({"prompt_ids": [100 * nth + at for at in range(8)]}) for nth in range(BATCH)]
    prompts.write_text("".join(line + "\n" for line in lines))
    words = [options.stablelm, "run", "--model", model, "--prompts", prompts, "--batch-size", BATCH, "--dtype", dtype]
    words += ["--device", options.device, "--greedy", "--ignore-eos", "--max-new-tokens", 128, "--json", "-q"]
    runs = [[json.loads(line) for line in run(words, env=environment).splitlines()] for _ in range(2)]
    rate = max(sum(answer["timings"]["decode_tokens_per_s"] for answer in answers) for answers in runs)
    return rate, [answer["ids"] for answer in runs[-1]]


def transformers(options):
    model = random_model(options)
    try:
        said = run([options.python, __file__, "--worker", model, "--device", options.device])
    except (RuntimeError, OSError) as error:
        if "No module named" in str(error) or "no GPU for torch" in str(error):
            return {"skipped": str(error)[-300:]}
        raise
    return json.loads(said.splitlines()[-1])


def transformers_worker(options):
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache, StaticCache

    if not torch.cuda.is_available():
        sys.exit("no GPU for torch")
    model = AutoModelForCausalLM.from_pretrained(options.worker, dtype=torch.bfloat16).to(options.device).eval()
    outcome, config = {}, model.config

    def timed(step, count):
        for _ in range(3):
            step()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            step()
        torch.cuda.synchronize()
        return count / (time.perf_counter() - begin)

    def ids(rows, columns):
        return torch.randint(config.vocab_size, (rows, columns), device=options.device)

    with torch.inference_mode():
        left, right = (torch.randn(8192, 8192, dtype=torch.bfloat16, device=options.device) for _ in range(2))
        outcome["bf16 products, operations/s"] = 2 * 8192**3 * timed(lambda: left @ right, 20)
        outcome["prefill of 2048"] = 2048 * timed(lambda: model(ids(1, 2048), logits_to_keep=1), 5)
        for batch, context in [(1, 8), (1, 3966), (BATCH, 8)]:
            cache = DynamicCache()
            model(ids(batch, context), past_key_values=cache, logits_to_keep=1)
            step = lambda: model(ids(batch, 1), past_key_values=cache).logits.argmax(-1)
            outcome[f"eager decode at {context}, batch {batch}"] = batch * timed(step, 32)
        compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
        for batch, context in [(1, 8), (1, 3966), (BATCH, 8)]:
            cache = StaticCache(
                config=config, max_batch_size=batch, max_cache_len=4096, device=options.device, dtype=torch.bfloat16
            )
            token, at = ids(batch, 1), torch.tensor([context], device=options.device)
            step = lambda: compiled(token, past_key_values=cache, cache_position=at).logits.argmax(-1)
            outcome[f"compiled decode at {context}, batch {batch}"] = batch * timed(step, 64)
    print(json.dumps(outcome))


def bars(options):
    """Holds what was measured against what the backend is meant to reach."""
    measured, peer = options.outcome["speed"], options.outcome.get("transformers", {})
    reached = {what: (measured[what]["share_of_copy"], bar) for what, bar in DECODE_BARS.items()}
    alone = measured["bf16 decode at 8, f16 cache"]["tokens_per_s"]
    reached[f"bf16 batch of {BATCH}, times one"] = measured[f"bf16 batch of {BATCH}"]["tokens_per_s"] / alone, BATCH_BAR
    if "bf16 products, operations/s" in peer:
        operations = 2 * WEIGHTS_PER_POSITION * measured["bf16 prefill of 2048"]["tokens_per_s"]
        reached["bf16 prefill of 2048"] = operations / peer["bf16 products, operations/s"], PREFILL_BAR
    told = {what: {"reached": round(value, 3), "bar": bar} for what, (value, bar) in reached.items()}
    missed = [what for what, (value, bar) in reached.items() if value < bar]
    if missed:
        raise RuntimeError(f"not reached: {', '.join(missed)}; {json.dumps(told)}")
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--stablelm", type=Path, default=ROOT / "target/release/stablelm")
    parser.add_argument("--tests", type=Path, help="the crate's unit test executable")
    parser.add_argument("--make-model", type=Path, help="the example make_random_model")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch and transformers")
    default = [ROOT / "fixtures/inference", ROOT.parent / "shared/oracles/inference"]
    parser.add_argument("--oracles", type=Path, nargs="*", default=default)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", nargs="*", help="names of steps")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        transformers_worker(options)
        return
    options.ordinal = int(options.device.partition(":")[2] or 0)
    options.folder.mkdir(parents=True, exist_ok=True)
    options.folder = options.folder.resolve()
    if not options.stablelm.exists():
        run(["cargo", "build", "--release", "--bin", "stablelm"], timeout=3600, cwd=ROOT)
        options.stablelm = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/stablelm"
    options.stablelm = options.stablelm.resolve()
    options.tests = options.tests and options.tests.resolve()
    options.make_model = options.make_model and options.make_model.resolve()
    outcome, failed = {}, []
    options.outcome = outcome
    for step in [device, device_tests, oracles, sanitizer, speed, overlap, transformers, bars]:
        name = step.__name__
        if options.only and name not in options.only and name != "device":
            continue
        begin = time.perf_counter()
        try:
            outcome[name] = step(options)
            verdict = "skipped" if "skipped" in outcome[name] else "ok"
        except Exception as error:  # Whatever it is, the other steps still say something.
            outcome[name] = {"error": f"{type(error).__name__}: {error}"}
            verdict = "FAILED"
            failed.append(name)
        print(f"{name}: {verdict}, {time.perf_counter() - begin:.0f} s: {json.dumps(outcome[name])}", flush=True)
        (options.folder / "outcome.json").write_text(json.dumps(outcome, indent=2) + "\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
