"""The cost model: each limit by a launch that has it, and the ladder that others measured."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import predictions
from benchmarks._report.predicted import card_named, predicted, this_card
from gpunn.bench import machine_code, predict, published
from gpunn.bench.cards import CARDS
from gpunn.bench.machine_code import MachineCodeError
from gpunn.bench.predict import Access, Work, access_of
from gpunn.bench.rates import rates_of
from gpunn.bench.sass import Part
from gpunn.emulator import available
from gpunn.emulator.counts import KernelCount, LineCount

H200 = CARDS["H200"]
GEMM = {"REAL": "float", "TILE": "128", "VEC": "4"}


def _predicted(monkeypatch: pytest.MonkeyPatch, *parts: Part, access: Access | None = None, **numbers: Any) -> Any:
    """A launch of 8 warps a block, 132 blocks: one on each SM."""
    monkeypatch.setattr(predict, "parts", lambda *given: parts)
    given = {"blocks": 132, "threads": 256, "shared": 0, "flop": 0.0, "traffic": 0.0, **numbers}
    found = predict.predict(Work("gemm_nn", "gemm.cu", GEMM, **given), H200, access)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("limit", "cycles", "counts"),
    [
        ("issue", 8 * 1000 / 4, {}),
        ("FMA", 8 * 4000 * 32 / 128, {"fma": 4000}),
        ("integer", 8 * 900 * 32 / 64, {"imad": 900}),
        ("integer", 8 * 900 * 32 / 64, {"alu": 900}),
        ("multifunction", 8 * 200 * 32 / 16, {"mufu": 200}),
        ("float64", 8 * 900 * 32 / 64, {"double": 900}),
        ("shuffle", 8 * 400 * 32 / 32, {"shuffle": 400}),
        ("load/store", 8 * 900 * 32 / 32, {"lsu": 900}),
        ("L1/shared", 8 * 900, {"passes": 900}),
        ("L1/shared", 8 * 900, {"accesses": 900}),
        ("latency", 9000, {"l1": 9000, "l2": 9000, "dram": 9000}),
    ],
)
def test_each_limit(limit: str, cycles: float, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = _predicted(monkeypatch, Part("once", 1000, **counts))
    assert found.us == pytest.approx(cycles / H200.ghz / 1e3)
    assert found.limit == limit


def test_tensor_cores_and_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _predicted(monkeypatch, Part("once", 10, tensor=10**6))
    assert found.us == pytest.approx(132 * 8 * 10**6 * 2 / (H200.mma * 1e12) * 1e6)
    assert found.limit == "tensor"
    found = _predicted(monkeypatch, Part("once", 10), traffic=4.8e9)
    assert (found.us, found.limit, found.copy) == (pytest.approx(1000 / H200.copy), "DRAM", pytest.approx(1.0))
    assert found.roofline == pytest.approx(H200.copy)
    found = _predicted(monkeypatch, Part("once", 10), Part("loop0", 10, passes=1, bytes=1 << 20), traffic=1.0)
    assert found.loads == "dram"


def test_conflicts_and_lines_that_were_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part("once", 10, passes=900, accesses=100, stores=25, bytes=12_800)
    best = _predicted(monkeypatch, part).us
    assert _predicted(monkeypatch, part, access=Access(2.0)).us == pytest.approx(best * 1900 / 1000)
    assert _predicted(monkeypatch, part, access=Access(1.0, 9.0)).us == pytest.approx(best * 1600 / 1000)
    assert _predicted(monkeypatch, part, access=Access(1.0, 1.0, 9.0)).us == pytest.approx(best * 1200 / 1000)


def test_accesses_of_counts() -> None:
    assert access_of(None) == Access()
    counts = KernelCount("k", "k.cu")
    counts.lines = [
        LineCount("k.cu", 1, "global load", "a", 10, 320, 320, 40),  # a sector for each lane
        LineCount("k.cu", 2, "global load", "b", 10, 320, 40, 40),
        LineCount("k.cu", 3, "global store", "c", 10, 320, 50, 40),
        LineCount("k.cu", 4, "shared load", "", 10, 320, 30, 10),
    ]
    assert access_of(counts) == Access(3.0, (20 + 280) / 20, 2.0)


def test_a_loop_with_all_loads_turns_at_least_once() -> None:
    launch = Work("max_pool2d_backward", "max_pool2d.cu", {}, 1, 32, 0, 0.0, 100.0)
    writes, loop = Part("once", 10, accesses=1, stores=1, bytes=512), Part("loop0", 10, accesses=2, bytes=1024)
    assert predict.turns(launch, writes, [loop], 1) == 1
    reads_too = Part("once", 10, accesses=2, stores=1, bytes=1024)  # with a turn of its own before the loop
    assert predict.turns(launch, reads_too, [loop], 1) == 0
    writes_more = Part("loop0", 10, accesses=2, stores=2, bytes=1024)
    assert predict.turns(launch, writes, [writes_more], 1) == 0


def test_a_product_in_three_parts_takes_three_times_the_turns() -> None:
    loop = [Part("loop0", 10, fma=0, multiplied=1000)]
    found = {
        mode: predict.turns(
            Work("gemm_tensor_nt", "gemm_tensor.cu", {"MODE": mode}, 1, 128, 0, 2e6, 0.0), Part("once", 0), loop, 4
        )
        for mode in ("TF32", "TF32X3", "BF16")
    }
    assert found == {"TF32": 250, "TF32X3": 750, "BF16": 250}


def test_stretches_take_turns_where_one_block_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks on an SM hide each other's waiting: the sum of the work is what is left."""
    parts = (
        Part("once", 0),
        Part("loop0", 400, fma=400, multiplied=400 * 32, l1=400, l2=400, dram=400, passes=1),
        Part("loop1", 40, lsu=4, bytes=4096, l1=40, l2=600, dram=800),
    )
    flop = 2.0 * 132 * 8 * 32 * 400 * 10  # ten turns
    monkeypatch.setattr(predict, "occupancy", lambda *given: type("Held", (), {"blocks": 1})())
    alone = _predicted(monkeypatch, *parts, flop=flop)
    assert (alone.limit, alone.loads) == ("latency", "l2")
    assert alone.us == pytest.approx(10 * (800 + 600) / H200.ghz / 1e3)
    monkeypatch.setattr(predict, "occupancy", lambda *given: type("Held", (), {"blocks": 2})())
    both = _predicted(monkeypatch, *parts, flop=2 * flop, blocks=264)
    assert both.limit == "issue"
    assert both.us == pytest.approx(10 * 2 * 8 * 440 / 4 / H200.ghz / 1e3)


def test_what_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work("gemm_nn", "gemm.cu", {**GEMM, "VEC": "3"}, 1, 256, 0, 0.0, 0.0)
    assert predict.predict(work, H200) is None  # no such specialisation
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(machine_code, "table_path", lambda: Path("none.tsv"))
    with pytest.raises(MachineCodeError, match=r"pip install 'gpunn\[sass\]'"):
        machine_code.parts("gemm.cu", GEMM, "gemm_nn", 90)


def test_every_architecture_has_rates_and_clocks_are_those_published() -> None:
    for one in CARDS.values():
        assert rates_of(one.sm).lsu in (16, 32)
    published_clocks = {"T4": 1.59, "A100": 1.41, "A6000": 1.80, "RTX4090": 2.52, "H200": 1.98}
    for name, ghz in published_clocks.items():
        assert CARDS[name].ghz == pytest.approx(ghz, abs=0.01)


# -- against what others measured ----------------------------------------------------------------


def test_the_published_ladder_is_predicted_in_its_order_and_within_the_factor() -> None:
    """From kept machine code and counts; made by python -m benchmarks.predictions."""
    accesses = predictions.kept_accesses(predictions.LADDER)
    found = [one for one in published.compare(accesses) if one.published is not None]
    assert [one.kernel for one in found] == list(published.GFLOPS)
    for before, after in pairwise(found):
        assert before.published is not None
        assert after.published is not None
        assert before.published < after.published
        assert before.predicted < after.predicted, after.kernel
    for one in found:
        assert one.ratio is not None
        assert 1 / published.FACTOR <= one.ratio <= published.FACTOR, one
        # What the card cannot exceed is not exceeded, but for what the clock of its boost leaves open.
        assert one.published is not None
        assert one.published <= 1.1 * one.most, one
    assert published.FACTOR == 1.5


@pytest.mark.emulator
@pytest.mark.skipif(available() is not None, reason=str(available()))
def test_the_ladders_accesses_are_those_that_the_emulator_counts() -> None:
    kept = predictions.kept_accesses(predictions.LADDER)
    for kernel, access in published.count_accesses().items():
        assert (access.conflicts, access.loads, access.stores) == pytest.approx(
            (kept[kernel].conflicts, kept[kernel].loads, kept[kernel].stores), abs=1e-3
        ), kernel


def test_tables_are_of_these_sources(capsys: Any) -> None:
    """By hash alone: nothing is compiled. If this fails, run python -m benchmarks.predictions."""
    assert predictions.main(["--check"]) == 0, capsys.readouterr().out


def test_a_ladder_out_of_order_or_too_far_off_fails() -> None:
    def row(kernel: str, published: str, predicted: str, ratio: str) -> tuple[str, ...]:
        return kernel, "1", "1", "1", published, predicted, ratio, "issue", "0", "hash"

    good = [row("a", "100", "140", "1.40"), row("b", "200", "150", "0.75"), row("c", "", "1", "")]
    assert predictions.ladder_faults(good) == []
    order = predictions.ladder_faults([good[1], good[0]])
    assert order == ["a (140 GFLOP/s) is not predicted to be faster than b (150)"]
    far = predictions.ladder_faults([row("a", "100", "160", "1.60"), row("b", "500", "300", "0.60")])
    assert [fault.partition(":")[0] for fault in far] == ["a", "b"]


def test_a_rule_that_takes_too_long_is_a_fault() -> None:
    def row(ratio: str) -> tuple[str, ...]:
        return "conv10.dweight", "gemm_tn", "64 9", "184.70", "64 8", "104.20", ratio

    assert predictions.way_faults([row("1.00"), row("1.25")]) == []
    (fault,) = predictions.way_faults([row("1.26")])
    assert fault.startswith("conv10.dweight: gemm_tn by rule (64 9) is predicted to take 1.26 times as long as by 64 8")


def test_stale_tables_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    kept = predictions.LADDER.read_text(encoding="utf-8")
    table = tmp_path / "ladder.tsv"
    monkeypatch.setattr(predictions, "LADDER", table)
    table.write_text(kept.replace("\t25", "\t24"), encoding="utf-8")
    assert predictions.main(["--check"]) == 1
    assert "STALE: ladder.tsv" in capsys.readouterr().out
    monkeypatch.setattr(machine_code, "table_path", lambda: tmp_path / "none.tsv")
    assert predictions.main(["--check"]) == 1
    assert "STALE: machine code of gemm.cu" in capsys.readouterr().out
    table.write_text("published_naive\t1\n", encoding="utf-8")
    assert predictions.main(["--check"]) == 2
    assert "expected 10 cells; got 2" in capsys.readouterr().err


def test_cases_that_fall_short_are_listed_first_with_what_limits_them() -> None:
    rows = predictions.case_rows()
    short = [row for row in rows if row[-1].startswith("short")]
    assert rows[: len(short)] == short
    for row in rows:
        if row[9].endswith("by bytes") and row[-1] == "reached":
            assert row[5] == "DRAM"
            assert float(row[8]) >= 0.85


def test_convolutions_of_bf16_reach_their_share_of_tensor_cores() -> None:
    rows = {row[0]: row for row in predictions.case_rows() if row[0].endswith(" bf16")}
    rows = {line: row for line, row in rows.items() if line.startswith(predictions.TENSOR)}
    assert len(rows) == 3 * len(predictions.TENSOR)
    for line, row in rows.items():
        if line.startswith("conv05."):  # its bytes take longer, by a copy's bandwidth
            assert row[-1] == "short: DRAM"
            assert float(row[8]) >= 0.95
        else:
            assert row[-1] == "reached", row


def test_what_moves_16_bits_takes_what_its_bytes_take() -> None:
    """But for what has so much to compute for each number that half the bytes leave instructions as the limit."""
    rows = {row[0]: row for row in predictions.case_rows() if row[0].endswith(" bf16")}
    short = {line.partition(" ")[0] for line, row in rows.items() if row[9].startswith("0.85") and row[10] != "reached"}
    narrow = {f"{name}.{direction}" for name in ("conv11a", "conv11b") for direction in ("forward", "dx", "dweight")}
    assert short == {"gelu.forward", "gelu.backward", "avg-pool.backward", *narrow}


def test_float32_convolutions_reach_their_share_of_tensor_cores_with_tf32() -> None:
    rows = {row[0]: row for row in predictions.case_rows() if row[0].endswith(" tf32")}
    assert len(rows) == 3 * len(predictions.TENSOR)
    for line, row in rows.items():
        if line.startswith(("conv04.", "conv05.", "conv10.")):  # 3 channels; products of 1 x 1
            assert "conv2d_tensor" not in row[1]
        else:
            assert row[1].startswith("conv2d_tensor_")
            assert row[-1] == "reached", row


# -- beside what a device report measures --------------------------------------------------------


def test_cards_are_known_by_cudas_names() -> None:
    assert card_named("NVIDIA H200") is H200
    assert card_named("NVIDIA RTX A6000") is CARDS["A6000"]
    assert card_named("NVIDIA GeForce RTX 4090") is CARDS["RTX4090"]
    assert card_named("NVIDIA A100-SXM4-80GB") is CARDS["A100"]
    assert card_named("Tesla T4") is CARDS["T4"]
    assert card_named("Stand-in") is None


@pytest.mark.emulator
@pytest.mark.skipif(available() is not None, reason=str(available()))
def test_measured_beside_predicted() -> None:
    import gpunn
    from gpunn.gpu.launcher import trace_launches

    x = gpunn.zeros(4096, device="emulator")
    assert this_card(x.device) is None
    with trace_launches() as launches:
        x.relu()
    row = predicted(launches, H200, 5.0)
    assert row["limit"]
    assert row["÷ predicted"] == pytest.approx(5.0 / row["predicted µs"])
    assert predicted(launches, None, 5.0)["predicted µs"] is None
    assert predicted(launches, CARDS["B200"], 5.0).keys() == row.keys()
