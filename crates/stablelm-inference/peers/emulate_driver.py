"""Runs the device tests and the command without a GPU: `emulate_driver.py --folder FOLDER [--stablelm S] [--tests T]`.

`emulate/driver.cpp` stands in for NVIDIA's driver, and runs kernels on the processor; `emulate/blas.cpp` for cuBLASLt. With
them in the library path,

1. the device tests of the crate (`--tests`, a test executable; made by cargo where none is given) run, a process each,
   without cuBLASLt and with it;
2. `stablelm run --device cuda` answers what the checkpoints of `--oracles` have golden values for, in every number format,
   greedy, sampled, side by side, and with `--self-check`; answers are compared with those values, and with `--device cpu`.

Each is done with work that waits on its stream as long as it may; with `--orders`, in other orders as well. A report by the
libraries tells what has run on the "device", and which kernels nothing has launched.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from gpu_check import ROOT, worst_difference
from on_cpu import HERE, compile, sources, table

ORDERS = ["late", "others-first", "at-once"]
SHARED = ["-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,defs"]
# Largest difference of a log-probability from the processor's. In blocks, the processor rounds activations to 8 bits.
TOLERANCES = {"f32": 1e-3, "bf16": 0.26, "f16": 0.05, "q8_0": 0.5, "q4_k": 0.5}
# Longer prompts take minutes here.
MOST_POSITIONS = 600
DEVICE_TESTS = "cuda::tests::device"
TABLE = """
static std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all = {
%s    };
    return all;
}
"""


def build(folder):
    """Makes the libraries; returns the folders with the driver alone and with cuBLASLt."""
    driver, blas = folder / "driver", folder / "blas"
    for place in [driver, blas]:
        place.mkdir(parents=True, exist_ok=True)
    name = "libcuda.so.1"
    text = sources() + (HERE / "driver.cpp").read_text() + TABLE % table()
    # The command closes the library and opens it again.
    compile(driver / name, text, *SHARED, f"-Wl,-soname,{name}", "-Wl,-z,nodelete")
    link = driver / "libcuda.so"
    if not link.is_symlink():
        link.symlink_to(name)
    compile(blas / "libcublasLt.so", (HERE / "blas.cpp").read_text(), *SHARED, "-L", driver, "-l", "cuda")
    return driver, blas


class Runner:
    """Runs programs with the libraries in their way, and adds up what these report."""

    def __init__(self, folder, driver, blas):
        self.report = folder / "report.jsonl"
        self.report.unlink(missing_ok=True)
        self.paths = {False: str(driver), True: f"{driver}:{blas}"}

    def run(self, words, order="late", with_blas=False, overlaps=False):
        environment = dict(os.environ, CUDA_STAND_IN_ORDER=order, CUDA_STAND_IN_REPORT=str(self.report))
        # Hiding what a kernel may not see yet takes longer than the kernel.
        environment["CUDA_STAND_IN_OVERLAP"] = str(int(overlaps))
        environment["LD_LIBRARY_PATH"] = f"{self.paths[with_blas]}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        words = [str(word) for word in words]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-1500:]}{done.stdout[-1500:]}")
        return done.stdout + done.stderr if "--nocapture" in words else done.stdout

    def counted(self):
        lines = [json.loads(line) for line in self.report.read_text().splitlines()]
        total = {"kernels": {}}
        for line in lines:
            for kernel, count in line.pop("kernels").items():
                total["kernels"][kernel] = total["kernels"].get(kernel, 0) + count
            for name, count in line.items():
                total[name] = total.get(name, 0) + count
        return total


def faults(driver):
    """Returns the mistakes that the stand-in for the driver has to notice, as tasks."""
    sys.path.insert(0, str(HERE))
    from faults import MISTAKES

    def task(name, says):
        words = [sys.executable, HERE / "faults.py", driver / "libcuda.so.1", name]
        done = subprocess.run(words, capture_output=True, text=True)
        if (done.returncode == 0) != (says is None) or (says or "") not in done.stderr:
            raise RuntimeError(f"ended with {done.returncode}: {done.stderr}")
        return "ok" if says is None else "noticed"

    named = [(mistake.__name__, says) for mistake, says in MISTAKES.items()]
    return [(f"stand-in, {name}", lambda name=name, says=says: task(name, says)) for name, says in named]


def each(tasks):
    """Runs tasks side by side, tells each, and returns how many failed."""
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(timed, task): name for name, task in tasks}
        for done in concurrent.futures.as_completed(running):
            error = done.exception()
            failed += error is not None
            print(f"{running[done]}: {f'FAILED: {error}' if error else done.result()}", flush=True)
    return failed


def timed(task):
    begin = time.perf_counter()
    said = task()
    return f"{said}, {time.perf_counter() - begin:.0f} s"


def device_tests(runner, tests, order, with_blas):
    listed = subprocess.run([tests, "--list", DEVICE_TESTS], capture_output=True, text=True, check=True).stdout
    names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]

    def task(name):
        said = runner.run([tests, "--exact", name, "--nocapture"], order, with_blas, overlaps="overlap" in name)
        if "skipped:" in said or "1 passed" not in said:
            raise RuntimeError(f"it did not run: {said[-500:]}")
        return "ok"

    what = f"{order}{', cuBLASLt' if with_blas else ''}"
    # The longest first, which are the last ones of the file.
    return [(f"{name.removeprefix(DEVICE_TESTS + '::')} ({what})", lambda name=name: task(name)) for name in reversed(names)]


class Checkpoint:
    """A checkpoint with golden values, as the command answers from it."""

    def __init__(self, runner, stablelm, model, golden, order):
        self.runner, self.stablelm, self.model, self.golden, self.order = runner, stablelm, model, golden, order
        prompts = json.loads(golden.read_text())["prompts"]
        # Where there are values alone, any prompt will do.
        prompts = [{"ids": list(range(prompt["length"])), **prompt} for prompt in prompts]
        self.prompts = [prompt for prompt in prompts if len(prompt["ids"]) <= MOST_POSITIONS]

    def answer(self, prompt, device, *words, with_blas=False):
        """Returns what the command says to a prompt of token ids."""
        ids = ",".join(map(str, prompt["ids"]))
        words = ["--prompt-ids", ids, "--max-new-tokens", len(prompt["greedy"]), *words]
        return json.loads(self.run(device, *words, with_blas=with_blas))

    def run(self, device, *words, with_blas=False):
        words = [self.stablelm, "run", "--model", self.model, "--device", device, "--ignore-eos", "--json", "-q", *words]
        return self.runner.run(words, self.order, with_blas)

    def check_golden(self):
        """The device chooses the golden path, and so does the host; log-probabilities are the processor's."""
        for prompt in self.prompts:
            words = ["--dtype", "f32", "--greedy"]
            if self.answer(prompt, "cuda", *words)["ids"] != prompt["greedy"]:
                raise RuntimeError(f"another path after {len(prompt['ids'])} tokens")
        for prompt in self.prompts[:2]:
            self.check_logprobs(prompt, "f32", is_golden=True)
        return f"{len(self.prompts)} golden paths"

    def check_logprobs(self, prompt, dtype, *words, is_golden=False, tolerance=None, with_blas=False):
        words = ["--dtype", dtype, "--greedy", "--logprobs", 5, "--echo", *words]
        here = self.answer(prompt, "cuda", *words, with_blas=with_blas)
        there = self.answer(prompt, "cpu", *words)
        if is_golden and here["ids"] != prompt["greedy"]:
            raise RuntimeError(f"another path after {len(prompt['ids'])} tokens, chosen by the host")
        worst = worst_difference(here, there)
        # NaN is no difference that is small enough.
        if not worst <= (tolerance or TOLERANCES[dtype]):
            raise RuntimeError(f"{dtype} {' '.join(map(str, words))}: a log-probability is off by {worst}")
        return worst

    def check_formats(self):
        """Every number format of weights and of the cache, by our own products and by cuBLASLt's."""
        prompt, worst = self.prompts[2], {}
        for dtype in TOLERANCES:
            worst[dtype] = self.check_logprobs(prompt, dtype)
        worst["f8"] = self.check_logprobs(prompt, "f32", "--kv-dtype", "f8", tolerance=0.3)
        for dtype in ["f32", "bf16", "f16"]:
            worst[f"{dtype}, cuBLASLt"] = self.check_logprobs(prompt, dtype, with_blas=True)
        return ", ".join(f"{what} off by {value:.2g}" for what, value in worst.items())

    def check_sampled(self):
        """Tokens are sampled by the host, from logits that it has waited for."""
        words = ["--dtype", "f32", "--seed", 7, "--temperature", 0.7]
        here, there = (self.answer(self.prompts[1], device, *words)["ids"] for device in ["cuda", "cpu"])
        # A number that falls between two tokens may choose either where logits differ in the last bits.
        same = sum(one == other for one, other in zip(here, there))
        if here[:8] != there[:8]:
            raise RuntimeError(f"sampled {here[:8]}, the processor {there[:8]}")
        return f"{same} of {len(here)} sampled tokens the same"

    def check_batch(self, folder):
        """Prompts side by side, more of them than sequences at a time."""
        path = folder / f"{self.golden.parent.name}-{self.order}.jsonl"
        prompts = [self.prompts[at % len(self.prompts)] for at in range(6)]
        path.write_text("".join(json.dumps({"prompt_ids": prompt["ids"]}) + "\n" for prompt in prompts))
        words = ["--prompts", path, "--batch-size", 3, "--dtype", "f32", "--greedy", "--max-new-tokens", 24]
        answers = [json.loads(line) for line in self.run("cuda", *words).splitlines()]
        for answer, prompt in zip(answers, prompts, strict=True):
            if answer["ids"] != prompt["greedy"][:24]:
                raise RuntimeError(f"another path after {len(prompt['ids'])} tokens, side by side")
        return f"{len(answers)} answers side by side"

    def check_self(self):
        words = [self.stablelm, "run", "--model", self.model, "--device", "cuda", "--self-check", self.golden.parent, "-q"]
        self.runner.run([*words, "--dtype", "f32"], self.order)
        return "the reference's own check"


def checkpoints(runner, options, order):
    tasks = []
    for folder in options.oracles:
        if not folder.exists():
            print(f"skipped: there is no {folder}", flush=True)
            continue
        for golden in sorted(folder.glob("*/golden.json")):
            checkpoint = Checkpoint(runner, options.stablelm, golden.parent, golden, order)
            name = f"{golden.parent.name} ({order})"
            checks = [checkpoint.check_golden, checkpoint.check_formats, checkpoint.check_sampled]
            checks.append(lambda checkpoint=checkpoint: checkpoint.check_batch(options.folder))
            if len(checkpoint.prompts) == len(json.loads(golden.read_text())["prompts"]):
                checks.append(checkpoint.check_self)
            tasks += [(name, check) for check in checks]
        for golden in sorted(folder.glob("gguf/*.golden.json")):
            model = golden.with_name(golden.name.replace(".golden.json", ".gguf"))
            checkpoint = Checkpoint(runner, options.stablelm, model, golden, order)
            tasks.append((f"{model.name} ({order})", lambda checkpoint=checkpoint: gguf(checkpoint)))
    return tasks


def gguf(checkpoint):
    worst = 0.0
    for prompt in checkpoint.prompts:
        # Some of these files have no vocabulary; what the ids stand for is of no interest.
        words = ["--greedy", "--logprobs", 5, "--echo", "--tokenizer", ROOT / "fixtures/tokenizer/tokenizer.json"]
        here, there = (checkpoint.answer(prompt, device, *words) for device in ["cuda", "cpu"])
        worst = max(worst, worst_difference(here, there))
    if not worst <= TOLERANCES["q8_0"]:
        raise RuntimeError(f"a log-probability is off by {worst}")
    return f"off by {worst:.2g}"


def built(words, name):
    """Returns the executable that cargo makes."""
    words = ["cargo", *words, "--message-format", "json"]
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True).stdout
    made = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return next(Path(item["executable"]) for item in made if item.get("executable") and item["target"]["name"] == name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--stablelm", type=Path, help="the command; made by cargo where none is given")
    parser.add_argument("--tests", type=Path, help="the crate's unit test executable; made by cargo where none is given")
    default = [ROOT / "fixtures/inference", ROOT.parent / "shared/oracles/inference"]
    parser.add_argument("--oracles", type=Path, nargs="*", default=default)
    parser.add_argument("--orders", nargs="*", choices=ORDERS, default=["late"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.folder = options.folder.resolve()
    # The workspace's tests as CI has made them already.
    tests = options.tests or built(["test", "--workspace", "--lib", "--no-run"], "stablelm_inference")
    options.stablelm = options.stablelm or built(["build", "--bin", "stablelm"], "stablelm")
    driver, blas = build(options.folder)
    runner, tasks = Runner(options.folder, driver, blas), faults(driver)
    for order in options.orders:
        tasks += device_tests(runner, tests, order, False)
        tasks += checkpoints(runner, options, order)
    tasks += [task for task in device_tests(runner, tests, "late", True) if "products" in task[0]]
    failed = each(tasks)
    counted = runner.counted()
    launched = counted.pop("kernels")
    kernels = [line.split(", ")[1].rstrip(")") for line in table().splitlines()]
    print(", ".join(f"{name} {count}" for name, count in counted.items()))
    print(f"{len(launched)} of {len(kernels)} kernels; not launched: {' '.join(sorted(set(kernels) - set(launched)))}")
    if any(counted[what] == 0 for what in ["launches", "launches_in_graphs", "early_launches", "products"]):
        sys.exit("something has not run on the device")
    sys.exit(f"{failed} failed" if failed else 0)


if __name__ == "__main__":
    main()
