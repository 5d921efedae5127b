"""What a GPU refuses and g++ does not, found in the assembly of a file of kernels and in what the linker says.

Static variables that code initialises, functions of the host, and more static shared memory than a block has. The
first are refused because g++ would have that code run when the library is loaded, in the middle of Python.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field

from gpunn.errors import KernelError

MAX_STATIC_SHARED = 48 * 1024  # bytes, on every GPU
_ALIGNMENT = 16  # dynamic shared memory begins behind a kernel's variables, at a multiple of this (common.cuh)
_CALLER = "_ZN21gpunn_emulator_caller"  # how the name of its instance for a kernel begins
_SANITIZER = "_sub_I_"  # how g++ names the function that would start its own runtime
_RUNS_AT_LOAD = (".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors")
_SYMBOL = re.compile(r"[A-Za-z_.$][\w.$]*")
_UNDEFINED = re.compile(r"([^\s:/]+):(\d+): undefined reference to `([^']+)'")

Place = tuple[str, int]


@dataclass
class Assembly:
    """What is to be known of an assembly text.

    Attributes
    ----------
    shared : dict
        Bytes of each ``__shared__`` variable.
    named : dict
        The symbols that each function refers to.
    places : dict
        Files and lines of each function's instructions, in their order.
    kernels : list of str
        The functions that call the kernels, in the order of the table of kernels.
    at_load : list of str
        Functions that would run when the library is loaded or closed.
    """

    shared: dict[str, int] = field(default_factory=dict)
    named: dict[str, set[str]] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)
    kernels: list[str] = field(default_factory=list)
    at_load: list[str] = field(default_factory=list)

    def reached(self, root: str) -> set[str]:
        """All symbols that a function, or one that it calls, refers to."""
        seen, left = set[str](), [root]
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += self.named.get(name, ())
        return seen

    def static_shared(self) -> list[int]:
        """How many bytes of ``__shared__`` variables each kernel has, in the order of the table of kernels.

        As on a GPU, these are the variables that the kernel, or a function that it calls, refers to.
        """
        totals = [sum(self.shared.get(name, 0) for name in self.reached(root)) for root in self.kernels]
        return [-(-total // _ALIGNMENT) * _ALIGNMENT for total in totals]


def read_assembly(text: str) -> Assembly:
    """What g++ -S wrote, as data."""
    made = Assembly()
    files: dict[str, str] = {}
    section = inside = ""
    for line in text.splitlines():
        words = line.replace(",", " ").split()
        first = words[0] if words else ""
        if first in (".section", ".text", ".data", ".bss"):
            section = words[1] if first == ".section" else first
        if first == ".file" and len(words) > 2:
            files[words[1]] = words[-1].strip('"').rpartition("/")[2]
        elif first == ".type" and words[2] == "@gnu_indirect_function":
            made.at_load.append(words[1])
        elif first == ".type" and words[2] == "@function":
            inside = words[1]
            made.named[inside], made.places[inside] = set(), []
        elif first == ".size" and words[1] == inside:
            inside = ""
        elif first == ".loc" and inside:
            made.places[inside].append((files.get(words[1], ""), int(words[2])))
        elif (first == ".size" and section == "gpunn_shared") or (first == ".comm" and words[1].startswith("_ZZ")):
            made.shared[words[1]] = int(words[2])
        elif first in (".quad", ".xword") and section.startswith(_RUNS_AT_LOAD):
            if not words[1].startswith(_SANITIZER):
                made.at_load.append(words[1])
        elif first == ".quad" and words[1].startswith(_CALLER) and words[1].endswith("4callEPPv"):
            made.kernels.append(words[1])
        elif inside:
            made.named[inside].update(_SYMBOL.findall(line))
    return made


def check_assembly(assembly: Assembly, label: str, names: list[str]) -> None:
    """Raise KernelError for what runs at load, and for too much static shared memory of one of these kernels."""
    for function in assembly.at_load:
        places = assembly.places.get(function, [])
        # The function's own place is the end of the text. Of the others, those of a variable come after those of the
        # functions and constructors that it calls.
        variables = [place for place in places if place != places[0] and place[0] == label]
        file, line = max(variables, default=places[0] if places else (label, 0))
        where = f"{file}:{line}" if line else file
        raise KernelError(
            f"{where}: code would run when the kernels are loaded, which a GPU does not do: initialise static "
            "variables with constants, and use neither constructors nor destructors for them."
        )
    for name, total in zip(names, assembly.static_shared(), strict=True):
        if total > MAX_STATIC_SHARED:
            file, line = next((place for place in assembly.places.get(name, []) if place[0] == label), (label, 0))
            raise KernelError(
                f"{file}:{line} in {name}: expected at most {MAX_STATIC_SHARED} bytes of static shared memory; got "
                f"{total} bytes. Use dynamic shared memory, or smaller tiles."
            )


def undefined_function(message: str, assembly: Assembly, label: str, names: list[str]) -> str | None:
    """The linker's complaint about a function that kernels cannot call, in our words; None if it is another one."""
    found = _UNDEFINED.search(message)
    if found is None:
        return None
    file, line, name = found.groups()
    if name in names:
        return f"{label}: the kernel {name} is declared, but has no body."
    callers = [kernel for kernel, root in zip(names, assembly.kernels, strict=True) if name in assembly.reached(root)]
    where = f"{file}:{line} in {callers[0]}" if callers else f"{file}:{line}"
    if name.startswith("__tsan_atomic"):
        return (
            f"{where}: neither atomics of C++ nor static variables that code initialises exist in a kernel: use "
            "atomicAdd and its kin, and constants."
        )
    return (
        f"{where}: {_demangled(name)[:200]} is no function that a kernel can call: functions of the host do not exist "
        "on a GPU, and others need a body in this file."
    )


def _demangled(name: str) -> str:
    if shutil.which("c++filt") is None:
        return name
    shown = subprocess.run(["c++filt", name], capture_output=True, text=True, check=False).stdout.strip()
    return shown.replace("(anonymous namespace)::", "") or name
