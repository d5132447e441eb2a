"""Times `stablelm data prepare` beside the same four filters of datatrove.

    bench_prepare.py --documents DOCUMENTS.jsonl --stablelm BINARY --tokenizer T --folder FOLDER

makes the corpora, fetches datatrove into a Python environment of its own, runs both sides in turn and prints the tables
in Markdown. `just bench-prepare` calls it. Needs Linux and Python 3.10 or later, and nothing else installed.

datatrove's side is its filters alone, in one process on one core: reading, tokenizing and writing are not timed there,
and neither is loading spaCy. Our side is the whole process. MB are 10^6 bytes of text on both sides, and "kept" is the
share of them that passes all filters, which is what our side tokenizes. Most of datatrove's work, as of ours, is done
on what the first filters let through, so ratios depend on the documents.
"""

import argparse
import datetime
import gzip
import itertools
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
FILTERS = [
    {"name": "gopher-quality", "words": "spacy-en"},
    {"name": "gopher-repetition", "words": "spacy-en"},
    {"name": "c4", "words": "spacy-en", "filter_no_terminal_punct": False},
    {"name": "fineweb-quality", "words": "spacy-en"},
]


def main():
    if sys.argv[1:2] == ["datatrove"]:
        print(json.dumps(datatrove(pathlib.Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        compare(arguments())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    path = pathlib.Path
    parser.add_argument("--documents", type=path, required=True, help="JSON lines with a `text`, maybe in gzip")
    parser.add_argument("--stablelm", type=path, default=path("target/release/stablelm"), help="the command to time")
    parser.add_argument("--tokenizer", type=path, default=path("fixtures/tokenizer"), help="what our side encodes with")
    parser.add_argument("--folder", type=path, default=path("target/bench-prepare"), help="where all files go")
    parser.add_argument("--sizes", type=sizes, default=sizes("6MB,60MB,250MB,2.5GB"), help="sizes of the corpora")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed; the best counts")
    parser.add_argument("--datatrove-size", type=size, default=size("6MB"), help="how much of a corpus datatrove gets")
    parser.add_argument("--core", type=int, default=1, help="the core everything with one thread is pinned to")
    parser.add_argument("--second-core", type=int, default=0, help="the core of a second thread")
    return parser.parse_args()


def size(text):
    number = text.rstrip("BGKMbgkm")
    unit = text[len(number):].upper()
    if unit not in UNITS:
        raise argparse.ArgumentTypeError(f"`{text}` isn't a size such as 6MB or 2.5GB")
    return round(float(number) * UNITS[unit])


def sizes(text):
    return sorted(size(part) for part in text.split(","))


def corpus_path(folder, length):
    return folder / f"corpus-{length}.jsonl"


def make_corpora(documents, folder, lengths):
    """Writes a file of each length: the documents again and again, from the second time on with a line of salt.

    The salt is a sentence of its own, so that no document of a file is equal to another. The bytes depend on the
    documents and the lengths only, and a shorter file is the start of a longer one. A file ends with a whole document.
    """
    stamp = folder / "corpora.json"
    made_of = {"documents": str(documents.resolve()), "modified": documents.stat().st_mtime_ns}
    if stamp.exists() and json.loads(stamp.read_text()) == made_of:
        lengths = [length for length in lengths if not corpus_path(folder, length).exists()]
    opened = gzip.open if documents.suffix == ".gz" else open
    with opened(documents, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    if not any(texts):
        sys.exit(f"{documents}: no text in it; expected JSON lines with a `text`")
    for length in lengths:
        print(f"making {corpus_path(folder, length)}", file=sys.stderr)
        beside = folder / "corpus.part"
        with open(beside, "w", encoding="utf-8") as file:
            write_documents(file, texts, length)
        beside.rename(corpus_path(folder, length))
    stamp.write_text(json.dumps(made_of))


def write_documents(file, texts, length):
    written = 0
    for repetition in itertools.count():
        for number, text in enumerate(texts):
            if repetition > 0:
                text += f"\nSalt {repetition} is {number} here."
            line = json.dumps({"id": f"{repetition}-{number}", "text": text}, ensure_ascii=False) + "\n"
            written += len(line.encode())
            if written > length:
                return
            file.write(line)


def write_recipe(options, corpus):
    """Writes the recipe for a corpus; a JSON string, list or boolean is the same in TOML."""
    lines = ['name = "bench"', "[tokenizer]", f"source = {json.dumps(str(options.tokenizer.resolve()))}"]
    lines += ["[[sources]]", 'name = "corpus"', 'kind = "jsonl"', f"paths = {json.dumps([str(corpus.resolve())])}"]
    for settings in FILTERS:
        lines += ["[[sources.filters]]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    recipe = options.folder / "recipe.toml"
    recipe.write_text("\n".join(lines) + "\n")
    return recipe


def python_with_datatrove(folder):
    """Makes the Python environment that holds datatrove, if it isn't there yet."""
    environment = folder / "venv"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = environment / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        print("fetching datatrove", file=sys.stderr)
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        install = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--requirement"]
        subprocess.run([*install, HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return environment / "bin/python"


def datatrove(corpus, length):
    """Times the filters over the first `length` bytes of a corpus, in this process."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = [
        GopherQualityFilter(),
        GopherRepetitionFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    documents, read = [], 0
    with open(corpus, "rb") as file:
        for line in file:
            read += len(line)
            if read > length:
                break
            row = json.loads(line)
            documents.append(Document(text=row["text"], id=row["id"]))
    num_bytes = sum(len(document.text.encode()) for document in documents)
    # The first call of each loads spaCy.
    for each in filters:
        each.filter(Document(text="One sentence.", id="first"))
    begin = time.process_time()
    kept = [document for document in documents if all(each.filter(document) is True for each in filters)]
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "cpu": seconds,
        "peak": peak,
        "bytes": num_bytes,
        "in": len(documents),
        "kept": len(kept),
        "bytes_kept": sum(len(document.text.encode()) for document in kept),
    }


def run_datatrove(python, corpus, length, core):
    command = [python, __file__, "datatrove", corpus, str(length)]
    pin = lambda: os.sched_setaffinity(0, [core])
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, preexec_fn=pin).stdout
    return json.loads(answer)


def run_ours(options, recipe, threads):
    """Runs the command in a process of its own, on as many cores as it has threads."""
    prepared = options.folder / "prepared"
    cores = [options.core, options.second_core][:threads]
    command = [options.stablelm, "data", "prepare", recipe, "--output", prepared, "--overwrite", "--quiet"]
    begin = time.monotonic()
    process = subprocess.Popen(
        [*command, "--threads", str(threads)],
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{options.stablelm} data prepare {recipe} ended with {process.returncode}")
    report = json.loads((prepared / "report.json").read_text())
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": wall,
        "peak": usage.ru_maxrss * 1024,
        "bytes": report["bytes_in"],
        "in": report["documents_in"],
        "kept": report["documents_kept"],
        "bytes_kept": report["bytes_kept"],
    }


def best(runs):
    """The least of each time and the greatest peak; what was counted is the same in all."""
    least = {key: min(run[key] for run in runs) for key in ("cpu", "wall") if key in runs[0]}
    return {**runs[0], **least, "peak": max(run["peak"] for run in runs)}


def compare(options):
    options.folder.mkdir(parents=True, exist_ok=True)
    make_corpora(options.documents, options.folder, options.sizes)
    python = python_with_datatrove(options.folder)
    corpora = [corpus_path(options.folder, length) for length in options.sizes]
    theirs, one, two = [], [[] for _ in corpora], [[] for _ in corpora]
    for round_ in range(options.rounds):
        print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
        for at, corpus in enumerate(corpora):
            theirs.append(run_datatrove(python, corpora[0], options.datatrove_size, options.core))
            recipe = write_recipe(options, corpus)
            one[at].append(run_ours(options, recipe, 1))
            two[at].append(run_ours(options, recipe, 2))
    shutil.rmtree(options.folder / "prepared")
    print_tables(options, best(theirs), [best(runs) for runs in one], [best(runs) for runs in two])


def print_tables(options, theirs, one, two):
    version = subprocess.run([options.stablelm, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, {processor()}, {version}, {options.documents.name},"
        f" {options.tokenizer.name}. MB are 10^6 bytes of text, MB/s are of CPU time; best of {options.rounds}.\n"
    )
    print("| run | MB | kept | CPU s | wall s | MB/s a core | to datatrove | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rate = theirs["bytes"] / theirs["cpu"]
    print(row("datatrove 0.10.1, filters alone", theirs, rate))
    for ours in one:
        print(row("stablelm, 1 thread", ours, rate))
    for ours, alone in zip(two, one):
        print(row(f"stablelm, 2 threads ({alone['wall'] / ours['wall']:.2f}x by the clock)", ours, rate))
    print(f"\n{agreement(theirs, one[0])}")


def row(name, run, rate):
    wall = f"{run['wall']:.2f}" if "wall" in run else ""
    speed = run["bytes"] / run["cpu"]
    return (
        f"| {name} | {run['bytes'] / 1e6:.1f} | {run['bytes_kept'] / run['bytes']:.0%} | {run['cpu']:.2f} | {wall}"
        f" | {speed / 1e6:.3g} | {speed / rate:.3g}x | {run['peak'] / 2**20:.0f} |"
    )


def agreement(theirs, ours):
    """Says whether both keep the same number of documents and bytes, where both saw the same."""
    if theirs["in"] != ours["in"]:
        return f"datatrove saw {theirs['in']} documents, our smallest corpus has {ours['in']}: not compared."
    kept = [f"{run['kept']} documents ({run['bytes_kept']} bytes)" for run in (theirs, ours)]
    if kept[0] != kept[1]:
        return f"They **differ**: of {theirs['in']} documents, datatrove keeps {kept[0]}, stablelm {kept[1]}."
    return f"Of the smallest corpus's {ours['in']} documents, both keep {kept[0]}."


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "unknown processor"


if __name__ == "__main__":
    main()
