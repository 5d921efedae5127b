"""The compile gate: its log parser, its verdicts, and the table that it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import compile_gate
from benchmarks.compile_gate import GateError, Job, Resources, Row, compare, parse_log, sources
from gpunn.emulator import compile_module
from gpunn.gpu.launcher import KernelSource, kernel_folder
from gpunn.gpu.signatures import parse_signatures

# NVRTC 12.9's log: a kernel that spills, one that does not, one with a local array and a call.
LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'spills' for 'sm_75'
ptxas info    : Function properties for spills
ptxas         .     496 bytes stack frame, 644 bytes spill stores, 640 bytes spill loads
ptxas info    : Used 64 registers, used 0 barriers, 496 bytes cumulative stack size, 372 bytes cmem[0]
ptxas info    : Compile time = 23.367 ms
ptxas info    : Compiling entry function 'tidy' for 'sm_75'
ptxas info    : Function properties for tidy
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 130 registers, used 1 barriers, 16896 bytes smem, 556 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compile time = 0.548 ms
"""
OUTLINED = """\
ptxas info    : Function properties for _Z1fPfi
ptxas         .     16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
"""
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) greedy(float* a, const float* b, int n) {
    float s[80];
#pragma unroll
    for (int i = 0; i < 80; ++i) s[i] = b[i * n + threadIdx.x];
    for (int k = 0; k < n; ++k)
#pragma unroll
        for (int i = 0; i < 80; ++i) s[i] = s[i] * s[(i + 1) % 80] + b[k];
#pragma unroll
    for (int i = 0; i < 80; ++i) a[i * n + threadIdx.x] = s[i];
}
extern "C" __global__ void modest(float* a, int n) { a[n] = 1; }
"""

TWO_KINDS = """
extern "C" __global__ void two_kinds(float* a) {
    extern __shared__ __align__(16) float dynamic[];
    __shared__ bool last;
    if (threadIdx.x == 0) last = a[0] > 0;
    dynamic[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    a[threadIdx.x] = last ? dynamic[31 - threadIdx.x] : 0;
}
"""


@pytest.fixture
def nvrtc() -> None:
    try:
        compile_gate.compiler_version()
    except GateError as error:
        pytest.skip(str(error))


def test_the_log_gives_each_kernels_resources() -> None:
    assert parse_log(LOG) == {
        "spills": Resources(64, 0, 496, 644, 640),
        "tidy": Resources(130, 16896, 0, 0, 0),
    }


def test_a_function_that_was_not_inlined_counts_against_every_kernel() -> None:
    assert parse_log(LOG + OUTLINED)["tidy"] == Resources(130, 16896, 16, 4, 8)


def test_a_log_without_registers_is_an_error() -> None:
    with pytest.raises(GateError, match="tidy"):
        parse_log("\n".join(line for line in LOG.splitlines() if "130 registers" not in line))


def test_changed_new_and_removed_jobs_are_told_apart() -> None:
    row = Row("a.cu", "VEC=1", "a", 80, 10, 0, 0, 0, 0, "old")
    other = Row("b.cu", "", "b", 80, 10, 0, 0, 0, 0, "same")
    changed, new = Job("a.cu", "VEC=1", 80, "new"), Job("a.cu", "VEC=4", 80, "new")
    assert compare([changed, new, other.job], [row, other]) == ([changed, new], [row])


def test_a_spilling_kernel_is_caught(nvrtc: None) -> None:
    rows = compile_gate.compile_job(Job("test.cu", "", 80, ""), SPILLING)
    assert [row.fault is None for row in rows] == [False, True]
    assert "test.cu greedy" in str(rows[0].fault)
    assert "sm_80" in str(rows[0].fault)


@pytest.mark.parametrize("flags", [[], ["--check"], ["--all"]])
def test_a_spill_fails_in_every_mode(
    nvrtc: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
) -> None:
    _pretend(monkeypatch, tmp_path, SPILLING)
    if flags == ["--check"]:
        assert compile_gate.main([]) == 1  # the table is then current, and still holds a spill
    assert compile_gate.main([*flags, "--jobs", "1"]) == 1
    assert "SPILL: test.cu greedy [no macros] sm_90" in capsys.readouterr().out


def test_check_fails_on_a_stale_table_and_leaves_it(
    nvrtc: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = 'extern "C" __global__ void modest(float* a, int n) { a[n] = %d; }'
    table = _pretend(monkeypatch, tmp_path, kernel % 1)
    assert compile_gate.main(["--jobs", "1"]) == 0
    assert compile_gate.main(["--check"]) == 0
    before = table.read_bytes()
    _pretend(monkeypatch, tmp_path, kernel % 2)
    assert compile_gate.main(["--check", "--jobs", "1"]) == 1
    assert "STALE" in capsys.readouterr().out
    assert table.read_bytes() == before
    assert compile_gate.main(["--jobs", "1"]) == 0
    assert compile_gate.main(["--check"]) == 0


def test_what_does_not_compile_fails_and_shows_the_compilers_words(
    nvrtc: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend(monkeypatch, tmp_path, 'extern "C" __global__ void broken() { nonsense; }')
    assert compile_gate.main(["--jobs", "1"]) == 1
    assert 'identifier "nonsense" is undefined' in capsys.readouterr().out


def test_without_nvrtc_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> str:
        raise GateError(compile_gate.INSTALL)

    _pretend(monkeypatch, tmp_path, SPILLING)
    monkeypatch.setattr(compile_gate, "compiler_version", missing)
    assert compile_gate.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("flags", [[], ["--check"]])
@pytest.mark.parametrize(("dynamic", "status"), [(48 * 1024 - 16, 0), (48 * 1024 - 12, 1)])
def test_static_and_dynamic_shared_memory_must_fit_a_block_together(
    nvrtc: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    dynamic: int,
    status: int,
) -> None:
    _pretend(monkeypatch, tmp_path, TWO_KINDS, {"two_kinds": dynamic})
    if flags:  # the table is then current
        assert compile_gate.main([]) == status
    assert compile_gate.main([*flags, "--jobs", "1"]) == status
    fault = f"SHARED: test.cu two_kinds [no macros] sm_90: 16 bytes of static and {dynamic} of dynamic shared memory"
    assert (fault in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize(
    ("arch", "static", "dynamic", "refused"),
    [
        (75, 0, 48 * 1024, False),
        (75, 1, 48 * 1024, True),
        (75, 48 * 1024, 0, False),
        (75, 0, 64 * 1024, False),  # beyond 48 KB the launch asks for it
        (75, 1, 64 * 1024, True),
        (86, 0, 99 * 1024, False),
        (86, 1, 99 * 1024, True),
        (90, 16, 227 * 1024 - 16, False),
        (90, 16, 227 * 1024, True),
        (120, 0, 100 * 1024, True),
    ],
)
def test_what_a_block_may_have_depends_on_the_architecture(arch: int, static: int, dynamic: int, refused: bool) -> None:
    row = Row("a.cu", "", "a", arch, 10, static, 0, 0, 0, "hash")
    assert (compile_gate.over_limit(row, dynamic) is not None) == refused


def _pretend(
    monkeypatch: pytest.MonkeyPatch, folder: Path, text: str, dynamic_shared: dict[str, int] | None = None
) -> Path:
    """Let the gate see one source, for one architecture, and a table of its own."""
    with monkeypatch.context() as patch:
        patch.setattr(KernelSource, "registry", {})
        source = KernelSource("test.cu", architectures=(90,), dynamic_shared=dynamic_shared or {})
    source.__dict__["text"] = text
    monkeypatch.setattr(compile_gate, "sources", lambda: {"test.cu": source})
    table = folder / "table.tsv"
    monkeypatch.setattr(compile_gate, "TABLE", table)
    return table


# -- the table in the repository -------------------------------------------------------------------


def test_every_kernel_file_is_declared() -> None:
    files = [path.relative_to(kernel_folder()).as_posix() for path in kernel_folder().rglob("*.cu")]
    assert sorted(sources()) == sorted(files)


def test_the_table_is_current() -> None:
    """By hash alone: nothing is compiled. If this fails, run python -m benchmarks.compile_gate."""
    _, rows = compile_gate.read_table(compile_gate.TABLE)
    wanted = [job for source in sources().values() for job in compile_gate.jobs_of(source)]
    missing, gone = compare(wanted, rows)
    assert sorted({job.file for job in missing}) == []
    assert sorted({row.file for row in gone}) == []


def test_the_table_has_every_kernel_of_every_specialisation() -> None:
    _, rows = compile_gate.read_table(compile_gate.TABLE)
    have: dict[tuple[str, str, int], set[str]] = {}
    for row in rows:
        have.setdefault((row.file, row.macros, row.arch), set()).add(row.kernel)
    for source in sources().values():
        signatures = [parse_signatures(source.text, macros) for macros in source.specialisations()]
        found = [have.get((job.file, job.macros, job.arch), set()) for job in compile_gate.jobs_of(source)]
        # A kernel may exist in some specialisations only, but each has one, and each kernel is in some.
        assert all(found), source.file
        assert set().union(*found) == set().union(*signatures)


def test_nothing_in_the_table_spills() -> None:
    _, rows = compile_gate.read_table(compile_gate.TABLE)
    assert [row.fault for row in rows if row.fault] == []


def test_everything_in_the_table_fits_into_shared_memory() -> None:
    _, rows = compile_gate.read_table(compile_gate.TABLE)
    declared = sources()
    kernels = {(row.file, row.kernel) for row in rows}
    assert {(file, name) for file, source in declared.items() for name in source.dynamic_shared} <= kernels
    over = [compile_gate.over_limit(row, declared[row.file].dynamic_shared.get(row.kernel, 0)) for row in rows]
    assert [fault for fault in over if fault] == []


@pytest.mark.emulator
def test_the_emulator_counts_static_shared_memory_as_ptxas_does() -> None:
    """Of all kernels with dynamic shared memory, where every byte counts."""
    _, rows = compile_gate.read_table(compile_gate.TABLE)
    declared = sources()
    counted = {
        (row.file, row.macros, row.kernel): row.shared
        for row in rows
        if row.arch == 90 and row.kernel in declared[row.file].dynamic_shared
    }
    found = {}
    for file, macros, kernel in counted:
        module = compile_module(declared[file].text, file, dict(word.split("=") for word in macros.split()))
        found[file, macros, kernel] = module.static_shared(kernel)
    assert found == counted
    assert set(found.values()) > {0, 16}
