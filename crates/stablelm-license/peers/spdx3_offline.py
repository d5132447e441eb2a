"""Runs spdx3-validate without a network: the files it would fetch are those in `schemas/spdx-3.0.1`.

Takes paths of documents and ends with the validator's exit code.
"""

import email.message
import pathlib
import sys
import urllib.request
import urllib.response

FILES = {
    "https://spdx.org/schema/3.0.1/spdx-json-schema.json": "schema.json",
    "https://spdx.org/rdf/3.0.1/spdx-context.jsonld": "spdx-context.jsonld",
    "https://spdx.org/rdf/3.0.1/spdx-model.ttl": "spdx-model.ttl",
}
TYPES = {".json": "application/json", ".jsonld": "application/ld+json", ".ttl": "text/turtle"}
FOLDER = pathlib.Path(__file__).parent / "schemas" / "spdx-3.0.1"


class Local(urllib.request.BaseHandler):
    """Answers for the known addresses and refuses all others."""

    handler_order = 1

    def https_open(self, request):
        name = FILES.get(request.full_url)
        if name is None:
            raise OSError(f"{request.full_url} is not among the files kept here")
        headers = email.message.Message()
        headers["Content-Type"] = TYPES[pathlib.Path(name).suffix]
        answer = urllib.response.addinfourl((FOLDER / name).open("rb"), headers, request.full_url, 200)
        answer.msg = "OK"
        return answer

    http_open = https_open


def main():
    urllib.request.install_opener(urllib.request.build_opener(Local))
    from spdx3_validate.main import main as validate

    arguments = ["--quiet", "--no-merge"]
    for path in sys.argv[1:]:
        arguments += ["--json", path]
    return validate(arguments)


if __name__ == "__main__":
    sys.exit(main())
