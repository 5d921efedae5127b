"""What the main loops of products and convolutions are made of, read from the machine code, with no GPU.

A warp issues one instruction at a time, whichever it is. So where multiplying is what takes the time, a loop can come
no closer to a card's peak than the share of its instructions that multiply: FFMA where cores do it, HMMA where tensor
cores do. ``python -m benchmarks.instruction_mix`` compiles the kernels that multiply as the product would, disassembles
them and writes the shares to ``benchmarks/results/instruction_mix.tsv``. ``--check`` writes nothing; it fails where the
table is not of these sources, or a share is less than ``FLOORS`` asks for.

It needs NVRTC (``gpunn[dev]``) and NVIDIA's disassembler (``gpunn[sass]``), unless nothing has changed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from benchmarks.compile_gate import GateError, Job, jobs_of, sources
from gpunn.bench.machine_code import compile_source, disassemble, kernels_of

TABLE = Path(__file__).parent / "results" / "instruction_mix.tsv"
ARCHITECTURE = 90  # H100 and H200
FILES = (
    "gemm.cu",
    "gemm_batched.cu",
    "gemm_tensor.cu",
    "gemm_half.cu",
    "conv2d.cu",
    "conv2d_half.cu",
    "conv2d_tensor.cu",
    "conv2d_first.cu",
    "conv2d_first_data.cu",
    "conv2d_first_half.cu",
    "conv2d_first_half_weight.cu",
    "conv2d_first_half_data.cu",
    "scaled_dot_product_attention.cu",
)
# Whose kernels have several products, one after the other: their innermost loops are counted together.
SEVERAL = ("scaled_dot_product_attention.cu",)
MULTIPLY = ("FFMA", "HMMA")  # where a kernel has HMMA, what it does by FFMA besides is not its main loop
# The least share of the loop that multiplies, by kernel and tile, "GEOMETRY TN" or "GEOMETRY CHANNELS" of first layers,
# or MODE of tensor cores; "" for all others. What is wanted is 0.88, and 0.82 of gradients.
# The tile of 32, for few columns, is not held to it.
FLOORS = {
    ("gemm_nt", "128"): 0.89,
    ("gemm_nn", "128"): 0.9,
    ("gemm_tn", "128"): 0.88,
    ("gemm_nt", "64"): 0.88,
    ("gemm_nn", "64"): 0.89,
    ("gemm_tn", "64"): 0.85,
    ("gemm_backward", "64"): 0.85,
    ("gemm_batched_nt", "128"): 0.9,
    ("gemm_batched_nn", "128"): 0.9,
    ("gemm_batched_tn", "128"): 0.91,
    ("gemm_batched_nt", "64"): 0.88,
    ("gemm_batched_nn", "64"): 0.89,
    ("gemm_batched_tn", "64"): 0.9,
    ("conv2d_forward", "128"): 0.89,
    ("conv2d_forward", "64"): 0.88,
    ("conv2d_backward_data", "128"): 0.86,
    ("conv2d_backward_data", "64"): 0.85,
    ("conv2d_backward_weight", "128"): 0.86,
    ("conv2d_backward_weight", "64"): 0.82,  # of two loops that with a ReLU's mask, which leaves dz as well
    ("conv2d_backward", "64"): 0.83,
    # One channel and any geometry: a vector of dz is in four products for each pixel, and no more.
    ("conv2d_first_backward_data", "1 1"): 0.72,
    ("conv2d_first_backward_data", "1 2"): 0.83,
    ("conv2d_first_backward_data", "1 3"): 0.84,
    ("conv2d_first_backward_data", "1 4"): 0.87,
    ("conv2d_first_backward_data", "13 1"): 0.84,
    ("conv2d_first_backward_data", "13 3"): 0.91,
    ("conv2d_first_backward_data", "15 1"): 0.87,
    ("conv2d_first_backward_data", "15 3"): 0.93,
    ("conv2d_first_backward_data", "17 1"): 0.89,
    ("conv2d_first_backward_data", "17 3"): 0.94,
    ("conv2d_first_backward_data", "23 1"): 0.84,
    ("conv2d_first_backward_data", "23 3"): 0.91,
    ("conv2d_first_backward_data", "24 1"): 0.87,
    ("conv2d_first_backward_data", "24 3"): 0.92,
    ("conv2d_first_backward_data", "27 1"): 0.9,
    ("conv2d_first_backward_data", "27 3"): 0.94,
    ("conv2d_first_forward", "1 4"): 0.88,  # any geometry
    ("conv2d_first_forward", "1 8"): 0.89,
    ("conv2d_first_forward", "13 4"): 0.91,
    ("conv2d_first_forward", "13 8"): 0.91,
    ("conv2d_first_forward", "15 4"): 0.94,
    ("conv2d_first_forward", "15 8"): 0.93,
    ("conv2d_first_forward", "23 4"): 0.89,
    ("conv2d_first_forward", "23 8"): 0.9,
    ("conv2d_first_forward", "27 4"): 0.93,
    ("conv2d_first_forward", "27 8"): 0.93,
    ("conv2d_first_backward_weight", "1 4"): 0.82,
    ("conv2d_first_backward_weight", "1 8"): 0.86,
    ("conv2d_first_backward_weight", "13 4"): 0.87,
    ("conv2d_first_backward_weight", "13 8"): 0.89,
    ("conv2d_first_backward_weight", "15 4"): 0.84,
    ("conv2d_first_backward_weight", "15 8"): 0.85,
    ("conv2d_first_backward_weight", "23 4"): 0.85,
    ("conv2d_first_backward_weight", "23 8"): 0.88,
    ("conv2d_first_backward_weight", "27 4"): 0.86,
    ("conv2d_first_backward_weight", "27 8"): 0.88,
    ("attention_forward", ""): 0.88,
    ("attention_backward_queries", ""): 0.88,
    ("attention_backward_keys", ""): 0.88,
    # One HMMA to three others is wanted.
    **{(f"gemm_tensor_{form}", mode): 0.25 for form in ("nt", "nn", "tn") for mode in ("TF32", "TF32X3", "BF16")},
    ("conv2d_tensor_forward", "TF32"): 0.28,
    ("conv2d_tensor_backward_data", "TF32"): 0.25,
    ("conv2d_tensor_backward_weight", "TF32"): 0.3,
    ("conv2d_tensor_forward", "TF32X3"): 0.39,
    ("conv2d_tensor_backward_data", "TF32X3"): 0.37,
    ("conv2d_tensor_backward_weight", "TF32X3"): 0.4,
    # 16-bit numbers come from memory as HMMA takes them. Copies look for their filter elements and pixels.
    ("gemm_half_nt", ""): 0.41,
    ("gemm_half_nn", ""): 0.36,
    ("gemm_half_tn", ""): 0.34,
    ("conv2d_half_forward", ""): 0.34,
    ("conv2d_half_backward_data", ""): 0.27,
    ("conv2d_half_backward_weight", ""): 0.27,
    # Of two loops that of the last steps, which mask what is beside a filter row.
    ("conv2d_first_half_forward", "64"): 0.39,
    ("conv2d_first_half_backward_data", ""): 0.37,
    ("conv2d_first_half_forward", "32"): 0.25,
    # With one, two, three groups of slots a warp 0.36, 0.39, 0.41 and 0.25, 0.25, 0.27.
    ("conv2d_first_half_backward_weight", "64"): 0.36,
    ("conv2d_first_half_backward_weight", "32"): 0.25,
}
_TITLE = (
    f"# Main loops for sm_{ARCHITECTURE}: all instructions; those that multiply, of shared memory, of global memory.",
    "# Made by: python -m benchmarks.instruction_mix (no GPU needed). `source` is the hash of text and options.",
)
_LABEL = re.compile(r"^(\.L\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s?(.*?);")
_TARGET = re.compile(r"`\((\.L\w+)\)")


@dataclass(frozen=True)
class Row:
    """One main loop, or a kernel's product loops together."""

    file: str
    macros: str
    kernel: str
    instructions: int
    multiply: int
    shared: int
    memory: int
    source: str

    @property
    def share(self) -> float:
        """Of its instructions that multiply."""
        return self.multiply / self.instructions

    @property
    def fault(self) -> str | None:
        """Why it fails, or None."""
        macros = dict(macro.split("=") for macro in self.macros.split())
        tile = " ".join(macros[name] for name in ("TILE", "GEOMETRY", "TN", "CHANNELS", "MODE") if name in macros)
        floor = FLOORS.get((self.kernel, tile), 0)
        if self.share >= floor:
            return None
        return f"{self.file} {self.kernel} [{self.macros}]: {self.share:.1%} of its loop multiplies, not {floor:.0%}"


def _loops(lines: str) -> tuple[list[str], list[range]]:
    """All instructions of a kernel, and which of them each loop has."""
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for line in lines.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(opcodes)
        elif instruction := _INSTRUCTION.match(line):
            opcode = instruction[1].split(".")[0]
            if opcode == "BRA" and (target := _TARGET.search(instruction[2])):
                jumps.append((len(opcodes), target[1]))
            opcodes.append(opcode)
    return opcodes, [range(labels[to], at + 1) for at, to in jumps if to in labels and labels[to] <= at]


def _multiplies(opcodes: Iterable[str], kinds: tuple[str, ...] = MULTIPLY) -> int:
    return sum(opcode in kinds for opcode in opcodes)


def main_loop(lines: str) -> Counter[str] | None:
    """How often each instruction stands in the loop that multiplies; None where no loop does.

    A loop that holds one with half of its multiplications is not it. Where several are left, of which one runs, as
    with and without a ReLU, it is the one with the least share, of those with half as many multiplications as any.
    """
    opcodes, loops = _loops(lines)
    kinds = MULTIPLY[1:] if MULTIPLY[1] in opcodes else MULTIPLY
    found = {loop: _multiplies((opcodes[at] for at in loop), kinds) for loop in loops}
    inner = [
        loop
        for loop in loops
        if found[loop] and not any(_inside(other, loop) and 2 * found[other] >= found[loop] for other in loops)
    ]
    if not inner:
        return None
    most = max(found[loop] for loop in inner)
    worst = min((loop for loop in inner if 2 * found[loop] >= most), key=lambda loop: found[loop] / len(loop))
    return Counter(opcodes[at] for at in worst)


def _inside(inner: range, outer: range) -> bool:
    return inner != outer and inner[0] in outer and inner[-1] in outer


def product_loops(lines: str) -> Counter[str] | None:
    """The same of all innermost loops together that multiply, but for those with less than a tenth of the longest one.

    None where no loop does.
    """
    opcodes, loops = _loops(lines)
    inner = [loop for loop in loops if not any(other != loop and other[0] in loop for other in loops)]
    found = {loop: _multiplies(opcodes[at] for at in loop) for loop in inner}
    most = max(found.values(), default=0)
    if not most:
        return None
    return Counter(opcodes[at] for loop, count in found.items() if count >= most / 10 for at in loop)


def rows_of(job: Job, text: str) -> Iterator[Row]:
    """The main loops of one specialisation."""
    _, code = compile_source(text, job.file, job.macros.split(), job.arch)
    for kernel, lines in kernels_of(disassemble(code)):
        found = (product_loops if job.file in SEVERAL else main_loop)(lines)
        if found is None:
            raise GateError(f"{job.file} {kernel} [{job.macros}]: no loop multiplies")
        multiply, shared = (sum(found[name] for name in names) for names in (MULTIPLY, ("LDS", "STS", "LDSM")))
        memory = sum(found[name] for name in ("LDG", "STG", "LDGSTS"))
        yield Row(job.file, job.macros, kernel, found.total(), multiply, shared, memory, job.source)


def wanted() -> list[Job]:
    """What is compiled: float, in vectors of 4 where there are vectors."""
    jobs = [job for file in FILES for job in jobs_of(sources()[file]) if job.arch == ARCHITECTURE]
    return [job for job in jobs if "REAL=float" in job.macros and ("VEC=" not in job.macros or "VEC=4" in job.macros)]


def read_table(path: Path) -> list[Row]:
    """The rows of the table; none where there is none."""
    if not path.exists():
        return []
    names = [field.name for field in fields(Row)]
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split("\t")
        if line.startswith("#") or cells == names:
            continue
        if len(cells) != len(names):
            raise GateError(f"{path}:{number}: expected {len(names)} cells; got {len(cells)}: make it anew")
        file, macros, kernel, source = *cells[:3], cells[7]
        instructions, multiply, shared, memory = map(int, cells[3:7])
        rows.append(Row(file, macros, kernel, instructions, multiply, shared, memory, source))
    return rows


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Write the rows, in order."""
    ordered = sorted(rows, key=lambda row: (row.file, row.macros, row.kernel))
    lines = [*_TITLE, "\t".join(field.name for field in fields(Row))]
    lines += ["\t".join(map(str, astuple(row))) for row in ordered]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Make the table, or check it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instruction_mix", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if the table is stale or a share too low"
    )
    options = parser.parse_args(arguments)
    try:
        jobs, table = wanted(), read_table(TABLE)
        have = {(row.file, row.macros, row.source) for row in table}
        missing = [job for job in jobs if (job.file, job.macros, job.source) not in have]
        if not options.check:
            texts = {name: source.text for name, source in sources().items()}
            current = {(job.file, job.macros, job.source) for job in jobs}
            table = [row for row in table if (row.file, row.macros, row.source) in current]
            table += [row for job in missing for row in rows_of(job, texts[job.file])]
            write_table(table, TABLE)
            missing = []
    except GateError as error:
        print(f"instruction mix: {error}", file=sys.stderr)
        return 2
    faults = [row.fault for row in table if row.fault]
    for row in table:
        print(f"{row.share:6.1%} of {row.instructions:5}  {row.file} {row.kernel} [{row.macros}]")
    for fault in faults:
        print(f"TOO LOW: {fault}")
    for job in missing:
        print(f"STALE: {job.file} [{job.macros}]: run python -m benchmarks.instruction_mix")
    return int(bool(faults or missing))


if __name__ == "__main__":
    sys.exit(main())
