#!/usr/bin/env python3
"""Runs the official validators over the documents that `stablelm` writes.

The documents are those of the demo's model and data, and of the published 3B by its id. Each validator also gets a
document that was spoiled on purpose and has to refuse it. Prints a table; the first failure ends the run with exit
code 1. Nothing is needed but Python with `venv`; the validators are installed into the cache folder, once.
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
MODEL = "stabilityai/stablelm-3b-4e1t"
# 2026-11-24.
EPOCH = "1795478400"


def environment(cache, requirements):
    """Returns the scripts' folder of an environment with these packages, made where it is not there yet."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = cache / f"{requirements.stem}-{sys.version_info[0]}.{sys.version_info[1]}-{digest}"
    ready = folder / "ready"
    if not ready.exists():
        print(f"installing {requirements.name} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", requirements], check=True)
        ready.touch()
    return folder / "bin"


class Run:
    """The command under test, the validators, and the table of what they said."""

    def __init__(self, stablelm, work, tools, cff):
        self.stablelm, self.work, self.tools, self.cff = stablelm, work, tools, cff
        self.rows = []

    def command(self, *words):
        """Runs `stablelm` and returns what it prints."""
        variables = dict(os.environ, SOURCE_DATE_EPOCH=EPOCH)
        done = subprocess.run([self.stablelm, *map(str, words)], env=variables, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"stablelm {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
        return done.stdout

    def check(self, what, validator, words, refuses=False):
        """Runs a validator; `refuses` says that the document was spoiled."""
        started = time.monotonic()
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        refused = done.returncode != 0
        result = "refused, as it should be" if refused else "valid"
        self.rows.append((what, validator, result, f"{time.monotonic() - started:.1f}"))
        if refused != refuses:
            self.rows[-1] = (what, validator, "REFUSED" if refused else "NOT REFUSED", self.rows[-1][3])
            self.table()
            sys.exit(f"\n{done.stdout[-4000:]}{done.stderr[-4000:]}")

    def table(self):
        rows = [("what", "validator", "result", "seconds"), *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths)]
            print("  ".join([*cells, row[3].rjust(widths[3])]))


def same_twice(run, *words):
    """Writes a document, and fails when a second run gives other bytes."""
    first, second = run.command(*words), run.command(*words)
    if first != second:
        sys.exit(f"stablelm {' '.join(map(str, words))}: two runs give different bytes")
    return first


def documents(run):
    """Writes everything that is to be checked; returns the folders."""
    work = run.work
    run.command("demo", "--output", work / "demo", "--overwrite", "--quiet")
    model, data, by_id = work / "demo" / "model", work / "demo" / "prepared", work / "id"
    by_id.mkdir()
    for folder, subject in [(data, data), (by_id, MODEL)]:
        for format, name in [
            ("spdx3", "bom.spdx3.json"),
            ("cdx1.6", "bom-1.6.cdx.json"),
            ("cdx1.7", "bom-1.7.cdx.json"),
        ]:
            text = same_twice(run, "license", "bom", subject, "--format", format)
            (folder / name).write_text(text, encoding="utf-8")
        run.command("license", "cite", subject, "--format", "cff", "--output", folder / "CITATION.cff")
        run.command("license", "card", subject, "--output", folder / "README.md")
    for folder, subject in [(model, model), (data, data), (by_id, MODEL)]:
        for name, flags in [("notice", []), ("attribution", ["--attribution"])]:
            page = run.command("license", "notice", subject, "--format", "html", *flags)
            (run.work / f"{folder.name}-{name}.html").write_text(page, encoding="utf-8")
    # With names given, beside the one of the recipe that gives none.
    names = ["--creator", "Example Lab", "--url", "https://example.org/data"]
    (data / "named.croissant.json").write_text(
        same_twice(run, "license", "bom", data, "--format", "croissant1.1", *names), encoding="utf-8"
    )
    # Last: it names every file.
    run.command("license", "bom", data, "--format", "reuse", "--output", data)
    return model, data, by_id


def front_matter(card):
    """Writes the front matter of a card into a file of its own."""
    text = card.read_text(encoding="utf-8")
    header = text.split("---\n", 2)[1]
    file = pathlib.Path(tempfile.mkdtemp()) / "front-matter.yaml"
    file.write_text(header, encoding="utf-8")
    return file


def spoiled(path, old, new):
    """Returns a copy of a document with one text replaced."""
    text = path.read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"{path} does not hold `{old}`, which was to be replaced")
    copy = pathlib.Path(tempfile.mkdtemp()) / path.name
    copy.write_text(text.replace(old, new, 1), encoding="utf-8")
    return copy


def check_documents(run, folders):
    python, tools, inside = run.tools / "python", run.tools, HERE / "inside.py"
    schemas = HERE / "schemas"
    for name, folder in folders.items():
        bills = [folder / "bom-1.6.cdx.json", folder / "bom-1.7.cdx.json"]
        run.check(f"{name}: CycloneDX 1.6, 1.7", "cyclonedx-python-lib", [python, inside, "cyclonedx", *bills])
        run.check(f"{name}: SPDX 3.0.1", "spdx-python-model", [python, inside, "spdx-model", folder / "bom.spdx3.json"])
        card = front_matter(folder / "README.md")
        schema = ["--schemafile", schemas / "card-front-matter.schema.json"]
        run.check(f"{name}: card", "check-jsonschema", [tools / "check-jsonschema", *schema, card])
        citation = folder / "CITATION.cff"
        run.check(f"{name}: CITATION.cff", "cffconvert", [run.cff / "cffconvert", "--validate", "-i", citation])
        builtin = ["--builtin-schema", "vendor.citation-file-format"]
        run.check(f"{name}: CITATION.cff", "check-jsonschema", [tools / "check-jsonschema", *builtin, citation])
    pages = sorted(run.work.glob("*.html"))
    run.check(f"all: {len(pages)} notices, HTML", "html5rdf", [python, inside, "html", *pages])
    bills = [folder / "bom.spdx3.json" for folder in folders.values()]
    run.check("all: SPDX 3.0.1", "spdx3-validate", [python, HERE / "spdx3_offline.py", *bills])
    for name in ["model", "data"]:
        run.check(f"{name}: REUSE 3.3", "reuse", [tools / "reuse", "--root", folders[name], "lint"])
    for name in ["croissant.json", "named.croissant.json"]:
        path = folders["data"] / name
        run.check(f"data: {name}", "mlcroissant", [tools / "mlcroissant", "validate", "--jsonld", path])
        run.check(f"data: {name}, all rows", "mlcroissant", [python, inside, "croissant", path])


def check_signature(run, model):
    """Checks our signature with the official tool, where this build can sign."""
    has_verb = subprocess.run([run.stablelm, "license", "sign", "--help"], capture_output=True).returncode == 0
    if not has_verb:
        return
    key, public = run.work / "key.pem", run.work / "key.pub.pem"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    pkcs8 = run.work / "key.pkcs8.pem"
    subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", key, "-out", pkcs8], check=True)
    subprocess.run(["openssl", "ec", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    run.command("license", "sign", model, "--key", pkcs8)
    signature = next(model.glob("*.sig"))
    words = [run.tools / "model_signing", "verify", "key", model, "--signature", signature, "--public_key", public]
    run.check("model: signature", "model-signing", words)
    notice = model / "NOTICE"
    text = notice.read_bytes()
    notice.write_bytes(text + b" ")
    run.check("model: signature, NOTICE changed", "model-signing", words, refuses=True)
    notice.write_bytes(text)


def check_spoiled(run, folders):
    python, tools, inside = run.tools / "python", run.tools, HERE / "inside.py"
    model, data = folders["model"], folders["data"]
    bill = spoiled(model / "bom-1.7.cdx.json", '"id": "CC-BY-SA-4.0"', '"id": "cc-by-sa-4.0"')
    run.check("spoiled: CycloneDX, license in lower case", "cyclonedx-python-lib", [python, inside, "cyclonedx", bill], True)
    bill = spoiled(model / "bom.spdx3.json", '"created": "', '"created": "x')
    run.check("spoiled: SPDX, no date", "spdx3-validate", [python, HERE / "spdx3_offline.py", bill], True)
    bill = spoiled(model / "bom.spdx3.json", '"spdxId"', '"spdxld"')
    run.check("spoiled: SPDX, an id lost", "spdx-python-model", [python, inside, "spdx-model", bill], True)
    citation = spoiled(model / "CITATION.cff", "title:", "tittle:")
    run.check("spoiled: CITATION.cff, no title", "cffconvert", [run.cff / "cffconvert", "--validate", "-i", citation], True)
    card = front_matter(spoiled(model / "README.md", "license: cc-by-sa-4.0", "license: CC-BY-SA-4.0"))
    schema = ["--schemafile", HERE / "schemas" / "card-front-matter.schema.json"]
    run.check("spoiled: card, license in upper case", "check-jsonschema", [tools / "check-jsonschema", *schema, card], True)
    page = spoiled(run.work / "model-notice.html", "</h1>", "")
    run.check("spoiled: HTML, an open heading", "html5rdf", [python, inside, "html", page], True)
    copy = run.work / "spoiled-release"
    shutil.copytree(model, copy)
    (copy / "LICENSES" / "CC0-1.0.txt").unlink()
    run.check("spoiled: REUSE, a text gone", "reuse", [tools / "reuse", "--root", copy, "lint"], True)
    copy = run.work / "spoiled-data"
    shutil.copytree(data, copy)
    table = next((copy / "tokens").glob("*_train_*.documents.parquet"))
    described = json.loads((copy / "croissant.json").read_text(encoding="utf-8"))
    for file in described["distribution"]:
        if file["name"].endswith(table.name):
            file["sha256"] = "0" * 64
    (copy / "croissant.json").write_text(json.dumps(described), encoding="utf-8")
    run.check("spoiled: Croissant, a hash", "mlcroissant", [python, inside, "croissant", copy / "croissant.json"], True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--stablelm", required=True, type=pathlib.Path, help="the command to check")
    parser.add_argument("--cache", required=True, type=pathlib.Path, help="where the validators are installed")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    tools = environment(arguments.cache.resolve(), HERE / "requirements.txt")
    cff = environment(arguments.cache.resolve(), HERE / "requirements-cff.txt")
    with tempfile.TemporaryDirectory(prefix="stablelm-validators-") as work:
        # Scratch files go there too.
        tempfile.tempdir = work
        run = Run(arguments.stablelm.resolve(), pathlib.Path(work), tools, cff)
        model, data, by_id = documents(run)
        folders = {"model": model, "data": data, "3B by id": by_id}
        check_documents(run, folders)
        check_spoiled(run, folders)
        check_signature(run, model)
        run.table()


if __name__ == "__main__":
    main()
