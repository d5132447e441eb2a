"""What the stand-in for the driver has to notice, one mistake a process: `faults.py DRIVER MISTAKE`.

`emulate_driver.py` runs each before it trusts the stand-in with anything; those that end the process say what with.
"""

import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_uint, c_uint64, c_void_p, cast
from pathlib import Path

PTX = Path(__file__).resolve().parent.parent.parent / "src/cuda/ptx/add.ptx"
LEN = 4


class Attribute(ctypes.Structure):
    """`CUlaunchAttribute`, of which 6 says whether a launch may begin early."""

    _fields_ = [("id", c_int), ("pad", c_int), ("value", c_int), ("room", c_int * 15)]


class Config(ctypes.Structure):
    """`CUlaunchConfig`."""

    _fields_ = [
        ("grid", c_uint * 3),
        ("block", c_uint * 3),
        ("shared", c_uint),
        ("stream", c_void_p),
        ("attributes", POINTER(Attribute)),
        ("num_attributes", c_uint),
    ]


class Driver:
    """The driver through its C functions, with two streams and the kernel `add`."""

    def __init__(self, path):
        self.api = ctypes.CDLL(path)
        context, module, self.add = c_void_p(), c_void_p(), c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", byref(context), 0)
        self.call("cuCtxSetCurrent", context)
        self.one, self.other = c_void_p(), c_void_p()
        for stream in [self.one, self.other]:
            self.call("cuStreamCreate", byref(stream), 1)
        self.call("cuModuleLoadData", byref(module), c_char_p(PTX.read_bytes()))
        self.call("cuModuleGetFunction", byref(self.add), module, b"add")

    def call(self, name, *arguments, gives=0):
        code = getattr(self.api, name)(*arguments)
        if code != gives:
            sys.exit(f"{name} gave {code}, expected {gives}")

    def take(self, stream):
        address = c_uint64()
        self.call("cuMemAllocAsync", byref(address), ctypes.c_size_t(4 * LEN), stream)
        return address

    def pinned(self):
        address = c_void_p()
        self.call("cuMemHostAlloc", byref(address), ctypes.c_size_t(4 * LEN), 0)
        return cast(address, POINTER(c_float))

    def send(self, stream, values, to):
        self.call("cuMemcpyHtoDAsync_v2", to, cast(values, c_void_p), ctypes.c_size_t(4 * LEN), stream)

    def fetch(self, stream, address):
        values = (c_float * LEN)(*[9] * LEN)
        self.call("cuMemcpyDtoHAsync_v2", values, address, ctypes.c_size_t(4 * LEN), stream)
        return values

    def wait(self, stream):
        self.call("cuStreamSynchronize", stream)

    def double(self, stream, address, len=LEN, threads=32, is_early=False, gives=0):
        """Adds numbers to themselves."""
        values = [address, address, c_int(len), c_int(len)]
        parameters = (c_void_p * 4)(*[ctypes.addressof(value) for value in values])
        attribute = Attribute(id=6, value=1)
        config = Config((1, 1, 1), (threads, 1, 1), 0, stream, ctypes.pointer(attribute), int(is_early))
        self.call("cuLaunchKernelEx", byref(config), self.add, parameters, None, gives=gives)


def numbers(*values):
    return (c_float * LEN)(*values)


def check(found, expected):
    if list(found) != expected:
        sys.exit(f"found {list(found)}, expected {expected}")


def overrun(driver):
    memory = driver.take(driver.one)
    driver.double(driver.one, memory, len=LEN + 1)
    driver.wait(driver.one)


def use_after_free(driver):
    memory = driver.take(driver.one)
    driver.call("cuMemFreeAsync", memory, driver.one)
    driver.double(driver.one, memory)
    driver.wait(driver.one)


def another_stream(driver):
    memory = driver.take(driver.one)
    driver.double(driver.other, memory)
    driver.wait(driver.other)


def early(driver):
    memory = driver.take(driver.one)
    driver.send(driver.one, numbers(1, 2, 3, 4), memory)
    driver.double(driver.one, memory)
    driver.double(driver.one, memory, is_early=True)
    driver.wait(driver.one)


def nothing_wrong(driver):
    """Work is done when it is waited for, and not before."""
    memory, sent = driver.take(driver.one), numbers(1, 2, 3, 4)
    driver.send(driver.one, sent, memory)
    sent[0] = 7
    driver.double(driver.one, memory)
    found = driver.fetch(driver.one, memory)
    check(found, [9, 9, 9, 9])
    driver.wait(driver.one)
    check(found, [2, 4, 6, 8])
    pinned = driver.pinned()
    for at in range(LEN):
        pinned[at] = at
    driver.send(driver.one, pinned, memory)
    pinned[0] = 7
    # Another stream waits for an event, and then sees what the first has done.
    event = c_void_p()
    driver.call("cuEventCreate", byref(event), 2)
    driver.call("cuEventRecord", event, driver.one)
    driver.call("cuStreamWaitEvent", driver.other, event, 0)
    found = driver.fetch(driver.other, memory)
    driver.wait(driver.other)
    check(found, [7, 1, 2, 3])


def graph(driver):
    """A graph is what was queued, with parameters as they were; waiting breaks a capture."""
    memory, captured, executable = driver.take(driver.one), c_void_p(), c_void_p()
    driver.send(driver.one, numbers(1, 2, 3, 4), memory)
    driver.wait(driver.one)
    driver.call("cuStreamBeginCapture_v2", driver.one, 1)
    driver.double(driver.one, memory)
    driver.call("cuStreamEndCapture", driver.one, byref(captured))
    driver.call("cuGraphInstantiateWithFlags", byref(executable), captured, c_uint64(0))
    for _ in range(2):
        driver.call("cuGraphLaunch", executable, driver.one)
    found = driver.fetch(driver.one, memory)
    driver.wait(driver.one)
    check(found, [4, 8, 12, 16])
    driver.call("cuStreamBeginCapture_v2", driver.one, 1)
    driver.call("cuStreamSynchronize", driver.one, gives=900)
    driver.double(driver.one, memory, gives=901)
    driver.call("cuStreamEndCapture", driver.one, byref(captured), gives=901)


def wrong_launches(driver):
    memory = driver.take(driver.one)
    driver.double(driver.one, memory, threads=2048, gives=1)
    driver.double(c_void_p(1), memory, gives=400)
    driver.call("cuMemcpyDtoHAsync_v2", numbers(), memory, ctypes.c_size_t(4 * LEN + 1), driver.one, gives=1)
    driver.call("cuMemAllocAsync", byref(memory), ctypes.c_size_t(0), driver.one, gives=1)


# Each mistake, and what the stand-in says before the process ends.
MISTAKES = {
    overrun: "add touches byte 16 of 16 bytes of device memory (block 0, 0, thread 4)",
    use_after_free: "add touches byte 0 of 16 bytes of device memory, which has been given back",
    another_stream: "add touches byte 0 of 16 bytes of device memory, which is not there yet",
    early: "kernel add begins early and never waits for those before it",
    nothing_wrong: None,
    graph: None,
    wrong_launches: None,
}


if __name__ == "__main__":
    next(mistake for mistake in MISTAKES if mistake.__name__ == sys.argv[2])(Driver(sys.argv[1]))
