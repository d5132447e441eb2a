"""Signatures of `stablelm` and of `model-signing` verified by each other.

    python check_model_signing.py STABLELM

needs `model-signing` 1.1.1 and `pyOpenSSL` in the interpreter that runs it (the wheel does not ask
for the second), and the `openssl` program. Prints one line a check and fails at the first that is
not as expected.
"""

import pathlib
import subprocess
import sys
import tempfile

import model_signing.hashing
import model_signing.signing
import model_signing.verifying

STABLELM = sys.argv[1]


def ours(*args):
    return subprocess.run([STABLELM, "license", *map(str, args)], capture_output=True, text=True)


def check(what, is_right, detail=""):
    print(("ok    " if is_right else "WRONG ") + what)
    if not is_right:
        sys.exit(detail)


def verify(folder, signature, public):
    model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).verify(
        folder, signature
    )


def refuses(folder, signature, public):
    try:
        verify(folder, signature, public)
    except Exception:
        return True
    return False


def keys(folder, curve):
    private = folder / f"{curve}.pem"
    pkcs8 = folder / f"{curve}.pkcs8.pem"
    public = folder / f"{curve}.pub.pem"
    run = lambda *args: subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
    run("ecparam", "-name", curve, "-genkey", "-out", private)
    run("pkcs8", "-topk8", "-nocrypt", "-in", private, "-out", pkcs8)
    run("ec", "-in", private, "-pubout", "-out", public)
    return private, pkcs8, public


def model(folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 10)
    (folder / "empty").write_bytes(b"")
    (folder / "a-b.txt").write_text("before")
    (folder / "a").mkdir()
    (folder / "a" / "b.txt").write_text("after")
    (folder / ".gitignore").write_text("left out")


def signer(hashing, private):
    config = model_signing.signing.Config().use_elliptic_key_signer(private_key=private)
    return config.set_hashing_config(hashing)


def main(root):
    folder = root / "model"
    model(folder)
    for curve in ["prime256v1", "secp384r1"]:
        private, pkcs8, public = keys(root, curve)
        for key in [private, pkcs8]:
            for place in [folder / "model.sig", root / "beside.sig"]:
                place.unlink(missing_ok=True)
                made = ours("sign", folder, "--key", key, "--output", place)
                check(f"{curve}: we sign with {key.name}", made.returncode == 0, made.stderr)
                verify(folder, place, public)
                check(f"{curve}: model-signing verifies {place.name}", True)
                place.unlink()
        for name, hashing in [
            ("files", model_signing.hashing.Config()),
            (
                "shards",
                model_signing.hashing.Config().use_shard_serialization(
                    hashing_algorithm="sha256", shard_size=1000
                ),
            ),
        ]:
            signature = root / f"{curve}.{name}.sig"
            signature.unlink(missing_ok=True)
            hashing = hashing.set_ignored_paths(paths=[], ignore_git_paths=True)
            signer(hashing, private).sign(folder, signature)
            run = lambda: ours("verify", folder, "--key", public, "--signature", signature, "--json")
            found = run()
            told = [word for word in ["SIGNATURE-", "FILE-CHANGED", "FILE-MISSING", "FILE-EXTRA"]
                    if word in found.stdout]
            check(f"{curve}: we verify {name}", not told and '"verified": true' in found.stdout,
                  found.stdout + found.stderr)
            weights = (folder / "weights.bin").read_bytes()
            (folder / "weights.bin").write_bytes(weights[:-1] + b"x")
            found = run()
            check(f"{curve}: we see a changed byte under {name}",
                  found.returncode == 1 and "FILE-CHANGED" in found.stdout, found.stdout)
            (folder / "weights.bin").write_bytes(weights)
    private, _, public = keys(root, "prime256v1")
    signature = folder / "model.sig"
    ours("sign", folder, "--key", private)
    (folder / "extra").write_text("x")
    check("model-signing sees an extra file under our signature", refuses(folder, signature, public))
    (folder / "extra").unlink()
    (folder / "config.json").write_text("[]")
    check("model-signing sees a changed file under our signature", refuses(folder, signature, public))


with tempfile.TemporaryDirectory() as root:
    main(pathlib.Path(root))
