"""The bench of PyTorch programs: one thread, both libraries, time and memory."""

from __future__ import annotations

import pytest

from benchmarks import programs
from tests.programs._with_gpunn import program


def test_table_of_the_smallest_network(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert programs.main(["--only", "LeNet", "--rounds", "1"]) == 0
    _, row, mean = capsys.readouterr().out.splitlines()
    name, ours, _, theirs, _, ratio, megabytes, *_ = row.split()
    assert name == "LeNet"
    # Both are rounded to a tenth of a millisecond, and take at least one.
    assert float(ratio) == pytest.approx(float(ours) / float(theirs), rel=0.12)
    # Its 62,006 parameters with their gradients, and the activations of 8 images.
    assert 0.5 < float(megabytes) < 100
    assert mean.split()[2] == ratio


def test_networks_are_programs_at_full_size() -> None:
    parameters = {}
    for name in ("LeNet", "VGG11", "MobileNetV2"):
        file, arguments = programs.NETWORKS[name]
        net = program(file, ours=True).build(**arguments)
        parameters[name] = sum(p.numel() for p in net.parameters())
    assert parameters == {"LeNet": 62_006, "VGG11": 9_231_114, "MobileNetV2": 2_236_682}


def test_unknown_network_and_no_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--only", "VGG12"], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            programs.main(arguments)
        assert "expected names out of LeNet, AlexNet" in capsys.readouterr().err


def test_worker_that_fails_is_told() -> None:
    with (
        pytest.raises(RuntimeError, match="VGG12 gpunn: ended"),
        programs.worker("VGG12", "gpunn") as process,
    ):
        programs.ask(process, "step")


def test_geometric_mean() -> None:
    assert programs.geometric_mean([0.5, 2.0]) == pytest.approx(1)
    assert programs.geometric_mean([1.0, 8.0, 1.0]) == pytest.approx(2)
