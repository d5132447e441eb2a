"""The checks that need a library of the validators' environment: `inside.py CHECK PATH...`."""

import json
import pathlib
import sys


def cyclonedx(*paths):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    for path in paths:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        version = json.loads(text)["specVersion"].replace(".", "_")
        error = JsonStrictValidator(getattr(SchemaVersion, f"V{version}")).validate_str(text)
        if error is not None:
            sys.exit(f"{path}: {error}")


def spdx_model(*paths):
    from spdx_python_model import v3_0_1 as model

    for path in paths:
        objects = model.SHACLObjectSet()
        with open(path, "rb") as file:
            model.JSONLDDeserializer().read(file, objects)
        unresolved = objects.link()
        if unresolved or objects.missing_ids:
            sys.exit(f"{path}: unresolved {unresolved or objects.missing_ids}")
        if not list(objects.foreach_type(model.SpdxDocument)):
            sys.exit(f"{path}: no SpdxDocument")


def croissant(path):
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=path)
    if list(dataset.metadata.ctx.issues.errors):
        sys.exit(dataset.metadata.ctx.issues.report())
    # Loading a record set reads its file and compares the hash.
    rows = {
        records.uuid: sum(1 for _ in dataset.records(record_set=records.uuid))
        for records in dataset.metadata.record_sets
    }
    report = json.loads((pathlib.Path(path).parent / "report.json").read_text(encoding="utf-8"))
    tokens = sum(count for name, count in rows.items() if name.startswith("tokens-"))
    if tokens != report["documents_kept"]:
        sys.exit(f"{path}: {tokens} rows, the report says {report['documents_kept']}: {rows}")


def html(*paths):
    import html5rdf

    for path in paths:
        html5rdf.HTMLParser(strict=True).parse(pathlib.Path(path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    checks = {"cyclonedx": cyclonedx, "spdx-model": spdx_model, "croissant": croissant, "html": html}
    checks[sys.argv[1]](*sys.argv[2:])
