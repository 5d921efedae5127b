"""Whatever a kernel does, Python lives, and says which kernel it was, and where.

The kernels stand in ``survival/``; ``survive.py`` runs them, all in one process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.emulator import Argument, EmulatorFinding, available, build, compile_module
from gpunn.errors import KernelError
from tests.emulator.survive import Bad, launched, refused

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
]

LAUNCHED, REFUSED = list(launched()), list(refused())
SHORT = {"GPUNN_EMULATOR_SECONDS": "0.3"}
MOST_SECONDS = 10.0  # of processor time, for any of them


def python(*arguments: str, limits: dict[str, str] = SHORT, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run another Python, as this one runs, with short limits."""
    build._runtime(), build._header()  # or the other would begin with compiling these
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **limits}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300, **options)


def records_of(output: str) -> list[dict[str, Any]]:
    """The lines of JSON among what kernels printed."""
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"name": ')]


@pytest.fixture(scope="session")
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of all of them: run once, by whichever of pytest's processes comes first."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent  # which the workers of pytest-xdist share
    kept = folder / "survival.json"
    with (folder / "survival.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            done = python("-m", "tests.emulator.survive", stdin=subprocess.DEVNULL)
            found = {record["name"]: record for record in records_of(done.stdout)}
            kept.write_text(json.dumps({"status": done.returncode, "errors": done.stderr, "records": found}))
    made: dict[str, Any] = json.loads(kept.read_text())
    return made


def record_of(bad: Bad, outcome: dict[str, Any]) -> dict[str, Any]:
    assert bad.name in outcome["records"], f"the process ended before, with {outcome['status']}: {outcome['errors']}"
    record: dict[str, Any] = outcome["records"][bad.name]
    assert record["error"] is not None, "nobody noticed"
    assert record["seconds"] < MOST_SECONDS
    return record


@pytest.mark.parametrize("bad", LAUNCHED, ids=lambda bad: bad.name)
def test_bad_kernel_is_a_finding(bad: Bad, outcome: dict[str, Any]) -> None:
    assert bad.places, "a bad kernel needs a mark `// name: kind` where it may be caught"
    record = record_of(bad, outcome)
    assert (record.get("line"), record.get("kind")) in bad.places, record["error"]
    assert record["kernel"] == bad.name
    assert record["file"] == bad.file
    assert record["block"] == [0, 0, 0]
    assert 0 <= record["thread"][0] < 32
    assert record["thread"][1:] == [0, 0]
    assert record["error"].startswith(f"{bad.file}:{record['line']} in {bad.name}: ")
    assert len(record["error"]) < 500


@pytest.mark.parametrize("bad", REFUSED, ids=lambda bad: bad.name)
def test_bad_kernel_does_not_compile(bad: Bad, outcome: dict[str, Any]) -> None:
    assert re.search(str(bad.refused), record_of(bad, outcome)["error"], re.MULTILINE), outcome["records"][bad.name]


def test_the_process_lives_through_all_of_them(outcome: dict[str, Any]) -> None:
    assert outcome["status"] == 0, outcome["errors"]
    assert len(LAUNCHED) + len(REFUSED) >= 100
    assert list(outcome["records"]) == [*[bad.name for bad in (*LAUNCHED, *REFUSED)], "good"]
    assert outcome["records"]["good"]["right"]


@pytest.mark.parametrize(
    ("name", "thread", "message"),
    [
        ("recursion", 0, r"thread \(0,0,0\) of block \(0,0,0\) needs more than the 156 KB of stack that it has"),
        ("one_lane_alone", 5, r"thread \(5,0,0\) .* stack"),
        ("division_in_a_function", 7, r"thread \(7,0,0\) .* divides an integer by zero, or the least one by -1"),
        ("calls_abort", 3, r"thread \(3,0,0\) .* calls abort\(\)"),
        ("asserts", 30, r"assertion failed: x\[threadIdx.x\] < 30.0f in thread \(30,0,0\)"),
        ("traps", 9, r"the kernel called __trap\(\)"),
        ("calls_null", 0, r"calls a function at 0, where no code is"),
        ("one_lane_keeps_the_others", 17, r"for 0.3 seconds of processor time.* GPUNN_EMULATOR_SECONDS"),
        ("past_a_local_array", 0, r"has written past the end of a local array"),
        ("counts_the_printed", 0, r"printf knows no conversion %n"),
    ],
)
def test_the_message_says_who_and_what(name: str, thread: int, message: str, outcome: dict[str, Any]) -> None:
    record = outcome["records"][name]
    assert record["thread"] == [thread, 0, 0]
    assert re.search(message, record["error"]), record["error"]


def test_faults_leave_nothing_behind() -> None:
    """Memory and file handles after a few hundred faults are those after a few thousand."""
    names = ["recursion", "recursion_with_shuffles", "huge_alloca", "calls_null", "calls_abort", "prints_null"]
    held = []
    for times in (50, 300):
        done = python("-m", "tests.emulator.survive", "--times", str(times), *names)
        assert done.returncode == 0, done.stderr
        held.append(records_of(done.stdout)[-1])
    assert held[0]["files"] == held[1]["files"]
    assert held[1]["resident"] - held[0]["resident"] < 1 << 20


LAUNCH = """
import faulthandler, os, signal, sys, threading, time
import numpy as np
from gpunn.emulator import Argument, EmulatorFinding
from tests.emulator import survive

bad = {one.name: one for one in survive.launched()}

def launch(name):
    module = survive.compile_module(bad[name].text, bad[name].file, {})
    y, x = np.zeros(32, np.float32), np.arange(32, dtype=np.float32)
    values = [Argument(y, "out", "y"), Argument(x, "in", "x"), Argument(np.int32(64), "in", "n")]
    module.launch(name, (1, 1, 1), (32, 1, 1), values)

def fails(name):
    try:
        launch(name)
    except EmulatorFinding as found:
        return found.kind
    return None

def in_thread(work, *arguments):
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    return thread

def soon(signal_number, seconds=0.3):
    def send():
        time.sleep(seconds)
        os.kill(os.getpid(), signal_number)
    return in_thread(send)
"""


def program(text: str, limits: dict[str, str] = SHORT) -> subprocess.CompletedProcess[str]:
    return python("-c", LAUNCH + text, limits=limits)


NO_LIMIT = {**SHORT, "GPUNN_EMULATOR_SECONDS": "0"}


@pytest.mark.parametrize("name", ["writes_again", "meets_for_ever", "does_nothing", "prints_for_ever"])
def test_ctrl_c_ends_a_launch(name: str) -> None:
    """Loops with accesses, with barriers, with neither, and in the C library; and what comes after is right."""
    done = program(
        f"""
for again in range(2):
    soon(signal.SIGINT)
    try:
        launch({name!r})
    except KeyboardInterrupt:
        print("interrupted")
assert fails("recursion") == "stack-overflow"
assert survive.good()["right"]
""",
        NO_LIMIT,
    )
    assert (done.stdout, done.returncode) == ("interrupted\ninterrupted\n", 0), done.stderr


@pytest.mark.parametrize("name", ["writes_again", "does_nothing"])
def test_a_handler_that_does_not_raise_lets_the_launch_go_on(name: str) -> None:
    done = program(
        f"""
came = []
signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
print(fails({name!r}), len(came) > 1)
signal.setitimer(signal.ITIMER_REAL, 0)
""",
        {**SHORT, "GPUNN_EMULATOR_SECONDS": "1"},
    )
    assert (done.stdout, done.returncode) == ("limit True\n", 0), done.stderr


def test_a_handler_may_not_launch() -> None:
    done = program(
        """
from gpunn.errors import KernelError
told = []
def handler(number, frame):
    try:
        survive.good()
    except KernelError as error:
        told.append(str(error))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(fails("writes_again"), told)
"""
    )
    assert re.match(r"limit \['good.cu: good: launched by a handler of signals", done.stdout), done.stderr


def test_a_launch_in_another_thread() -> None:
    """Faults and the limit of time are that thread's; Ctrl-C is the main thread's, which waits."""
    done = program(
        """
found = []
names = ["recursion", "calls_null", "does_nothing", "least_int_by_minus_one"]
thread = in_thread(lambda: found.extend(fails(name) for name in names))
thread.join()
print(found)
thread = in_thread(fails, "writes_again")
soon(signal.SIGINT, 0.1)
try:
    thread.join()
except KeyboardInterrupt:
    print("interrupted")
thread.join()
assert survive.good()["right"]
"""
    )
    assert done.stdout == "['stack-overflow', 'fault', 'limit', 'division']\ninterrupted\n", done.stderr


def test_a_fault_after_a_launch_is_told_by_whom_it_was_before() -> None:
    done = program(
        """
faulthandler.enable()
assert fails("recursion") == "stack-overflow"
faulthandler._sigsegv()
"""
    )
    assert done.returncode == -11
    assert "Fatal Python error: Segmentation fault" in done.stderr


def test_a_fault_of_another_thread_during_a_launch_is_not_a_kernels() -> None:
    done = program(
        """
faulthandler.enable()
def fault():
    time.sleep(0.3)
    faulthandler._read_null()
in_thread(fault)
launch("writes_again")
""",
        NO_LIMIT,
    )
    assert done.returncode == -11
    assert "Fatal Python error: Segmentation fault" in done.stderr


def test_handlers_of_signals_are_put_back() -> None:
    """SIGFPE and the timer's signal, which nobody had a handler of, and one of Python's."""
    done = program(
        """
signal.signal(signal.SIGILL, lambda number, frame: print("python's"))
assert fails("least_int_by_minus_one") == "division"
ignored = [line for line in open("/proc/self/status") if line.startswith("SigCgt")]
caught = int(ignored[0].split()[1], 16)
for number in (signal.SIGFPE, signal.SIGTRAP, signal.SIGBUS, signal.SIGRTMAX - 3):
    assert not caught >> (number - 1) & 1, number
os.kill(os.getpid(), signal.SIGILL)
"""
    )
    assert (done.stdout, done.returncode) == ("python's\n", 0), done.stderr


def test_the_limit_lets_long_launches_be() -> None:
    """A launch of many times the limit, whose threads return; and one long thread with no limit."""
    done = program(
        """
import resource
source = '''
extern "C" __global__ void work(float* y, int n) {
    float v = threadIdx.x;
    for (int i = 0; i < n; ++i) v = v * 0.5f + sqrtf(float(i));
    y[blockIdx.x * blockDim.x + threadIdx.x] = v;
}
'''
module, y = survive.compile_module(source, "work.cu", {}), np.zeros(1 << 16, np.float32)
def seconds(blocks, threads, n):
    before = time.process_time()
    module.launch("work", (blocks, 1, 1), (threads, 1, 1), [Argument(y, "out", "y"), Argument(np.int32(n))])
    return time.process_time() - before
n = 1000
while seconds(1, 1, n) < 0.02:
    n *= 2
threads = 1
while seconds(1, threads, n) < 0.8:
    threads *= 2
os.environ["GPUNN_EMULATOR_SECONDS"] = "0"
print(seconds(1, 1, 20 * n) > 0.3)
"""
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_limits_must_be_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'extern "C" __global__ void nothing(int n) {}\n'
    for name in ("GPUNN_EMULATOR_COMPILE_SECONDS", "GPUNN_EMULATOR_COMPILE_MB"):
        for wrong in ("long", "-1", "nan"):
            monkeypatch.setenv(name, wrong)
            with pytest.raises(KernelError, match=rf"{name}: expected a number from 0 .*; got '{wrong}'"):
                compile_module(source, f"{name}{wrong}.cu", {})
        monkeypatch.delenv(name)


def test_a_compiler_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNN_EMULATOR_COMPILE_MB", "60")
    with pytest.raises(KernelError, match=r"poor.cu: g\+\+ needs more than 60 MB of memory"):
        compile_module('extern "C" __global__ void poor(int n) {}\n', "poor.cu", {})


def test_ctrl_c_ends_the_compiler_and_its_children(tmp_path: Path) -> None:
    for made in (build._runtime(), build._header()):
        shutil.copy(made, tmp_path)
    done = program(
        f"""
from pathlib import Path
cache = Path({str(tmp_path)!r})
survive.good()
bad = {{one.name: one for one in survive.refused()}}["exponential_template"]
soon(signal.SIGINT, 1.0)
try:
    survive.compile_module(bad.text, bad.file, {{}})
except KeyboardInterrupt:
    print("interrupted")
def folder(process):
    try:
        return os.readlink(process / "cwd")
    except OSError:  # it has ended, or is another user's
        return ""
until = time.monotonic() + 20  # what was killed may take a moment to go
while running := [process.name for process in Path("/proc").glob("[0-9]*") if folder(process).startswith(str(cache))]:
    if time.monotonic() > until:
        break
print(running)
left = sorted(path.name.split("-")[0] for path in cache.iterdir())
print(left)
""",
        {**SHORT, "GPUNN_CACHE": str(tmp_path)},
    )
    assert done.stdout == "interrupted\n[]\n['cuda', 'good', 'runtime']\n", done.stderr


def test_a_mapped_file_that_becomes_shorter(tmp_path: Path) -> None:
    """Read by the kernel, and filled before it."""
    done = program(
        f"""
source = '''
extern "C" __global__ void copy(float* y, const float* x) {{
    y[threadIdx.x + 1024 * blockIdx.x] = x[threadIdx.x + 1024 * blockIdx.x];
}}
'''
def copy(y, x):
    try:
        survive.compile_module(source, "copy.cu", {{}}).launch(
            "copy", (4, 1, 1), (1024, 1, 1), [Argument(y, "out", "y"), Argument(x, "in", "x")])
    except EmulatorFinding as found:
        print(found)
path = {str(tmp_path / "mapped")!r}
mapped, other = np.memmap(path, np.float32, "w+", shape=4096).view(np.ndarray), np.zeros(4096, np.float32)
copy(other, mapped)
os.truncate(path, 8192)
copy(other, mapped)
copy(mapped, other)
assert survive.good()["right"]
"""
    )
    assert done.returncode == 0, done.stderr
    read, filled = done.stdout.splitlines()
    assert re.match(r"copy.cu:3 in copy: thread \(0,0,0\) of block \(2,0,0\) touches memory that is not there", read)
    assert filled == "copy.cu in copy: an array cannot be written to: is it a mapped file that has become shorter?"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("recursion", "stack-overflow"), ("recursion_with_atomics", "stack-overflow"), ("does_nothing", "limit"),
     ("writes_again", "limit"), ("calls_null", "fault"), ("traps", "trap")],
)  # fmt: skip
def test_it_also_survives_while_it_counts(name: str, kinds: str) -> None:
    done = program(
        f"""
from gpunn.emulator import counting
for again in range(2):
    with counting():
        print(fails({name!r}))
assert survive.good()["right"]
"""
    )
    assert (done.stdout, done.returncode) == (f"{kinds}\n" * 2, 0), done.stderr


def test_names_are_cut_in_messages() -> None:
    name = "k" * 5000
    source = f'extern "C" __global__ void {name}(int* y) {{ y[1] = 0; }}\n'
    with pytest.raises(EmulatorFinding, match=r"f{97}\.\.\.:1 in k{97}\.\.\.: out of bounds") as caught:
        compile_module(source, f"{'f' * 400}.cu", {}).launch(
            name, (1, 1, 1), (1, 1, 1), [Argument(np.zeros(1, np.int32), "out", "y")]
        )
    assert (caught.value.kernel, caught.value.line) == (name, 1)
    assert len(str(caught.value)) < 500


_COUNTED_TO_THE_LAST = """
import numpy as np
from gpunn.emulator import Argument, compile_module, counting

LOOP = '''extern "C" __global__ void loop(float* y, const float* x, int n) {
    float sum = 0;
    for (int i = 0; i < n; ++i) sum += x[(i * 7 + threadIdx.x) % 1024];
    y[threadIdx.x] = sum;
}'''
x, y = np.ones(1024, np.float32), np.zeros(32, np.float32)
arguments = Argument(y, "out"), Argument(x), Argument(np.int32(40_000))
with counting():
    compile_module(LOOP, "loop.cu", {}).launch("loop", (1, 1, 1), (32, 1, 1), arguments)
compile_module(LOOP + "// another", "loop.cu", {}, counting=True)
print("loaded")
"""


def test_a_module_is_loaded_after_a_launch_that_was_asked_for_attention_last() -> None:
    """The timer comes while the last warp's events are counted, when no thread is left that could attend to it."""
    done = python("-c", _COUNTED_TO_THE_LAST, limits={})
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr
