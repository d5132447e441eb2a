"""Reads the token files of a prepared folder with the readers that train on them. Run by hand.

    python peer_check.py PREPARED STABLELM READERS

PREPARED is what `stablelm data prepare` wrote, STABLELM the command. READERS is the folder that holds `megatron`: a
checkout of GPT-NeoX (`MMapIndexedDataset` of `megatron/data/indexed_dataset.py`) or a folder of Python packages with
megatron-core (`IndexedDataset` of `megatron/core/datasets/indexed_dataset.py`). Only that file and what it reads files
with is loaded. Needs numpy; without torch, which both only inherit from, an empty class stands in for it.

Every data set must have the documents and tokens that `stablelm data inspect` tells of, each document must be one
sequence, and the ids of the first and last document and of up to SAMPLE between them must be those that `inspect`
shows. Exits with 1 when something differs.
"""

import importlib
import json
import pathlib
import subprocess
import sys
import types

SAMPLE = 200


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    prepared, stablelm, readers = map(pathlib.Path, sys.argv[1:])
    name, open_dataset = reader(readers)
    prefixes = sorted(path.with_suffix("") for path in prepared.glob("tokens/*.idx"))
    check(prefixes, f"{prepared}: no token files in `tokens`; expected what `stablelm data prepare` writes")
    documents = tokens = compared = 0
    for prefix in prefixes:
        dataset, boundaries = open_dataset(str(prefix))
        told = inspect(stablelm, prefix)
        lengths = [int(length) for length in boundaries[1:] - boundaries[:-1]]
        check(int(boundaries[0]) == 0, f"{prefix}: the first document begins at sequence {boundaries[0]}")
        check(lengths == [1] * len(dataset), f"{prefix}: documents of other than one sequence")
        check(len(dataset) == told["documents"], f"{prefix}: {len(dataset)} documents, `inspect` {told['documents']}")
        read = [dataset[at] for at in range(len(dataset))]
        num_tokens = sum(map(len, read))
        check(num_tokens == told["tokens"], f"{prefix}: {num_tokens} tokens, `inspect` {told['tokens']}")
        for at in sample(len(read)):
            ids = inspect(stablelm, prefix, at)["document"]["ids"]
            check(read[at].tolist() == ids, f"{prefix}: document {at} has other ids")
            compared += 1
        documents += len(read)
        tokens += num_tokens
    report = json.loads((prepared / "report.json").read_text())
    for key, found in (("documents_kept", documents), ("tokens", tokens)):
        check(found == report[key], f"{prepared}: `{key}` of report.json is {report[key]}, the data sets have {found}")
    print(f"{name}: {len(prefixes)} data sets, {documents} documents, {tokens} tokens; ids of {compared} equal")


def sample(count):
    if count <= SAMPLE:
        return range(count)
    return [at * (count - 1) // (SAMPLE - 1) for at in range(SAMPLE)]


def inspect(stablelm, prefix, document=None):
    command = [stablelm, "data", "inspect", f"{prefix}.idx", "--json", "--quiet"]
    if document is not None:
        command += ["--document", str(document)]
    answer = subprocess.run(command, capture_output=True, text=True)
    check(answer.returncode == 0, f"{prefix}: `inspect` ended with {answer.returncode}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def reader(readers):
    """Loads the reader's file alone; returns its name, and a function from a prefix to a data set and boundaries."""
    try:
        importlib.import_module("torch")
    except ModuleNotFoundError:
        data = stand_in("torch.utils.data", Dataset=type("Dataset", (), {}))
        stand_in("torch", utils=stand_in("torch.utils", data=data), Tensor=object)
    megatron = readers / "megatron"
    if (megatron / "data/indexed_dataset.py").exists():
        package("megatron", megatron, print_rank_0=lambda *_: None)
        package("megatron.data", megatron / "data")
        read = importlib.import_module("megatron.data.indexed_dataset").MMapIndexedDataset
        return "GPT-NeoX", lambda prefix: with_boundaries(read(prefix), lambda dataset: dataset.doc_idx)
    if (megatron / "core/datasets/indexed_dataset.py").exists():
        package("megatron", megatron)
        package("megatron.core", megatron / "core")
        package("megatron.core.datasets", megatron / "core/datasets")
        stand_in("megatron.core.utils", log_single_rank=lambda *_, **__: None)
        read = importlib.import_module("megatron.core.datasets.indexed_dataset").IndexedDataset
        return "megatron-core", lambda prefix: with_boundaries(read(prefix), lambda dataset: dataset.document_indices)
    sys.exit(f"{readers}: neither GPT-NeoX's nor megatron-core's indexed_dataset.py below `megatron`")


def with_boundaries(dataset, boundaries):
    return dataset, boundaries(dataset)


def package(name, folder, **members):
    """Puts a package in place whose modules are found, but whose own code, and all that it would load, isn't run."""
    stand_in(name, __path__=[str(folder)], **members)


def stand_in(name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module
    return module


def check(good, message):
    if not good:
        sys.exit(f"different: {message}")


if __name__ == "__main__":
    main()
