"""Runs every CUDA kernel on the processor and compares it with plain sums: `emulate_kernels.py --folder FOLDER`.

`emulate/cuda_on_cpu.h` stands in for CUDA: threads of a block take turns, so that barriers and exchanges within a warp mean
what they do on a device. That says whether indexes and arithmetic are right, before any device is at hand; it says nothing
of races between blocks and of speed. Needs a C++ compiler that knows `_Float16` (GCC 12, Clang 15).
"""

import argparse
import subprocess
import sys
from pathlib import Path

from on_cpu import HERE, compile, sources


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    program = arguments.folder / "emulate"
    checks = [(HERE / name).read_text() for name in ["checks.cpp", "checks_many.cpp"]]
    compile(program, "".join([sources(), *checks]), "-O1")
    sys.exit(subprocess.run([program]).returncode)


if __name__ == "__main__":
    main()
