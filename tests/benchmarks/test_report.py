"""README's chart, the tables and the pictures come from the records, byte for byte, and staleness is noticed."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _pictures, report


def record(case: str, ours: float, others: dict[str, float], **more: Any) -> dict[str, Any]:
    sides = {
        name: {"ms": ms, "ms_quartiles": [0.9 * ms, 1.1 * ms], "share_of_ceiling": 0.25, "items_per_second": 1e5 / ms}
        for name, ms in {"gpunn": ours, **others}.items()
    }
    made = {
        "date": "2026-01-02T03:04:05Z",
        "case": case,
        "name": f"the {case}",
        "group": "steps",
        "device": "cpu",
        "dtype": "float32",
        "size": "cpu",
        "threads": 2,
        "processor": "a processor",
        "commit": "abc",
        "versions": {"torch": "9.9"},
        "flop": 2e9,
        "bytes": 1e8,
        "ceilings": {"gflops": 100.0, "gbs": 10.0},
        "sides": sides,
    }
    return {**made, **more}


def make(root: Path, *records: dict[str, Any]) -> Path:
    (root / "benchmarks" / "results").mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(r) + "\n" for r in records)
    (root / "benchmarks" / "results" / "bench.jsonl").write_text(text)
    if not (root / "README.md").exists():
        (root / "README.md").write_text(f"# Title\n\nbefore\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    return root


TWO = (
    record("lenet-b32.step", 20.0, {"torch": 10.0, "torch channels_last": 5.0}),
    record("mlp-b128.step", 2.0, {"torch": 4.0}),
)


def test_what_is_checked_in_is_not_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--check"]) == 0, capsys.readouterr().err


def test_tables_and_pictures_are_written_and_then_fresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path, *TWO)
    assert report.main(["--check"], root) == 1
    assert "stale: README.md; run python -m benchmarks.report" in capsys.readouterr().err
    assert report.main([], root) == 0
    assert report.main(["--check"], root) == 0
    text = (root / "README.md").read_text()
    assert text.startswith("# Title\n\nbefore\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "old" not in text
    assert "`cpu`: a processor, 2 threads for each side, float32; PyTorch 9.9; 2026-01-02; ceilings" in text
    results = root / "benchmarks" / "results"
    table = (results / "bench.md").read_text()
    assert "| the lenet-b32.step | 20.0 ±10% | 5,000 | 25% | 10.0 (0.50) | 5 (0.25) |" in table
    assert "| the mlp-b128.step | 2 ±10% | 50,000 | 25% | 4 (2.00) |  |" in table
    assert "`cpu`: a processor, 2 threads for each side, float32; PyTorch 9.9; 2026-01-02, commit abc" in table
    for name, shown_in in (
        ("steps-cpu.svg", text),
        ("ratios-cpu.svg", table),
        ("roofline-cpu.svg", table),
    ):
        drawn = ElementTree.parse(results / name).getroot()
        width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
        marks = [m.attrib for m in drawn if m.tag.endswith(("circle", "rect"))][1:]  # the first is the background
        assert len(marks) >= 2
        for mark in marks:
            assert 0 < float(mark.get("cx", mark.get("x", "-1"))) < width
            assert 0 < float(mark.get("cy", mark.get("y", "-1"))) < height
        assert f"{name})" in shown_in
    assert text.count("![") == 1


@pytest.mark.parametrize("what", ["README.md", "benchmarks/results/bench.md", "benchmarks/results/ratios-cpu.svg"])
def test_any_changed_byte_is_stale(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path, *TWO)
    report.main([], root)
    path = root / what
    old = "a processor" if what == "README.md" else "lenet-b32"
    path.write_text(path.read_text().replace(old, "other", 1))
    assert report.main(["--check"], root) == 1
    assert f"stale: {what}" in capsys.readouterr().err


def test_a_new_record_makes_it_stale_and_replaces_the_older(tmp_path: Path) -> None:
    root = make(tmp_path, *TWO)
    report.main([], root)
    make(root, *TWO, record("mlp-b128.step", 1.0, {"torch": 4.0}))
    assert report.main(["--check"], root) == 1
    report.main([], root)
    text = (root / "benchmarks" / "results" / "bench.md").read_text()
    assert "4 (4.00)" in text
    assert "4 (2.00)" not in text


def test_pictures_that_nothing_gives_any_more_are_removed(tmp_path: Path) -> None:
    root = make(tmp_path, *TWO)
    report.main([], root)
    make(root, record("mlp-b128.step", 2.0, {}, ceilings=None))
    assert report.main(["--check"], root) == 1
    report.main([], root)
    assert list((root / "benchmarks" / "results").glob("*.svg")) == []
    assert report.main(["--check"], root) == 0


def test_no_records_and_few_keys(tmp_path: Path) -> None:
    root = make(tmp_path)
    report.main([], root)
    assert "Nothing has been measured yet." in (root / "README.md").read_text()
    bare = {k: v for k, v in TWO[0].items() if k in ("case", "name", "group", "device", "dtype", "date", "sides")}
    make(root, bare)
    assert report.main([], root) == 0
    assert "the lenet-b32.step" in (root / "benchmarks" / "results" / "bench.md").read_text()


def test_single_ops_are_summed_up(tmp_path: Path) -> None:
    layers = [record(f"conv0{i}.forward", 1.0, {"torch": ratio}, group="layers") for i, ratio in ((1, 0.5), (2, 8.0))]
    root = make(tmp_path, *TWO, *layers)
    report.main([], root)
    text = (root / "README.md").read_text()
    assert "with 2 single ops" in text
    assert "geometric mean of the ratios is 2.00 (least 0.50, most 8.00; at least 1 in 1 of 2)" in text
    assert "conv01" not in text.split(report.BEGIN)[1].split("single ops")[0]


def test_devices_have_parts_of_their_own(tmp_path: Path) -> None:
    root = make(tmp_path, TWO[0], record("lenet-b32.step", 1.0, {"torch": 2.0}, device="cuda:0", gpu="a GPU"))
    report.main([], root)
    text = (root / "README.md").read_text()
    assert "`cuda:0`: a GPU, float32" in text
    assert (root / "benchmarks" / "results" / "ratios-cuda-0.svg").exists()


def test_devices_beside_each_other_are_not_in_the_tables(tmp_path: Path) -> None:
    beside = record("lenet5-b8.train", 1.0, {}, device="cpu,cuda:0", group="compare")
    beside["sides"] = {"cpu": {"ms": 2.0, "ratio": 1}, "cuda:0": {"ms": 1.0, "ratio": 0.5}}
    assert report.generate(make(tmp_path / "a", *TWO, beside)).keys() == {
        tmp_path / "a" / path.relative_to(tmp_path / "b") for path in report.generate(make(tmp_path / "b", *TWO))
    }


def test_missing_markers_are_told(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no markers")
    root = make(tmp_path, *TWO)
    with pytest.raises(SystemExit, match="expected one <!-- bench:begin -->"):
        report.main([], root)


def test_the_ratio_is_to_the_fastest_other_side() -> None:
    assert _pictures.hardest(TWO[0]) == 0.25
    assert _pictures.hardest(record("a", 1.0, {})) is None
    assert _pictures.hardest(record("a", 1.0, {"gpunn eager": 0.5, "torch": 3.0})) == 3.0
