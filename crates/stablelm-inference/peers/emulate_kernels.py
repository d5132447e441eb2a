"""Runs every CUDA kernel on the processor and compares it with plain sums: `emulate_kernels.py --folder FOLDER`.

`emulate/cuda_on_cpu.h` stands in for CUDA: threads of a block take turns, so that barriers and exchanges within a warp mean
what they do on a device. That says whether indexes and arithmetic are right, before any device is at hand; it says nothing
of races between blocks and of speed. Needs a C++ compiler that knows `_Float16` (GCC 12, Clang 15).
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from make_ptx import KERNELS, expand

HERE = Path(__file__).resolve().parent / "emulate"

# What is written in PTX, in C++.
INSTEAD = [
    (r'asm\("cvt\.f32\.f16[^;]*;[^;]*;', "value = widen_half(bits);"),
    (r'asm\("cvt\.rn\.bf16\.f32[^;]*;[^;]*;', "bits = round_brain(value);"),
    (r'asm\("cvt\.rn\.f16\.f32[^;]*;[^;]*;', "bits = round_half(value);"),
    (r'asm\("mul\.rn\.f16x2[^;]*;[^;]*;', "halves = multiply_two_halves(divided, 0x5c005c00);"),
    (r'asm\("ld\.global\.nc[^;]*;[^;]*;', "bits = *(const uint4*)address;"),
    (r'asm\("mma[^;]*;[^;]*;', "warp_multiply(sums, left, right);"),
    (r"#define INFINITY .*", ""),
    (r"extern __shared__ __align__\(16\) float normed\[\];", "float* normed = dynamic_shared;"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    text = [f'#include "{HERE / "cuda_on_cpu.h"}"\n']
    for source in sorted(KERNELS.glob("*.cu")):
        kernels = expand(source)
        for pattern, instead in INSTEAD:
            kernels = re.sub(pattern, instead, kernels)
        if "asm(" in kernels:
            sys.exit(f"{source.name} has PTX that is not known here")
        names = re.findall(r"^#define (\w+)", kernels, re.MULTILINE)
        # Macros have no namespace.
        forget = "".join(f"#undef {name}\n" for name in dict.fromkeys(names))
        kernels = kernels.replace('extern "C" ', "")
        text.append(f"namespace {source.stem}_cu {{\n{kernels}\n}}\n{forget}")
    text.append((HERE / "checks.cpp").read_text())
    program, main_file = arguments.folder / "emulate", arguments.folder / "emulate.cpp"
    main_file.write_text("".join(text))
    compiler = os.environ.get("CXX", "c++")
    # Products and sums are rounded one by one, as the checks of exact weights expect.
    options = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused", "-Wno-sign-compare"]
    subprocess.run([compiler, *options, main_file, "-o", program], check=True)
    sys.exit(subprocess.run([program]).returncode)


if __name__ == "__main__":
    main()
