"""Compiles kernels and the runtime with g++, and keeps what came out in a folder.

A kernel goes through g++ in three steps: preprocess, to find the kernels by the word ``__global__``;
compile to assembly, to put a guard zone in front of every ``__shared__`` array; and link against the
runtime, which is compiled once from the files next to this one. So is ``cuda.h``, whose reading would
take longer than most kernels.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gpunn.errors import DeviceError, KernelError

_HERE = Path(__file__).parent
_HEADERS = ("cuda.h", "atomics.h", "tensor_core.h", "runtime.h")
_RUNTIME = (
    "runtime.h", "state.h", "switch.h", "fibers.h",
    "switch.cpp", "fibers.cpp", "collectives.cpp", "copies.cpp", "memory.cpp", "races.cpp", "describe.cpp", "hooks.cpp",
    "counts.h", "counts.cpp", "block_order.cpp", "warp_steps.cpp",
)  # fmt: skip

_RUNTIME_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions")
_KERNEL_FLAGS = (
    # Two specialisations of one file have variables of the same name, which must stay apart.
    "-fno-gnu-unique",
    "-std=c++17", "-O2", "-g1", "-gdwarf-4", "-fPIC", "-fno-exceptions", "-fno-rtti",
    # Where variables are, which -g1 does not say anyway: an eighth of the compiler's work.
    "-fno-var-tracking",
    # A fiber's stack has 128 KB.
    "-Werror=frame-larger-than=98304",
    # A compiler for the GPU contracts a * b + c; the results here are those of NumPy instead.
    "-ffp-contract=off",
    # The hooks; only the calls are wanted, their libraries are not linked.
    "-fsanitize=thread,alignment,bounds,integer-divide-by-zero,shift",
    # A loop that became memset would not call the hooks.
    "-fno-tree-loop-distribute-patterns",
    # A hook that was jumped to would see its caller's caller.
    "-fno-optimize-sibling-calls",
)  # fmt: skip
# Of modules that count (counts.cpp): calls at basic blocks and comparisons; and vectors stay one access, elements side
# by side several, each block of the source one block.
_COUNTING_FLAGS = (
    "-fsanitize-coverage=trace-pc,trace-cmp",
    "-fno-tree-sra", "-fno-ipa-sra", "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-fno-store-merging",
    "-fno-thread-jumps", "-fno-code-hoisting", "-fno-tree-tail-merge",
)  # fmt: skip
_LINK_FLAGS = (
    "-shared", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN", "-Wl,--wrap=memcpy,--wrap=memmove,--wrap=memset",
)  # fmt: skip

_GUARD_BYTES = 128
_DIRECTIVES = ("\t.section", "\t.text", "\t.data", "\t.bss", "\t.align", "\t.balign", "\t.comm", "\t.size")
_PATIENCE = 120.0  # seconds for another process to build a file; what is built twice for all that does no harm
_MESSAGE_LENGTH = 4000  # of g++'s output: what comes later mostly follows from what came first
_DYNAMIC_ALIGNMENT = 16  # dynamic shared memory begins behind a kernel's variables, at a multiple of this (common.cuh)
_CALLER = "_ZN21gpunn_emulator_caller"  # how the name of its instance for a kernel begins
_STATIC = "gpunn_emulator_static_shared"
_SYMBOL = re.compile(r"[A-Za-z_.$][\w.$]*")
_KERNEL_NAME = re.compile(r'extern\s+"C"\s+(?:static\s+)?__global__\s+(?:static\s+)?void\s+(\w+)\s*\(')
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<[^>]*>", re.MULTILINE)


def available() -> str | None:
    """Return None if kernels can be compiled here, else what is missing and how to get it."""
    if not sys.platform.startswith("linux"):
        return f"the emulator runs on Linux; this is {sys.platform}"
    if shutil.which("g++") is None:
        return "the emulator needs g++ (version 9 or later), which is not on PATH: apt install g++"
    return None


def compile_kernels(source: str, label: str, defines: Mapping[str, str], counting: bool = False) -> Path:
    """Return the path of the shared library with the kernels of ``source``, which can count if that is asked for."""
    runtime = _runtime()
    flags = [f"-D{name}={value}" for name, value in defines.items()]
    code_flags = (*_KERNEL_FLAGS, *(_COUNTING_FLAGS if counting else ()))
    # The kernels stand in an unnamed namespace: g++ then makes no COMDAT groups of templates and inline
    # functions, which could not share a section with the static variables of ordinary ones. Includes of
    # system headers must not, and are moved out.
    includes = "\n".join(_INCLUDE.findall(source))
    text = f'#include "cuda.h"\n{includes}\nnamespace {{\n#line 1 "{label}"\n{_INCLUDE.sub("", source)}\n}}\n'
    key = _key(text, *flags, *code_flags, *_LINK_FLAGS, runtime.name, *_texts((*_HEADERS, "build.py")))

    def build(target: Path, folder: Path) -> None:
        (folder / "kernels.cu").write_text(text, encoding="utf-8")
        compiled = folder / "cuda.h.gch"  # what g++ takes for cuda.h where it finds it
        compiled.symlink_to(_header(code_flags))
        try:
            compile_text(folder)
        except KernelError:
            # Before version 13 g++ gives up where that memory is taken which the header was compiled for. And
            # faults of the kernel are told in the words that belong to the whole text.
            compiled.unlink()
            compile_text(folder)
        plain = (folder / "plain.s").read_text(encoding="utf-8")
        if counting:
            plain = count_in_kernels_alone(plain)
        (folder / "kernels.s").write_text(guard_shared_arrays(plain) + _static_table(plain), encoding="utf-8")
        _run(["kernels.s", str(runtime), *_LINK_FLAGS, "-o", str(target)], folder, label)

    def compile_text(folder: Path) -> None:
        common = ["-x", "c++", "-fpch-preprocess", f"-I{_HERE}", *flags, *code_flags]
        _run(["-E", *common, "kernels.cu", "-o", "plain.ii"], folder, label)
        plain = (folder / "plain.ii").read_text(encoding="utf-8")
        names = list(dict.fromkeys(_KERNEL_NAME.findall(plain)))
        if not names:
            raise KernelError(f'{label}: no kernel found; expected extern "C" __global__ void name(...)')
        plain = re.sub(r"\b__global__\b", "", plain) + _registration(names)
        (folder / "kernels.ii").write_text(plain, encoding="utf-8")
        _run(["-S", *code_flags, "kernels.ii", "-o", "plain.s"], folder, label)

    return _cached(f"{Path(label).stem}-{key}.so", build)


def guard_shared_arrays(assembly: str) -> str:
    """Put ``__shared__`` arrays between guard zones, and append a table of them.

    Ordinary functions' arrays come as labels in the section ``gpunn_shared``; g++ drops the section
    from those of templates, which come as ``.comm`` (device code has no other static variables).
    """
    arrays: list[tuple[str, str]] = []
    lines = []
    section = ""
    alignment = "\t.balign\t16"
    for line in assembly.splitlines():
        if section != "gpunn_shared" and not line.startswith(_DIRECTIVES):
            lines.append(line)
            continue
        words = line.replace(",", " ").split()
        first = words[0] if words else ""
        if first in (".section", ".text", ".data", ".bss"):
            section = words[1] if first == ".section" else first
        elif first in (".align", ".balign"):
            alignment = line
        elif first == ".comm" and words[1].startswith("_ZZ"):
            name, size, align = words[1], words[2], words[3]
            lines += [
                '\t.section\tgpunn_shared,"aw"', f"\t.zero\t{_GUARD_BYTES}", f"\t.balign\t{align}",
                f"\t.type\t{name}, @object", f"\t.size\t{name}, {size}", f"{name}:", f"\t.zero\t{size}",
                f"\t.section\t{section}" if section not in (".text", ".data", ".bss") else f"\t{section}",
            ]  # fmt: skip
            arrays.append((name, size))
            continue
        elif section == "gpunn_shared" and first == ".size":
            arrays.append((words[1], words[2]))
        elif section == "gpunn_shared" and first.endswith(":"):
            lines += [f"\t.zero\t{_GUARD_BYTES}", alignment]
            alignment = "\t.balign\t16"
        lines.append(line)
    if arrays:
        lines += ['\t.section\tgpunn_shared,"aw"', f"\t.zero\t{_GUARD_BYTES}"]
        for i, (name, size) in enumerate(arrays):
            lines += [
                '\t.section\tgpunn_arrays,"aw"', f"\t.quad\t{name}, {size}, .Lgpunn_name{i}",
                "\t.section\t.rodata", f".Lgpunn_name{i}:", f'\t.string\t"{name}"',
            ]  # fmt: skip
    return "\n".join(lines) + "\n"


def count_in_kernels_alone(assembly: str) -> str:
    """Take the calls for counting out of functions whose accesses are not seen either: those of ``cuda.h``."""
    lines: list[str] = []
    start, watched = 0, True
    for line in assembly.splitlines():
        if line.startswith("\t.type") and line.endswith("@function"):
            start, watched = len(lines), False
        elif "\t__tsan_func_entry" in line:
            watched = True
        elif line.startswith("\t.size") and not watched:
            lines[start:] = [other for other in lines[start:] if "\t__sanitizer_cov_trace_" not in other]
            watched = True
        lines.append(line)
    return "\n".join(lines) + "\n"


def static_shared(assembly: str) -> list[int]:
    """How many bytes of ``__shared__`` variables each kernel has, in the order of the table of kernels.

    As on a GPU, these are the variables that the kernel, or a function that it calls, refers to.
    """
    sizes: dict[str, int] = {}
    named: dict[str, set[str]] = {}  # what a function refers to
    roots: list[str] = []
    section = inside = ""
    for line in assembly.splitlines():
        words = line.replace(",", " ").split()
        first = words[0] if words else ""
        if first in (".section", ".text", ".data", ".bss"):
            section = words[1] if first == ".section" else first
        if first == ".type" and words[2] == "@function":
            inside = words[1]
            named[inside] = set()
        elif first == ".size" and words[1] == inside:
            inside = ""
        elif (first == ".size" and section == "gpunn_shared") or (first == ".comm" and words[1].startswith("_ZZ")):
            sizes[words[1]] = int(words[2])
        elif first == ".quad" and words[1].startswith(_CALLER) and words[1].endswith("4callEPPv"):
            roots.append(words[1])
        elif inside:
            named[inside].update(_SYMBOL.findall(line))

    def bytes_of(root: str) -> int:
        seen, left = set[str](), [root]
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += named.get(name, ())
        total = sum(sizes[name] for name in seen if name in sizes)
        return -(-total // _DYNAMIC_ALIGNMENT) * _DYNAMIC_ALIGNMENT

    return [bytes_of(root) for root in roots]


def _static_table(assembly: str) -> str:
    rows = "".join(f"\t.quad\t{size}\n" for size in static_shared(assembly))
    return f"\t.section\t.rodata\n\t.balign\t8\n\t.globl\t{_STATIC}\n\t.hidden\t{_STATIC}\n{_STATIC}:\n{rows}"


def _registration(names: list[str]) -> str:
    """Return C++ that exports the table of kernels (``gpunn_emulator_module_info`` in runtime.h)."""
    rows = "".join(
        f'    {{"{name}", &gpunn_emulator_caller<{name}>::call, gpunn_emulator_caller<{name}>::count,\n'
        f"     gpunn_emulator_caller<{name}>::sizes, gpunn_emulator_caller<{name}>::pointers}},\n"
        for name in names
    )
    weak = '__attribute__((weak, visibility("hidden")))'
    return f"""
extern "C" {{
extern char __start_gpunn_shared[] {weak}, __stop_gpunn_shared[] {weak};
extern const gpunn_emulator_array __start_gpunn_arrays[] {weak}, __stop_gpunn_arrays[] {weak};
static const gpunn_emulator_kernel gpunn_emulator_kernels[] = {{
{rows}}};
extern const uint64_t {_STATIC}[] __attribute__((visibility("hidden")));
extern const gpunn_emulator_module_info gpunn_emulator_module;
const gpunn_emulator_module_info gpunn_emulator_module = {{
    gpunn_emulator_kernels, {len(names)}, __start_gpunn_shared, __stop_gpunn_shared,
    __start_gpunn_arrays, __stop_gpunn_arrays, {_STATIC}}};
}}
"""


@functools.cache
def _runtime() -> Path:
    reason = available()
    if reason:
        raise DeviceError(reason)
    key = _key(*_RUNTIME_FLAGS, _compiler(), *_texts(_RUNTIME))
    sources = [str(_HERE / name) for name in _RUNTIME if name.endswith(".cpp")]
    name = f"runtime-{key}.so"

    def build(target: Path, folder: Path) -> None:
        command = [*_RUNTIME_FLAGS, *sources, f"-Wl,-soname,{name}", "-o", str(target)]
        _run(command, folder, "the emulator's runtime")

    return _cached(name, build)


def _header(flags: tuple[str, ...] = _KERNEL_FLAGS) -> Path:
    """``cuda.h``, compiled for kernels with these flags."""
    key = _key(*flags, _compiler(), str(_HERE), *_texts(_HEADERS))

    def build(target: Path, folder: Path) -> None:
        _run(["-x", "c++-header", *flags, str(_HERE / "cuda.h"), "-o", str(target)], folder, "cuda.h")

    return _cached(f"cuda-{key}.gch", build)


@functools.cache
def _compiler() -> str:
    return subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout


def _texts(names: tuple[str, ...]) -> list[str]:
    return [(_HERE / name).read_text(encoding="utf-8") for name in names]


def _key(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:24]


def cache_folder() -> Path:
    """Where what was built is kept: ``GPUNN_CACHE``, else a folder in the user's cache."""
    root = os.environ.get("GPUNN_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "gpunn" / "emulator"


def _cached(name: str, build: Callable[[Path, Path], None]) -> Path:
    """Return the file ``name`` of the cache; have ``build(target, work folder)`` make it if missing."""
    cache = cache_folder()
    path = cache / name
    if path.exists():
        return path
    with contextlib.ExitStack() as held:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            held.enter_context(_alone(path))
            if path.exists():  # whoever was waited for has built it
                return path
            work = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="build-", dir=cache)))
        except OSError as error:
            raise KernelError(
                f"cannot write the emulator's build cache {cache}: {error.strerror}; "
                "set GPUNN_CACHE to a folder that can be written"
            ) from error
        build(work / name, work)
        os.replace(work / name, path)  # whole or not at all
    return path


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from building ``path`` meanwhile: threads and processes wait here until one of them has.

    The lock belongs to an open file, and ends with the process that holds it, however that ends.
    """
    lock = path.with_name(f"{path.name}.lock")
    held = _claim(path, lock)
    try:
        yield
    finally:
        if held is not None:
            lock.unlink(missing_ok=True)  # first: whoever opened it already sees that it is gone, and opens another
            os.close(held)


def _claim(path: Path, lock: Path) -> int | None:
    """Return the open lock file, locked; None where ``path`` has come meanwhile, or there is no waiting for it."""
    import fcntl  # which only systems have that kernels can be compiled on

    until = time.monotonic() + _PATIENCE
    while not path.exists() and time.monotonic() < until:
        with contextlib.ExitStack() as opened:
            file = os.open(lock, os.O_RDONLY | os.O_CREAT, 0o644)
            opened.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
                continue
            except OSError:
                return None  # a file system that knows no locks
            with contextlib.suppress(FileNotFoundError):  # whoever held it before has removed it: once more
                if os.path.samestat(os.fstat(file), lock.stat()):
                    opened.pop_all()
                    return file
    return None


def _run(arguments: list[str], folder: Path, what: str) -> None:
    """Run g++; its output becomes the error's message and never reaches the console."""
    environment = {**os.environ, "LC_ALL": "C"}
    result = subprocess.run(
        ["g++", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        message = result.stderr.strip()[:_MESSAGE_LENGTH]
        raise KernelError(f"{what} does not compile for the emulator:\n{message}")
