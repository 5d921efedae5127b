"""The house is in order: what belongs together is there, one name leads to all of it, and the walls hold."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpunn.bench import ladder
from gpunn.gpu.launcher import KernelSource
from gpunn.ops import import_all
from gpunn.primitive import REGISTRY

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
    for p in sorted((ROOT / "gpunn").rglob("*.py"))
}
OPS = sorted(p.stem for p in (ROOT / "gpunn" / "ops").glob("*.py") if p.stem != "__init__")
# Ops with no test file of their own, and the files whose subject they are; the battery runs them as well.
TESTED_IN = {
    "accumulate": "tests/test_tape.py",
    "add": "tests/ops/test_binary.py",
    "bias": "tests/ops/test_linear.py",
    "cast": "tests/test_tensor.py",
    "clone": "tests/test_tensor.py",
    "copy_arrays": "tests/test_capture.py",
    "cross": "tests/ops/test_sinh.py",
    "cross_entropy_probabilities": "tests/ops/test_cross_entropy_options.py",
    "diagonal": "tests/ops/test_composed.py",
    "dot": "tests/ops/test_addmm.py",
    "fmod": "tests/ops/test_sinh.py",
    "lerp": "tests/ops/test_composed.py",
    "logsumexp": "tests/ops/test_composed.py",
    "meshgrid": "tests/ops/test_composed.py",
    "mul": "tests/ops/test_binary.py",
    "nan_to_num": "tests/ops/test_composed.py",
    "one_hot": "tests/ops/test_composed.py",
    "repeat_interleave": "tests/ops/test_composed.py",
    "roll": "tests/ops/test_composed.py",
    "take_at": "tests/ops/test_getitem.py",
    "take_slice": "tests/ops/test_getitem.py",
    "unique": "tests/ops/test_sinh.py",
    "write_scalars": "tests/optim/test_fused.py",
}
import_all()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module of gpunn, whether it is imported when ``path`` is loaded) for every import but those for types alone."""

    def walk(body: list[ast.stmt], loading: bool) -> Iterator[tuple[str, bool]]:
        for node in body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gpunn":
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield (full if full in MODULES else node.module), loading
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            else:
                inside = loading and not isinstance(node, ast.FunctionDef)
                for field in ("body", "orelse", "finalbody", "handlers"):
                    yield from walk(getattr(node, field, []), inside)

    yield from walk(ast.parse(path.read_text()).body, True)


def test_top_level_holds_what_the_design_lists() -> None:
    expected = {"pyproject.toml", "README.md", "CONTRIBUTING.md", "LICENSE", "CHANGELOG.md"}
    expected |= {"gpunn", "kernels", "benchmarks", "tests"}
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith(".")}
    built = {p for p in found if p in ("build", "dist", "demos", "runs", "out", "scratch") or p.endswith(".egg-info")}
    assert expected <= found
    assert found - built - expected == set()


# -- ops ------------------------------------------------------------------------------------------


def test_ops_are_flat() -> None:
    inside = [p for p in (ROOT / "gpunn" / "ops").iterdir() if p.name != "__pycache__"]
    assert all(p.is_file() and p.suffix == ".py" for p in inside)
    assert [p.name for p in inside if p.name.startswith("_")] == ["__init__.py"]


@pytest.mark.parametrize("op", OPS)
def test_every_file_in_ops_is_an_op_of_its_name(op: str) -> None:
    """A public function, a primitive (with its _forward, _backward or _step), or the kernel file that it launches."""
    tree = ast.parse((ROOT / "gpunn" / "ops" / f"{op}.py").read_text())
    functions = {node.name.removesuffix("_") for node in tree.body if isinstance(node, ast.FunctionDef)}
    primitives = {name for name, p in REGISTRY.items() if p.plain.__module__ == f"gpunn.ops.{op}"}
    named = {name for name in primitives if name == op or name.startswith(f"{op}_")}
    launches = {source.file for source in KernelSource.registry.values()} & {f"{op}.cu"}
    assert op in functions or named or (launches and primitives)


@pytest.mark.parametrize("op", OPS)
def test_every_op_has_its_test(op: str) -> None:
    path = TESTED_IN.get(op, f"tests/ops/test_{op}.py")
    assert (ROOT / path).is_file(), f"gpunn/ops/{op}.py needs tests/ops/test_{op}.py"


def test_every_kernel_file_is_launched_by_an_op_or_a_ladder() -> None:
    files = {p.relative_to(ROOT / "kernels").as_posix() for p in (ROOT / "kernels").rglob("*.cu")}
    declared = {*KernelSource.registry, *(source.file for source in ladder.SOURCES.values())}
    assert files == declared, "a .cu file without a KernelSource, or the other way round"


@pytest.mark.parametrize("name", ["conv2d_forward", "conv2d_backward", "relu_forward"])
def test_bodies_have_their_names_in_tracebacks(name: str) -> None:
    body = REGISTRY[name].kernel_body
    assert body is not None
    assert body.__name__ == body.__code__.co_name == f"{name}.kernel"


def test_no_body_is_unnamed() -> None:
    each = [(p.plain, p.numpy_body, p.kernel_body, p.half_body) for p in REGISTRY.values()]
    bodies = [body for some in each for body in some if body is not None]
    assert len(bodies) > 2 * len(REGISTRY)
    assert [body for body in bodies if body.__code__.co_name in ("_", "<lambda>")] == []


# -- walls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[:2] == ["gpunn", "cpu"]])
def test_the_cpu_wing_knows_nothing_above_it(module: str) -> None:
    allowed = {"gpunn.errors", "gpunn._window", "gpunn._winograd"}
    others = {name for name, _ in imports(MODULES[module]) if not name.startswith("gpunn.cpu")}
    assert others <= allowed


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[:2] == ["gpunn", "gpu"]])
def test_the_wing_of_kernels_knows_no_ops(module: str) -> None:
    allowed = {"gpunn.errors", "gpunn._window", "gpunn._device", "gpunn._layout", "gpunn._capture_state"}
    allowed |= {"gpunn._decorated", "gpunn._half", "gpunn._precision", "gpunn._winograd"}
    others = {name for name, _ in imports(MODULES[module]) if not name.startswith("gpunn.gpu")}
    assert others <= allowed | ({"gpunn.emulator"} if module == "gpunn.gpu.emulated" else set())


def test_flags_that_wings_ask_look_up_to_nobody() -> None:
    for flag in ("gpunn._capture_state", "gpunn._winograd"):
        assert {name for name, _ in imports(MODULES[flag])} == {"gpunn.errors"}
    assert not list(imports(MODULES["gpunn.errors"]))


def test_benchmarks_do_not_import_the_command_line() -> None:
    for module, path in MODULES.items():
        if not module.startswith("gpunn.cli") and module != "gpunn.__main__":
            assert not [name for name, _ in imports(path) if name.startswith("gpunn.cli")], module


def test_no_cycle_among_imports_when_modules_load() -> None:
    graph = {module: {name for name, loading in imports(path) if loading} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above[above.index(module) :], module))
        if module not in done:
            for name in sorted(graph.get(module, ())):
                visit(name, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_what_is_imported_late_is_listed_with_its_reason() -> None:
    """CONTRIBUTING's table of late imports: rows ``| `who` | `whom` | why |``, names with ``*``."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("### What is imported late") :].split("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| (`[^|]+`) \| [^|]+ \|$", table, re.MULTILINE)
    known = [
        (re.compile("|".join(_pattern(n) for n in re.findall(r"`([^`]+)`", who))),
         re.compile("|".join(_pattern(n) for n in re.findall(r"`([^`]+)`", whom))))
        for who, whom in rows
    ]  # fmt: skip
    used: dict[int, int] = defaultdict(int)
    for module, path in MODULES.items():
        for name, loading in imports(path):
            if not loading and name != module:
                row = next((i for i, (a, b) in enumerate(known) if a.fullmatch(module) and b.fullmatch(name)), None)
                assert row is not None, f"{module} imports {name} late: say why in CONTRIBUTING.md"
                used[row] += 1
    assert set(used) == set(range(len(rows))), "a row of the table that nothing needs"


def _pattern(name: str) -> str:
    return re.escape(f"gpunn.{name}" if name != "gpunn" else name).replace(r"\*", ".*")


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").rglob("*.cu*")), ids=lambda p: p.name)
def test_kernel_files_open_with_what_they_do(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"// {path.name}: "), "a kernel file opens with its name and its formula"
    if path.suffix == ".cu":
        assert any(line.startswith("// Launch: ") for line in lines), "say the launch shape"


@pytest.mark.parametrize("path", list(MODULES.values()), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_say_what_they_hold_and_fit_in_the_head(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module opens with what it holds"
    assert len(text.splitlines()) <= 450, "a file that grows past some 400 lines is asking to be split"
