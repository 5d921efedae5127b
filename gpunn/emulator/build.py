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

from gpunn.emulator.compiler import CompilerStopped, run_compiler
from gpunn.emulator.rules import check_assembly, read_assembly, undefined_function
from gpunn.errors import DeviceError, KernelError

_HERE = Path(__file__).parent
HEADERS = ("cuda.h", "atomics.h", "tensor_core.h", "runtime.h")
_RUNTIME = (
    "runtime.h", "state.h", "switch.h", "fibers.h", "faults.h",
    "switch.cpp", "fibers.cpp", "faults.cpp", "collectives.cpp", "copies.cpp", "memory.cpp", "races.cpp",
    "describe.cpp", "hooks.cpp", "host_calls.cpp",
    "counts.h", "counts.cpp", "block_order.cpp", "warp_steps.cpp",
)  # fmt: skip

_RUNTIME_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions")
_KERNEL_FLAGS = (
    # Two specialisations of one file have variables of the same name, which must stay apart.
    "-fno-gnu-unique",
    "-std=c++17", "-O2", "-g1", "-gdwarf-4", "-fPIC", "-fno-exceptions", "-fno-rtti",
    # Where variables are, which -g1 does not say anyway: an eighth of the compiler's work.
    "-fno-var-tracking",
    # A fiber's stack has 160 KB. No function gets past the page that guards its end without touching it, and none
    # that writes past its arrays returns.
    "-Werror=frame-larger-than=98304", "-fstack-clash-protection", "-fstack-protector-strong",
    # A compiler for the GPU contracts a * b + c; the results here are those of NumPy instead.
    "-ffp-contract=off",
    # The hooks; only the calls are wanted, their libraries are not linked.
    "-fsanitize=thread,alignment,bounds,integer-divide-by-zero,shift,unreachable,return,vla-bound",
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
_WRAPPED = (  # host_calls.cpp has them
    "memcpy", "memmove", "memset", "memcmp", "printf", "puts", "putchar", "abort", "exit", "_exit", "_Exit",
    "quick_exit", "__assert_fail", "__stack_chk_fail", "__cxa_pure_virtual",
)  # fmt: skip
_LINK_FLAGS = (
    "-shared", "-Wl,-z,defs", "-Wl,-rpath,$ORIGIN", *(f"-Wl,--wrap={name}" for name in _WRAPPED),
    # No other function of the C library.
    "-nodefaultlibs", "-lm", "-lgcc", "-Wl,--no-demangle",
)  # fmt: skip

_GUARD_BYTES = 128
_DIRECTIVES = ("\t.section", "\t.text", "\t.data", "\t.bss", "\t.align", "\t.balign", "\t.comm", "\t.size")
_PATIENCE = 120.0  # seconds for another process to build a file; what is built twice for all that does no harm
_NAME_LENGTH = 100  # of a kernel file's name, as far as it is part of its library's
_STATIC = "gpunn_emulator_static_shared"
_KERNEL_NAME = re.compile(r'extern\s+"C"\s+(?:static\s+)?__global__\s+(?:static\s+)?void\s+(\w+)\s*\(')
_LAUNCH_BOUNDS = re.compile(r"\b__launch_bounds__\s*\(")
_NAME_BEHIND_BOUNDS = re.compile(r"\s*(?:(?:static|void|__global__)\s+)*(\w+)\s*\(")
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
    key = _key(text, *flags, *code_flags, *_LINK_FLAGS, runtime.name, *_texts((*HEADERS, "build.py", "rules.py")))

    def build(target: Path, folder: Path) -> None:
        (folder / "kernels.cu").write_text(text, encoding="utf-8")
        compiled = folder / "cuda.h.gch"  # what g++ takes for cuda.h where it finds it
        compiled.symlink_to(_header(code_flags))
        try:
            names = compile_text(folder)
        except CompilerStopped:
            raise
        except KernelError:
            # Before version 13 g++ gives up where that memory is taken which the header was compiled for. And
            # faults of the kernel are told in the words that belong to the whole text.
            compiled.unlink()
            names = compile_text(folder)
        plain = (folder / "plain.s").read_text(encoding="utf-8")
        if counting:
            plain = count_in_kernels_alone(plain)
        assembly = read_assembly(plain)
        check_assembly(assembly, label, names)
        guarded = guard_shared_arrays(plain) + _static_table(assembly.static_shared())
        (folder / "kernels.s").write_text(guarded, encoding="utf-8")
        try:
            run_compiler(["kernels.s", str(runtime), *_LINK_FLAGS, "-o", str(target)], folder, label)
        except KernelError as error:
            told = undefined_function(str(error), assembly, label, names)
            raise (error if told is None else KernelError(told)) from None

    def compile_text(folder: Path) -> list[str]:
        common = ["-x", "c++", "-fpch-preprocess", f"-I{_HERE}", *flags, *code_flags]
        run_compiler(["-E", *common, "kernels.cu", "-o", "plain.ii"], folder, label)
        plain, bounds = take_launch_bounds((folder / "plain.ii").read_text(encoding="utf-8"))
        names = list(dict.fromkeys(_KERNEL_NAME.findall(plain)))
        if not names:
            raise KernelError(f'{label}: no kernel found; expected extern "C" __global__ void name(...)')
        plain = re.sub(r"\b__global__\b", "", plain) + _registration(names, bounds)
        (folder / "kernels.ii").write_text(plain, encoding="utf-8")
        run_compiler(["-S", *code_flags, "kernels.ii", "-o", "plain.s"], folder, label)
        return names

    return _cached(f"{Path(label).stem[:_NAME_LENGTH]}-{key}.so", build)


def take_launch_bounds(plain: str) -> tuple[str, dict[str, str]]:
    """Preprocessed text without ``__launch_bounds__(most, ...)``, and what ``most`` is, by the kernel's name.

    They are no macro, so that this finds them with all macros in them replaced; the constants are the compiler's.
    """
    pieces, bounds, done = [], {}, 0
    for found in _LAUNCH_BOUNDS.finditer(plain):
        if found.start() < done:
            continue
        pieces.append(plain[done : found.start()])
        depth, comma, at = 1, None, found.end()
        while depth and at < len(plain):
            depth += {"(": 1, ")": -1}.get(plain[at], 0)
            if comma is None and (not depth or (depth == 1 and plain[at] == ",")):
                comma = at
            at += 1
        name = _NAME_BEHIND_BOUNDS.match(plain, at)
        if name is not None:
            bounds[name[1]] = plain[found.end() : comma]
        pieces.append(re.sub(r"[^\n]", "", plain[found.start() : at]))  # lines keep their numbers
        done = at
    return "".join([*pieces, plain[done:]]), bounds


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


def _static_table(sizes: list[int]) -> str:
    rows = "".join(f"\t.quad\t{size}\n" for size in sizes)
    return f"\t.section\t.rodata\n\t.balign\t8\n\t.globl\t{_STATIC}\n\t.hidden\t{_STATIC}\n{_STATIC}:\n{rows}"


def _registration(names: list[str], bounds: Mapping[str, str]) -> str:
    """Return C++ that exports the table of kernels (``gpunn_emulator_module_info`` in runtime.h)."""
    rows = "".join(
        f'    {{"{name}", &gpunn_emulator_caller<{name}>::call, gpunn_emulator_caller<{name}>::count,\n'
        f"     gpunn_emulator_caller<{name}>::sizes, gpunn_emulator_caller<{name}>::pointers,\n"
        f"     static_cast<uint32_t>({bounds.get(name, '0')})}},\n"
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
        run_compiler(command, folder, "the emulator's runtime")

    return _cached(name, build)


def _header(flags: tuple[str, ...] = _KERNEL_FLAGS) -> Path:
    """``cuda.h``, compiled for kernels with these flags."""
    key = _key(*flags, _compiler(), str(_HERE), *_texts(HEADERS))

    def build(target: Path, folder: Path) -> None:
        run_compiler(["-x", "c++-header", *flags, str(_HERE / "cuda.h"), "-o", str(target)], folder, "cuda.h")

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
