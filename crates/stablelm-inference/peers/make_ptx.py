"""Compiles `src/cuda/kernels/*.cu` to `src/cuda/ptx/*.ptx`: `make_ptx.py --folder FOLDER`.

FOLDER gets a virtual environment with NVRTC from the `nvidia-cuda-nvrtc-cu12` package; no toolkit, driver or GPU is
needed. The version is an old one on purpose: it decides the PTX version, and drivers read no PTX that is newer than
they are (PTX 8.1: drivers of CUDA 12.1, 530, and later).

A file's includes are put in their places before it is compiled, and the first line of the PTX is the SHA-256 of the
result, so that a test can tell PTX from before a change of its source. PTX of the same source is left as it is: NVRTC does
not always give registers the same numbers.
"""

import argparse
import ctypes
import hashlib
import re
import subprocess
import sys
import venv
from pathlib import Path

CRATE = Path(__file__).resolve().parent.parent
KERNELS = CRATE / "src/cuda/kernels"
PTX = CRATE / "src/cuda/ptx"
# The oldest devices that kernels are for: A100 and its generation.
BASELINE = "compute_80"
NVRTC = "nvidia-cuda-nvrtc-cu12==12.1.105"
# What instructions of compute capability 9.0 are behind, see `common.cuh`.
OVERLAP = "// overlap: "


def overlapped(ptx):
    """Returns PTX with those instructions, as the launcher makes it."""
    return ptx.replace(f".target {BASELINE.replace('compute', 'sm')}", ".target sm_90").replace(OVERLAP, "")


def install(folder, *packages):
    """Makes a virtual environment with the packages, once, and returns its site-packages folder."""
    mark = folder / ("installed-" + hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16])
    if not mark.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", *packages], check=True)
        mark.touch()
    return next(folder.glob("lib/python*/site-packages"))


def expand(path):
    """Returns a source with its includes in their places, each at most once."""
    seen = set()

    def text(path):
        lines = []
        for line in path.read_text().splitlines(keepends=True):
            include = re.match(r'#include "(.*)"', line)
            if not include:
                lines.append(line)
            elif include[1] not in seen:
                seen.add(include[1])
                lines.append(text(path.parent / include[1]))
        return "".join(lines)

    return text(path)


class Nvrtc:
    """The run-time compiler through its C functions."""

    def __init__(self, packages):
        libraries = sorted(packages.glob("nvidia/*/lib/libnvrtc.so.*"))
        if not libraries:
            sys.exit(f"no libnvrtc below {packages}")
        self.api = ctypes.CDLL(str(libraries[0]))

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.api.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def compile(self, name, source, *options):
        """Returns PTX, or a cubin for a `sm_` architecture, and the log. Ends the process on an error."""
        program = ctypes.c_void_p()
        self.check(
            self.api.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), name.encode(), 0, None, None
            )
        )
        array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        code = self.api.nvrtcCompileProgram(program, len(options), array)
        log = self.read(program, "ProgramLog").rstrip(b"\0").decode().strip()
        if code != 0:
            sys.exit(f"{name} does not compile with {' '.join(options)}:\n{log}")
        kind = "CUBIN" if any("=sm_" in option for option in options) else "PTX"
        output = self.read(program, kind)
        self.api.nvrtcDestroyProgram(ctypes.byref(program))
        return output, log

    def read(self, program, what):
        size = ctypes.c_size_t()
        self.check(getattr(self.api, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self.check(getattr(self.api, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def check(self, code):
        if code != 0:
            sys.exit(f"NVRTC gave {code}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    nvrtc = Nvrtc(install(arguments.folder, NVRTC))
    print(f"NVRTC {nvrtc.version()}")
    PTX.mkdir(exist_ok=True)
    sources = sorted(KERNELS.glob("*.cu"))
    for stale in set(PTX.glob("*.ptx")) - {PTX / f"{source.stem}.ptx" for source in sources}:
        stale.unlink()
    for source in sources:
        text = expand(source)
        first = f"// sha256 {hashlib.sha256(text.encode()).hexdigest()}"
        output = PTX / f"{source.stem}.ptx"
        if output.exists() and output.read_text().startswith(first + "\n"):
            print(f"{source.name}: as it was")
            continue
        ptx, log = nvrtc.compile(source.name, text, f"--gpu-architecture={BASELINE}")
        if log:
            sys.exit(f"{source.name}: {log}")
        # Comments and empty lines are a good part of the text and say nothing.
        lines = ptx.rstrip(b"\0").decode().splitlines()
        lines = [line for line in lines if line.strip() and (OVERLAP in line or not line.lstrip().startswith("//"))]
        body = "\n".join([first, *lines, ""])
        output.write_text(body)
        entries = sum(line.startswith(".visible .entry") for line in lines)
        print(f"{source.name}: {entries} kernels, {len(body)} bytes")


if __name__ == "__main__":
    main()
