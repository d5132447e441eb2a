"""Compiles every CUDA kernel for the architectures that it is meant for, without a GPU: `check_kernels.py --folder FOLDER`.

NVRTC makes machine code for each, an error or a warning of which ends this with 1; so does a kernel that spills
registers to memory. `ptxas` (from the `nvidia-cuda-nvcc-cu12` package) tells how many registers a kernel takes. PTX that
is in the repository is assembled as well: that is what drivers do with it, for Hopper with the instructions by which
kernels overlap.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from make_ptx import KERNELS, NVRTC, PTX, Nvrtc, expand, install, overlapped

# A100; H100 and H200, with and without the instructions of that architecture alone.
ARCHITECTURES = ["sm_80", "sm_90", "sm_90a"]
PTXAS = "nvidia-cuda-nvcc-cu12==12.9.86"
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores")
REGISTERS = re.compile(r"Used (\d+) registers")


def assembled(ptxas, path, architecture):
    """Returns the registers and spilled bytes of each kernel of a PTX file."""
    ptx = path.read_text()
    with tempfile.NamedTemporaryFile(suffix=".cubin") as output, tempfile.NamedTemporaryFile("w", suffix=".ptx") as source:
        source.write(ptx if architecture == "sm_80" else overlapped(ptx))
        source.flush()
        command = [ptxas, "-v", f"-arch={architecture}", source.name, "-o", output.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or "warning" in done.stderr:
        sys.exit(f"{path.name} does not assemble for {architecture}:\n{done.stderr}")
    kernels, name, spilled = {}, None, 0
    for line in done.stderr.splitlines():
        if entry := ENTRY.search(line):
            name = entry[1]
        elif spills := SPILLS.search(line):
            spilled = int(spills[1])
        elif registers := REGISTERS.search(line):
            kernels[name] = (int(registers[1]), spilled)
    return kernels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--verbose", action="store_true", help="tell the registers of each kernel")
    arguments = parser.parse_args()
    packages = install(arguments.folder, NVRTC, PTXAS)
    nvrtc = Nvrtc(packages)
    ptxas = packages / "nvidia/cuda_nvcc/bin/ptxas"
    failures = []
    for source in sorted(KERNELS.glob("*.cu")):
        text = expand(source)
        for architecture in ARCHITECTURES:
            _, log = nvrtc.compile(source.name, text, f"--gpu-architecture={architecture}")
            if log:
                failures.append(f"{source.name} for {architecture}: {log}")
            kernels = assembled(ptxas, PTX / f"{source.stem}.ptx", architecture)
            failures.extend(
                f"{name} spills {spilled} bytes for {architecture}"
                for name, (_, spilled) in kernels.items()
                if spilled
            )
            most = max(registers for registers, _ in kernels.values())
            print(f"{source.name} {architecture}: {len(kernels)} kernels, at most {most} registers")
            if arguments.verbose:
                for name, (registers, spilled) in sorted(kernels.items()):
                    print(f"    {name}: {registers} registers, {spilled} bytes spilled")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
