"""The mutation run itself: its edits, its sample, and that it tells caught from survived."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpunn.gpu.launcher import kernel_folder
from tests.mutants import explained, launch_code
from tests.mutants.launch_operators import launch_mutants
from tests.mutants.operators import OPERATORS, Mutant, mutants_of
from tests.mutants.plan import Users, sample

ROOT = Path(__file__).parent.parent
KERNEL = """\
// toy.cu: i * n + 1 in a comment; "a < b" in a string.
#include "toy.cuh"
#define SIZE 32

template <int N>
struct alignas(8) Pair {
    real v[N];
    __device__ int at(int i) const { return (int)i * pitch + offset; }
};

extern "C" __global__ void __launch_bounds__(256, 1)
    toy(real* __restrict__ y, const real* x, int n, int h, int w) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    real sum = 0;
    const size_t at = (size_t)i;
    for (int k = i; k < n - 1; k += gridDim.x * w) sum += k % 2 && h != w ? x[k] : real(0);
    __syncthreads();
    for (int k = 0; k < n; ++k) sum -= x[h] / 0.5;
    y[i] = __shfl_xor_sync(FULL_MASK, sum & 7, -i);
    __syncthreads();
}
"""

STATEMENTS = """\
enum { ROWS = 8, PAD = 4 };
__device__ void step(float* panel, const float* a, double* found, int n) {
    double sum = 0;
    const int at = (int)threadIdx.x ^ n;
    const float all = a[0] + a[1] + a[2];
    for (int k = 0; k < n; ++k) sum += a[k] * at;
    for (int k = 0; k < n; ++k) found[k] += real(all);
    cp_async_16(panel + at * (ROWS + PAD), a);
    cp_async_commit();
    cp_async_wait<0>();
    __threadfence_block();
    found[0] = sum;
    found[1] = found[0] + all;
    found[2] = at;
}
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.cu"
    path.write_text(KERNEL)
    return path


@pytest.mark.parametrize(
    ("operator", "edits"),
    [
        ("barrier", ["((void)0);", "((void)0);"]),
        ("bound", ["i > n", "k <= n - 1", "k <= n"]),
        ("equality", ["h == w"]),
        ("one-off", ["k < n ;"]),
        ("terms", ["(int)i * offset + pitch", "blockIdx.x * threadIdx.x + blockDim.x"]),
        ("guard", ["(true) return", "(false) return", "+= true ?", "+= false ?"]),
        ("logic", ["k % 2 || h"]),
        ("division", ["x[h] % 0.5"]),
        ("stride", ["k += 2 * gridDim.x * w", "; k += 2)"]),
        ("factor", ["return (int)i  + offset", "= blockIdx.x  + threadIdx.x", "gridDim.x ) sum"]),
        ("axis", ["blockIdx.y", "blockDim.y", "threadIdx.y", "gridDim.y"]),
        ("twin", ["* h)", "w != w", "h != h", "x[w]"]),
        ("mask", ["0x7fffffffu", "sum , -i"]),
        ("accumulate", ["k = gridDim.x", "sum = k", "sum += x[h]"]),
        ("initial", ["sum = 1", "real(1)", "int k = 1"]),
        ("constant", ["n - 2", "k % 3", "(2 * 0.5)", "& 8", "real sum = 1", "real(1)", "int k = 1"]),
        ("sign", [", i)"]),
        ("width", ["const int at", "= (int)i;"]),
    ],
)  # fmt: skip
def test_operators(toy: Path, operator: str, edits: list[str]) -> None:
    mutants = mutants_of(toy, [operator])
    for edit in edits:
        assert any(edit in m.after and edit not in m.before for m in mutants), (edit, [m.after for m in mutants])
    assert len(mutants) == len(edits), [m.after for m in mutants]


@pytest.mark.parametrize(
    ("operator", "edits"),
    [
        ("barrier", ["((void)0);"] * 3),
        ("cast", ["= threadIdx.x ^", "+= (all)"]),
        ("type", ["float sum", "unsigned at"]),
        ("order", ["int k = (n) - 1; k >= (0); --k) sum", "a[0] + (a[1] + a[2])"]),
        ("swizzle", ["PAD = 0", "(int)threadIdx.x ;", "(ROWS )"]),
        ("delete", ["++k) ((void)0);"] * 2 + ["((void)0);"] * 7),
        (
            "move",
            [
                "cp_async_commit(); cp_async_16", "cp_async_wait<0>(); cp_async_commit();",
                "__threadfence_block(); cp_async_wait", "found[0] = sum; __threadfence_block();",
                "+ all; found[0] = sum;", "at; found[1]",
            ],
        ),
    ],
)  # fmt: skip
def test_operators_of_statements(toy: Path, operator: str, edits: list[str]) -> None:
    toy.write_text(STATEMENTS)
    mutants = mutants_of(toy, [operator])
    for edit in edits:
        assert any(edit in m.after and edit not in m.before for m in mutants), (edit, [m.after for m in mutants])
    assert len(mutants) == len(edits), [m.after for m in mutants]


def test_the_definition_of_a_wait_is_no_wait(toy: Path) -> None:
    toy.write_text("void cp_async_commit() {\n    other();\n}\n")
    assert mutants_of(toy, ["barrier"]) == []


def test_arithmetic_and_all_operators_together(toy: Path) -> None:
    after = " ".join(m.after for m in mutants_of(toy, ["arithmetic"]))
    for edit in ("(int)i + pitch + offset", "(int)i * pitch - offset", "n + 1", "k / 2", "x[h] * 0.5"):
        assert edit in after
    toy.write_text(KERNEL + STATEMENTS)
    text, seen = toy.read_text(), set()
    for mutant in mutants_of(toy):
        changed = mutant.apply(text)
        assert changed != text
        assert changed not in seen, mutant
        seen.add(changed)
        # Neither comments, nor what is written for the compiler.
        for line in (*KERNEL.splitlines()[:6], KERNEL.splitlines()[10]):
            assert line in changed
    assert {m.operator for m in mutants_of(toy)} == set(OPERATORS)


def test_what_only_a_gpu_compiles_is_left_alone(toy: Path) -> None:
    """No test on the emulator could notice; what the emulator compiles is changed, before, between and after."""
    toy.write_text(
        "#if A < B\nint a = 1;\n#else\nint b = 2;\n#endif\n#ifdef GPUNN_EMULATOR\nint c = 3;\n#else\n#define D {\n"
        "#ifdef E\nint e = 5;\n#else\nint f() { return 6; }\n#endif\n__syncthreads();\n#endif\n"
        "#ifndef GPUNN_EMULATOR\n#else\nint g = 7;\n#endif\nint h = 8;\n"
    )
    changed = {f"int {name} = {n};" for name, n in zip("abcgh", "12378", strict=True)}
    assert {m.before for m in mutants_of(toy)} == changed


def test_a_mutant_knows_its_place(toy: Path) -> None:
    first, second = mutants_of(toy, ["barrier"])
    assert (first.place, first.function, first.before) == ("toy.cu:18", "toy", "__syncthreads();")
    assert (second.place, second.before) == ("toy.cu:21", "__syncthreads();  #2")
    assert {m.function for m in mutants_of(toy, ["terms"])} == {"Pair", "toy"}
    moved = toy.with_name("moved")
    moved.mkdir()
    (moved / "toy.cu").write_text("// one line more\n" + KERNEL)
    assert [m.key for m in mutants_of(moved / "toy.cu")] == [m.key for m in mutants_of(toy)]


def test_equal_lines_are_told_apart_however_they_are_indented(toy: Path) -> None:
    text = toy.read_text()
    toy.write_text(text.replace("    __syncthreads();\n    for", "        __syncthreads();\n    for"))
    assert toy.read_text() != text
    assert [m.before for m in mutants_of(toy, ["barrier"])] == ["__syncthreads();", "__syncthreads();  #2"]


def test_the_sample_is_spread_and_stays(toy: Path) -> None:
    toy.write_text(KERNEL + STATEMENTS)
    every = mutants_of(toy)
    some = sample(every, len(OPERATORS), 0)
    assert {m.operator for m in some} == set(OPERATORS)
    assert some == sample(every[::-1], len(OPERATORS), 0)
    assert some != sample(every, len(OPERATORS), 1)
    assert set(some) < set(sample(every, len(OPERATORS) + 9, 0))
    assert sample(every, None, 0) == every


def test_a_header_is_changed_where_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "two.cuh").write_text(
        "inline int low(int i) { return i + 1; }\ninline int high(int i) { return low(i) + 2; }\n"
        "inline int other(int i) { return i + 3; }\nenum { SIZE = 4 };\n"
    )
    (tmp_path / "one.cuh").write_text('#include "two.cuh"\n')
    (tmp_path / "a.cu").write_text('#include "one.cuh"\nint a(int i) { return high(i); }\n')
    (tmp_path / "b.cu").write_text('#include "two.cuh"\nint b(int i) { return other(i); } // not low(i)\n')
    (tmp_path / "c.cu").write_text("int low(int i) { return i - 1; }\n")
    users, found = Users(tmp_path), {}
    for file in ("two.cuh", "c.cu"):
        for mutant in mutants_of(tmp_path / file, ["constant"]):
            found[mutant.function, mutant.file] = users.files(mutant)
    assert found == {
        ("low", "two.cuh"): {"a.cu"}, ("high", "two.cuh"): {"a.cu"}, ("other", "two.cuh"): {"b.cu"},
        ("", "two.cuh"): {"a.cu", "b.cu"}, ("low", "c.cu"): {"c.cu"},
    }  # fmt: skip


def test_kernels_of_tests_use_headers_too(tmp_path: Path) -> None:
    own, tests = tmp_path / "own", tmp_path / "tests"
    for folder, file, text in (
        (own, "one.cuh", "inline int low(int i) { return i + 1; }\n"),
        (tests, "a.cu", '#include "one.cuh"\nint a(int i) { return low(i); }\n'),
    ):
        folder.mkdir()
        (folder / file).write_text(text)
    (mutant,) = mutants_of(own / "one.cuh", ["constant"])
    assert Users(own).files(mutant) == set()
    assert Users(own, tests).files(mutant) == {"a.cu"}
    (own / "a.cu").write_text("")
    with pytest.raises(ValueError, match="the same name"):
        Users(own, tests)


def test_explanations_are_of_edits_that_there_are() -> None:
    mutants = [m for path in kernel_folder().glob("*.cu*") for m in mutants_of(path)]
    mutants += [m for file in launch_code.files() for m in launch_mutants(file)]
    assert explained.stale(explained.read(explained.FILE), mutants) == []


def test_an_explanation_without_a_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "explained.tsv"
    head = "\t".join(explained.HEAD)
    for rows, message in (
        ("a\tb\tc\td\t \n", "a reason in the last"),
        ("a\tb\tc\td\n", "5 columns"),
        ("a\tb\tc\td\te\na\tb\tc\td\tf\n", "explained twice"),
    ):
        path.write_text(f"{head}\n{rows}")
        with pytest.raises(ValueError, match=message):
            explained.read(path)


def _command(folder: Path, reasons: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.mutants", "--explained", str(reasons), "--all", "--battery"]
    done = subprocess.run(
        # Of the whole battery, one primitive that launches the mutants and one that does not.
        [*command, "--primitive", "relu_forward", "write_scalars", *options],
        cwd=ROOT, env={**os.environ, "GPUNN_KERNELS": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.tools
@pytest.mark.emulator
def test_caught_survived_explained_stale_and_not_to_be_compiled(tmp_path: Path) -> None:
    """scalars.cu: one planted line that a test notices, one that none can, one that does not compile without it."""
    folder, reasons = tmp_path / "kernels", tmp_path / "explained.tsv"
    shutil.copytree(kernel_folder(), folder)
    kernel = folder / "scalars.cu"
    text = kernel.read_text()
    guard = "if ((int)threadIdx.x < count) to["
    assert guard in text
    planted = "if (count != 12345678) "  # as good as always
    kernel.write_text(text.replace(guard, f'static_assert(sizeof(int) < 5, ""); {planted}{guard}'))
    mutants = {m.after: m for m in mutants_of(kernel, ["guard"])}
    survivor = next(m for after, m in mutants.items() if "if (true) if ((int)threadIdx.x" in after)

    head = "\t".join(explained.HEAD)
    reasons.write_text(head + "\n")
    status, output = _command(folder, reasons, "--kernel", "scalars.cu", "--only", "guard")
    assert status == 1, output
    assert "4 mutants, 3 caught (75.0 %" in output
    assert "1 survived, 1 of them unexplained" in output
    assert f"SURVIVED  {survivor.place}" in output
    assert f"+ {survivor.after}" in output

    def row(mutant: Mutant) -> str:
        return "\t".join((*mutant.key, "no test has 12345678 words")) + "\n"

    reasons.write_text(f"{head}\n{row(survivor)}")
    status, output = _command(folder, reasons, "--kernel", "scalars.cu", "--only", "guard")
    assert status == 0, output
    assert "0 of them unexplained" in output
    assert "no test has 12345678 words" in output

    caught = next(m for after, m in mutants.items() if "if (false) if ((int)threadIdx.x" in after)
    reasons.write_text(f"{head}\n{row(survivor)}{row(caught)}" + row(survivor).replace("12345678)", "1)"))
    status, output = _command(folder, reasons, "--kernel", "scalars.cu", "--only", "guard")
    assert status == 1, output
    assert "EXPLAINED, YET CAUGHT: scalars.cu | write_words" in output
    assert "STALE EXPLANATION: scalars.cu | write_words" in output
