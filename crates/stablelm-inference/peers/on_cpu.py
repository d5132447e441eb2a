"""The CUDA kernels as C++ for the processor: what `emulate_kernels.py` and `emulate_driver.py` compile.

`emulate/cuda_on_cpu.h` stands in for CUDA. Each file of kernels gets a namespace; what is written in PTX is replaced.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from make_ptx import KERNELS, PTX, expand

HERE = Path(__file__).resolve().parent / "emulate"

# What is written in PTX, in C++.
INSTEAD = [
    (r'asm\("cvt\.f32\.f16[^;]*;[^;]*;', "value = widen_half(bits);"),
    (r'asm\("cvt\.rn\.bf16\.f32[^;]*;[^;]*;', "bits = round_brain(value);"),
    (r'asm\("cvt\.rn\.f16\.f32[^;]*;[^;]*;', "bits = round_half(value);"),
    (r'asm\("mul\.rn\.f16x2[^;]*;[^;]*;', "halves = multiply_two_halves(divided, 0x5c005c00);"),
    (r'asm\("ld\.global\.nc[^;]*;[^;]*;', "bits = *(const uint4*)address;"),
    (r'asm\("cvt\.rn\.bf16x2[^;]*;[^;]*;', "pair = round_brain(low) | (uint32_t)round_brain(high) << 16;"),
    (r'asm\("mma[^;]*\.f16\.f16\.f32[^;]*;[^;]*;', "warp_multiply(widen_half, sums, left, right);"),
    (r'asm\("mma[^;]*\.bf16\.bf16\.f32[^;]*;[^;]*;', "warp_multiply(widen_brain, sums, left, right);"),
    (r'asm volatile\(OVERLAP "griddepcontrol\.wait;[^;]*;', "wait_for_kernels_before();"),
    (r'asm volatile\(OVERLAP "griddepcontrol\.launch_dependents;[^;]*;', ";"),
    (r'asm volatile\(OVERLAP "prefetch\.global\.L2[^;]*;[^;]*;', "prefetch_line(address);"),
    (r"#define INFINITY .*", ""),
    (r"extern __shared__ __align__\(16\) float normed\[\];", "float* normed = dynamic_shared;"),
]


def sources():
    """Returns the text of all kernels, after the header that they need."""
    text = [f'#include "{HERE / "cuda_on_cpu.h"}"\n']
    for source in sorted(KERNELS.glob("*.cu")):
        kernels = expand(source)
        for pattern, instead in INSTEAD:
            kernels = re.sub(pattern, instead, kernels)
        if re.search(r"\basm\b", re.sub(r"//.*", "", kernels)):
            sys.exit(f"{source.name} has PTX that is not known here")
        names = re.findall(r"^#define (\w+)", kernels, re.MULTILINE)
        # Macros have no namespace.
        forget = "".join(f"#undef {name}\n" for name in dict.fromkeys(names))
        kernels = kernels.replace('extern "C" ', "")
        text.append(f"namespace {source.stem}_cu {{\n{kernels}\n}}\n{forget}")
    return "".join(text)


def table():
    """Returns a line for each kernel of the PTX: `KERNEL(namespace, name)`."""
    lines = []
    for path in sorted(PTX.glob("*.ptx")):
        names = re.findall(r"^\.visible \.entry (\w+)\(", path.read_text(), re.MULTILINE)
        lines += [f"KERNEL({path.stem}_cu, {name})\n" for name in names]
    return "".join(lines)


def compile(output, text, *options):
    """Compiles C++ where it is not the text that was compiled last."""
    compiler = os.environ.get("CXX", "c++")
    # Products and sums are rounded one by one, as the checks of exact weights expect.
    words = [compiler, "-std=c++17", "-ffp-contract=off", "-fno-strict-aliasing"]
    words += ["-Wall", "-Wno-unknown-pragmas", "-Wno-unused", "-Wno-sign-compare"]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and " f16c" in cpuinfo.read_text():
        # Halves are converted by an instruction; else by a function of the compiler's, far slower.
        words.append("-mf16c")
    words += map(str, options)
    headers = "".join(path.read_text() for path in sorted(HERE.glob("*.h")))
    digest = hashlib.sha256("\n".join([*words, headers, text]).encode()).hexdigest()
    source, mark = output.with_suffix(".cpp"), output.with_suffix(".digest")
    if output.exists() and mark.exists() and mark.read_text() == digest:
        return
    source.write_text(text)
    # Libraries are looked into for what the sources before them lack.
    subprocess.run([words[0], source, *words[1:], "-o", output], check=True)
    mark.write_text(digest)
