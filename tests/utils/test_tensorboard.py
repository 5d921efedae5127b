"""What SummaryWriter writes, read back by TensorBoard's own reader."""

from __future__ import annotations

import builtins
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import DataError, DTypeError, ShapeError, UsageError
from gpunn.utils.tensorboard import SummaryWriter

_WHY = "TensorBoard's files need its package: pip install 'gpunn[tensorboard]'"


@pytest.fixture
def writer(tmp_path: Path) -> SummaryWriter:
    pytest.importorskip("tensorboard", reason=_WHY)
    return SummaryWriter(tmp_path)


def _read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0, "tensors": 0})
    reader.Reload()
    return reader


def test_numbers(writer: SummaryWriter, tmp_path: Path) -> None:
    writer.add_scalar("loss/train", 0.5, 1)
    writer.add_scalar("loss/train", gpunn.tensor([0.25], requires_grad=True), 2, walltime=100.0)
    writer.add_scalars("both", {"a": 1, "b": np.float64(2)}, 3)
    writer.close()
    first, second = _read(tmp_path).Scalars("loss/train")
    assert (first.step, first.value, second.step, second.value, second.wall_time) == (1, 0.5, 2, 0.25, 100.0)
    for name, value in (("a", 1.0), ("b", 2.0)):
        assert [(e.step, e.value) for e in _read(tmp_path / f"both_{name}").Scalars("both")] == [(3, value)]


def test_histograms_leave_out_what_is_not_finite(writer: SummaryWriter, tmp_path: Path) -> None:
    writer.add_histogram("w", gpunn.tensor([[0.0, 1.0], [1.0, np.nan]]), 4, bins=2)
    writer.close()
    (event,) = _read(tmp_path).Histograms("w")
    made = event.histogram_value
    assert (event.step, made.min, made.max, made.num, made.sum, made.sum_squares) == (4, 0, 1, 3, 2, 2)
    assert list(made.bucket) == [1, 2]


@pytest.mark.parametrize(
    ("shape", "order", "size"), [((3, 2, 5), "CHW", (5, 2)), ((2, 5, 1), "HWC", (5, 2)), ((2, 5), "HW", (5, 2))]
)
def test_images(writer: SummaryWriter, tmp_path: Path, shape: tuple[int, ...], order: str, size: Any) -> None:
    pillow = pytest.importorskip("PIL.Image")
    values = np.random.Generator(np.random.Philox(1)).random(shape)
    writer.add_image("x", gpunn.tensor(values), 1, dataformats=order)
    writer.add_image("y", (values * 255).round().astype(np.uint8), 1, dataformats=order)
    writer.close()
    reader = _read(tmp_path)
    first, second = (pillow.open(io.BytesIO(reader.Images(tag)[0].encoded_image_string)) for tag in "xy")
    assert first.size == second.size == size
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    expected = (values.transpose(1, 2, 0) if order == "CHW" else values).round(9) * 255
    np.testing.assert_array_equal(np.asarray(first), expected.squeeze().round())


def test_rows_of_images_and_figures(writer: SummaryWriter, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    writer.add_images("row", gpunn.zeros(4, 3, 2, 5))
    figure = pyplot.figure(figsize=(2, 1), dpi=50)
    writer.add_figure("figure", figure)
    assert not pyplot.fignum_exists(figure.number)
    writer.close()
    reader = _read(tmp_path)
    for tag, width, height in (("row", 20, 2), ("figure", 100, 50)):
        (event,) = reader.Images(tag)
        assert (event.width, event.height) == (width, height)


def test_texts(writer: SummaryWriter, tmp_path: Path) -> None:
    writer.add_text("notes", "lr **0.1**", 2)
    writer.flush()
    (event,) = _read(tmp_path).Tensors("notes/text_summary")
    assert (event.step, list(event.tensor_proto.string_val)) == (2, [b"lr **0.1**"])
    writer.close()


def test_a_resumed_run_takes_the_place_of_later_steps(
    writer: SummaryWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(4):
        writer.add_scalar("loss", step, step)
    writer.close()
    later = time.time() + 60  # files are read in the order of the second in their names
    monkeypatch.setattr(time, "time", lambda: later)
    with SummaryWriter(tmp_path, purge_step=2, filename_suffix=".resumed") as again:
        again.add_scalar("loss", 20, 2)
    assert [(e.step, e.value) for e in _read(tmp_path).Scalars("loss")] == [(0, 0), (1, 1), (2, 20)]


def test_the_default_folder(writer: SummaryWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SummaryWriter(comment="_lr1") as other:
        assert other.get_logdir().startswith("runs/")
        assert other.get_logdir().endswith("_lr1")
        assert (tmp_path / other.get_logdir()).is_dir()


def test_a_graph_is_not_written(writer: SummaryWriter) -> None:
    with pytest.warns(UserWarning, match="gpunn summary --graph"):
        writer.add_graph(None)
    writer.close()


def test_mistakes_are_told(writer: SummaryWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShapeError, match=r"loss: expected one number; got shape \(2,\)"):
        writer.add_scalar("loss", gpunn.ones(2))
    with pytest.raises(DTypeError, match="got str"):
        writer.add_scalar("loss", "high")
    with pytest.raises(ShapeError, match="finite value"):
        writer.add_histogram("w", gpunn.tensor([np.nan]))
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        writer.add_image("x", gpunn.zeros(2, 4, 4))
    with pytest.raises(ShapeError, match="CHW, HWC or HW"):
        writer.add_image("x", gpunn.zeros(4, 4))
    with pytest.raises(ShapeError, match="NCHW or NHWC"):
        writer.add_images("x", gpunn.zeros(3, 4, 4))
    writer.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="could not be written"):
        SummaryWriter(tmp_path / "file")
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ImportError("not here")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"gpunn\[tensorboard\]"):
        SummaryWriter(tmp_path)
