"""Times `stablelm bench` beside llama.cpp and Hugging Face transformers: `bench_run.py MODEL --stablelm S --limits L`.

MODEL is a folder with config.json and safetensors. The first run fetches and builds the peers (requirements.txt) into
FOLDER/venv and makes MODEL's GGUF files there, by llama.cpp's own tools. Then every measurement is a process of its
own that loads a model, warms up, measures one thing once and ends. A round measures all engines one after the other,
the next round in reverse order, so that a busy neighbor meets all alike; figures are the best and the median of the
rounds, and the fastest step. Every measurement is appended to FOLDER/records.jsonl as well.

Decoding is the time of `--new-tokens` single steps after a context that is in the KV cache; prefill is one pass over
512 tokens. llama.cpp has its defaults for attention and cache, and batches of 512; transformers has its default
attention (sdpa). What the machine can do at most is measured by S's example `limits` before and after.

Prints tables in Markdown. Only the standard library is needed here; workers run in the virtual environment.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).parent
TASKS = ["decode@8", "decode@512", "decode@2048", "prefill@512"]
DTYPES = ["bf16", "q8_0", "q4"]
GGUF_TYPES = {"bf16": "bf16", "q8_0": "q8_0", "q4": "q4_k_m"}
ENGINES = ["stablelm", "llama.cpp", "transformers"]


# What a worker does. Each prints one JSON object with `tokens_per_s` and, of decoding, `fastest_step_s`.


def timed_steps(step, count):
    """Returns tokens a second over `count` steps and the fastest step."""
    for _ in range(2):
        step()
    marks = [time.perf_counter()]
    for _ in range(count):
        step()
        marks.append(time.perf_counter())
    steps = [end - begin for begin, end in zip(marks, marks[1:])]
    return {"tokens_per_s": count / (marks[-1] - marks[0]), "fastest_step_s": min(steps)}


def random_ids(count, vocab):
    return [(7919 * (at + 1)) % (vocab - 1) + 1 for at in range(count)]


class LlamaCpp:
    """llama.cpp through its C functions."""

    def __init__(self, path, threads, positions):
        import ctypes

        import llama_cpp as api

        self.api, self.ctypes = api, ctypes
        self.quiet = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.quiet, None)
        self.model = api.llama_model_load_from_file(path.encode(), api.llama_model_default_params())
        parameters = api.llama_context_default_params()
        parameters.n_ctx = positions
        parameters.n_batch = parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = threads
        self.context = api.llama_init_from_model(self.model, parameters)
        self.vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(self.model))

    def decode(self, ids):
        for start in range(0, len(ids), 512):
            part = ids[start : start + 512]
            # The batch points to the ids and does not keep them.
            part = (self.ctypes.c_int32 * len(part))(*part)
            code = self.api.llama_decode(self.context, self.api.llama_batch_get_one(part, len(part)))
            if code != 0:
                sys.exit(f"llama_decode gave {code}")
        self.api.llama_synchronize(self.context)

    def clear(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def fill(self, count, state):
        """Brings `count` tokens into the cache, from a file where there is one, since reading them takes long."""
        state = state.encode()
        if count > 64 and Path(state.decode()).exists():
            ids, found = (self.ctypes.c_int32 * count)(), self.ctypes.c_size_t()
            if self.api.llama_state_seq_load_file(self.context, state, 0, ids, count, found) == 0:
                sys.exit(f"llama.cpp could not load `{state.decode()}`")
            return
        self.decode(random_ids(count, self.vocab))
        if count > 64:
            ids = (self.ctypes.c_int32 * count)(*random_ids(count, self.vocab))
            # The file gets its name when it is whole.
            self.api.llama_state_seq_save_file(self.context, state + b".partial", 0, ids, count)
            os.rename(state + b".partial", state)


def llama_cpp_worker(task, count, threads, model, new_tokens, state):
    if task == "prefill":
        engine = LlamaCpp(model, threads, count + 16)
        engine.decode(random_ids(16, engine.vocab))
        engine.clear()
        ids = random_ids(count, engine.vocab)
        begin = time.perf_counter()
        engine.decode(ids)
        return {"tokens_per_s": count / (time.perf_counter() - begin)}
    engine = LlamaCpp(model, threads, count + new_tokens + 2)
    engine.fill(count, state)
    return timed_steps(lambda: engine.decode([11]), new_tokens)


def transformers_worker(task, count, threads, model, new_tokens, state):
    del state
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    engine = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()
    config = engine.config
    with torch.inference_mode():
        if task == "prefill":
            engine(torch.tensor([random_ids(16, config.vocab_size)]), logits_to_keep=1)
            ids = torch.tensor([random_ids(count, config.vocab_size)])
            begin = time.perf_counter()
            engine(ids, use_cache=True, logits_to_keep=1)
            return {"tokens_per_s": count / (time.perf_counter() - begin)}
        # What the keys and values are makes no difference to the time.
        cache = DynamicCache()
        head_dim = config.hidden_size // config.num_attention_heads
        for layer in range(config.num_hidden_layers):
            shape = (1, config.num_key_value_heads, count, head_dim)
            keys, values = (torch.randn(shape, dtype=torch.bfloat16) for _ in range(2))
            cache.update(keys, values, layer)
        token = torch.tensor([[11]])

        def step():
            engine(token, past_key_values=cache, use_cache=True).logits[0, -1].argmax().item()

        return timed_steps(step, new_tokens)


WORKERS = {"llama.cpp": llama_cpp_worker, "transformers": transformers_worker}


def work(arguments):
    engine, task, count, threads, model, new_tokens, state = arguments
    result = WORKERS[engine](task, int(count), int(threads), model, int(new_tokens), state)
    print(json.dumps(result))


# What the driver does.


def set_up(options):
    """Fetches the peers and makes the GGUF files, where they are not there."""
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not options.venv.exists():
        print("fetching and building the peers", file=sys.stderr)
        partial = options.venv.with_name("venv.partial")
        venv.create(partial, with_pip=True, clear=True)
        environment = os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=ON"}
        install = ["-m", "pip", "install", "-q", "--no-binary", "llama-cpp-python", "-r", HERE / "requirements.txt"]
        subprocess.run([partial / "bin/python", *install], check=True, env=environment)
        partial.rename(options.venv)
    if not options.llama_cpp.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            lines = (HERE / "requirements.txt").read_text().splitlines()
            package = next(line for line in lines if line.startswith("llama-cpp-python"))
            fetch = ["-m", "pip", "download", "-q", "--no-deps", "--no-binary", "llama-cpp-python", "-d", scratch]
            subprocess.run([options.venv / "bin/python", *fetch, package], check=True)
            with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as archive:
                archive.extractall(scratch, filter="data")
            next(Path(scratch).glob("*/vendor/llama.cpp")).rename(options.llama_cpp)
    wanted = [kind for kind in GGUF_TYPES.values() if not gguf(options, kind).exists()]
    if wanted and options.engines != ["transformers"]:
        print(f"making {', '.join(wanted)} by llama.cpp's tools", file=sys.stderr)
        command = [options.venv / "bin/python", HERE / "to_gguf.py", options.model, options.gguf, options.llama_cpp]
        subprocess.run([*command, *wanted], check=True, stdout=sys.stderr)


def set_priority(nice):
    """With sessions as scheduling groups, as Linux has them by default, `nice` alone counts within a session only."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    group = Path("/proc/self/autogroup")
    if group.exists():
        group.write_text(str(nice))


def gguf(options, kind):
    return options.gguf.with_name(f"{options.gguf.name}-{kind}.gguf")


def stablelm_command(options, task, count, threads, dtype):
    command = [options.stablelm, "bench", "--threads", threads, "--repeat", 1, "--device", "cpu", "--json"]
    if dtype == "bf16":
        command += ["--model", options.model, "--dtype", "bf16"]
    elif options.quantize_on_load:
        command += ["--model", options.model, "--dtype", {"q8_0": "q8_0", "q4": "q4_k"}[dtype]]
    else:
        command += ["--model", gguf(options, GGUF_TYPES[dtype])]
    if task == "prefill":
        return command + ["--prompt-tokens", count, "--new-tokens", 0]
    return command + ["--prompt-tokens", 0, "--new-tokens", options.new_tokens, "--context", count]


def command(options, engine, name, threads, dtype):
    task, count = name.split("@")
    if engine == "stablelm":
        return stablelm_command(options, task, count, threads, dtype)
    model = options.model if engine == "transformers" else gguf(options, GGUF_TYPES[dtype])
    state = options.folder / f"{options.gguf.name}-{count}.state"
    worker = [options.venv / "bin/python", __file__, "--worker"]
    return [*worker, engine, task, count, threads, model, options.new_tokens, state]


def measure(options, engine, name, threads, dtype):
    """Runs one process. Returns what it found and its peak memory, or `None` and says why on stderr."""
    words = [str(word) for word in command(options, engine, name, threads, dtype)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(words, stdout=out, stderr=err, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if process.returncode != 0:
            print(f"{' '.join(words)}: {err.read()[-600:]}", file=sys.stderr)
            return None
        found = json.loads(out.read())
    if engine == "stablelm":
        kind = name.split("@")[0]
        found = {"tokens_per_s": found[f"{kind}_tokens_per_s"], "fastest_step_s": found["decode_fastest_step_s"]}
    return found | {
        "engine": engine,
        "task": name,
        "threads": threads,
        "dtype": dtype,
        # Of Linux, in KiB; pages of mapped files count.
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }


def measure_all(options):
    cells = [
        (name, threads, dtype) for dtype in options.dtypes for threads in options.threads for name in options.tasks
    ]
    records = []
    with open(options.folder / "records.jsonl", "a", encoding="utf-8") as file:
        for turn in range(options.rounds):
            for cell in cells:
                engines = [e for e in options.engines if e != "transformers" or cell[2] == "bf16"]
                for engine in engines if turn % 2 == 0 else reversed(engines):
                    record = measure(options, engine, *cell)
                    if record is None:
                        continue
                    records.append(record | {"round": turn, "time": int(time.time())})
                    file.write(json.dumps(records[-1]) + "\n")
                    file.flush()
            print(f"round {turn + 1} of {options.rounds} is done", file=sys.stderr)
    return records


def measure_limits(options):
    """Returns the machine's best by threads, of runs of `limits` before and after."""
    words = [str(options.limits), *map(str, options.threads)]
    rates = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["limits"]
    return {rate["threads"]: rate for rate in rates}


def better(one, other):
    return {
        threads: {key: max(value or 0, other[threads][key] or 0) for key, value in rates.items()}
        for threads, rates in one.items()
    }


class Model:
    """What a token costs at least."""

    def __init__(self, options):
        config = json.loads((options.model / "config.json").read_text())
        self.layers, self.hidden = config["num_hidden_layers"], config["hidden_size"]
        heads = config["num_attention_heads"]
        self.kv_width = 2 * config.get("num_key_value_heads", heads) * (self.hidden // heads)
        matrices = {}
        for path in options.model.glob("*.safetensors"):
            with open(path, "rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            shapes = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
            matrices |= {name: shape[0] * shape[1] for name, shape in shapes.items() if len(shape) == 2}
        embeddings = ("model.embed_tokens.weight", "gpt_neox.embed_in.weight")
        tied = config.get("tie_word_embeddings", False)
        self.read = sum(size for name, size in matrices.items() if tied or name not in embeddings)
        self.in_layers = sum(size for name, size in matrices.items() if ".layers." in name)
        self.options = options

    def weight_bytes(self, dtype):
        """All matrices but the embedding, of which one row is read."""
        if dtype == "bf16":
            return 2 * self.read
        script = (
            "import sys; from gguf import GGUFReader; "
            "print(sum(int(t.n_bytes) for t in GGUFReader(sys.argv[1]).tensors if t.name != 'token_embd.weight'))"
        )
        path = gguf(self.options, GGUF_TYPES[dtype])
        words = [self.options.venv / "bin/python", "-c", script, path]
        return int(subprocess.run(words, check=True, capture_output=True, text=True).stdout)

    def limit(self, name, dtype, rates):
        """Returns tokens a second that memory (decode) or the multipliers (prefill) allow."""
        task, count = name.split("@")
        if task == "decode":
            kv = 2 * self.kv_width * self.layers * int(count)
            return rates["read_bytes_per_s"] / (self.weight_bytes(dtype) + kv)
        # Each token looks at half of the prompt on average: a product with keys and one with values.
        attention = self.layers * 4 * self.hidden * int(count) / 2
        ops = rates["bf16_ops_per_s"] if dtype == "bf16" else rates["int8_ops_per_s"]
        return ops / (2 * self.in_layers + attention)


def select(records, **wanted):
    return [r for r in records if all(r[key] == value for key, value in wanted.items())]


def task_table(options, name, records, limits, model):
    """Of decoding, the fastest single step of all stands beside the rounds: it had the machine to itself."""
    task, count = name.split("@")
    decode = task == "decode"
    columns = ["best", "median", "fastest step", "of limit"] if decode else ["best", "median", "of limit"]
    head, rule = f"| {'decode after' if decode else 'prefill of'} {count}, tokens/s |", "| --- |"
    for threads in options.threads:
        head += f" {threads} thread{'s' * (threads > 1)}: {' | '.join(columns)} |"
        rule += " ---: |" * len(columns)
    lines = [head, rule]

    def add(label, cells):
        """One row, unless no number of threads has anything to show."""
        if any(cells):
            padded = [cell + [""] * (len(columns) - len(cell)) for cell in cells]
            lines.append(f"| {label} |" + "".join(f" {text} |" for cell in padded for text in cell))

    for dtype in options.dtypes:
        bounds = [model.limit(name, dtype, limits[threads]) for threads in options.threads]
        # Arithmetic is measured with AVX-512 alone.
        add(f"limit, {dtype}", [[f"{bound:.1f}"] if bound > 0 else [] for bound in bounds])
        figures = {}
        for engine in options.engines:
            cells = []
            for threads, bound in zip(options.threads, bounds):
                found = select(records, engine=engine, task=name, threads=threads, dtype=dtype)
                if not found:
                    cells.append([])
                    continue
                rates = [record["tokens_per_s"] for record in found]
                each = [max(rates), statistics.median(rates)]
                if decode:
                    each.append(1 / min(record["fastest_step_s"] for record in found))
                figures[engine, threads] = each
                share = [f"{max(rates) / bound:.0%}"] if bound > 0 else []
                cells.append([f"{rate:.2f}" for rate in each] + share)
            add(f"{engine}, {GGUF_TYPES[dtype] if engine == 'llama.cpp' else dtype}", cells)
        for engine in options.engines:
            pairs = [(figures.get(("stablelm", t), []), figures.get((engine, t), [])) for t in options.threads]
            ratios = [[f"{ours / theirs:.2f}x" for ours, theirs in zip(*pair)] for pair in pairs]
            if engine != "stablelm":
                add(f"stablelm to {engine}, {dtype}", ratios)
    return "\n".join(lines)


def memory_table(options, records):
    head, rule = "| peak memory, GB |", "| --- |"
    for name in options.tasks:
        head += f" {name.replace('@', ' ')} |"
        rule += " ---: |"
    lines = [head, rule]
    for dtype in options.dtypes:
        for engine in options.engines:
            found = [select(records, engine=engine, dtype=dtype, task=name) for name in options.tasks]
            if any(found):
                peaks = [max((r["peak_rss_bytes"] for r in each), default=0) / 1e9 for each in found]
                lines.append(f"| {engine}, {dtype} |" + "".join(f" {peak:.2f} |" for peak in peaks))
    return "\n".join(lines)


def limits_table(limits):
    rows = [
        ("memory read, GB/s", "read_bytes_per_s"),
        ("f32 multiply-add, Gop/s", "f32_ops_per_s"),
        ("bf16 dot products, Gop/s", "bf16_ops_per_s"),
        ("8-bit dot products, Gop/s", "int8_ops_per_s"),
    ]
    lines = ["| limit |" + "".join(f" {threads} thread{'s' * (threads > 1)} |" for threads in limits)]
    lines.append("| --- |" + " ---: |" * len(limits))
    for what, key in rows:
        lines.append(f"| {what} |" + "".join(f" {rates[key] / 1e9:.1f} |" for rates in limits.values()))
    return "\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder with config.json and model.safetensors")
    parser.add_argument("--stablelm", type=Path, default=Path("target/release/stablelm"))
    parser.add_argument("--limits", type=Path, default=Path("target/release/examples/limits"))
    parser.add_argument("--folder", type=Path, default=Path("target/bench-run"), help="where peers and files are kept")
    parser.add_argument("--venv", type=Path, help="a virtual environment with requirements.txt [FOLDER/venv]")
    parser.add_argument("--llama-cpp", type=Path, help="the source of llama.cpp [FOLDER/llama.cpp]")
    parser.add_argument("--gguf", type=Path, help="GGUF files without `-TYPE.gguf` [FOLDER/MODEL]")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="decode@CONTEXT or prefill@TOKENS")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--nice", type=int, help="priority, in a scheduling group of its own (below 0 needs root)")
    parser.add_argument("--quantize-on-load", action="store_true", help="stablelm reads MODEL and not the GGUF files")
    options = parser.parse_args()
    options.venv = options.venv or options.folder / "venv"
    options.llama_cpp = options.llama_cpp or options.folder / "llama.cpp"
    options.gguf = options.gguf or options.folder / options.model.resolve().name
    return options


def main():
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2:])
        return
    options = parse()
    set_up(options)
    if options.nice is not None:
        set_priority(options.nice)
    before = measure_limits(options)
    records = measure_all(options)
    limits = better(before, measure_limits(options))
    model = Model(options)
    tables = [task_table(options, name, records, limits, model) for name in options.tasks]
    print("\n\n".join([*tables, memory_table(options, records), limits_table(limits)]))


if __name__ == "__main__":
    main()
