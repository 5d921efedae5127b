"""Reading metrics.jsonl: what a trainer writes, what old and killed runs left, and what anybody may have made of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import DataError, UsageError
from gpunn.optim import SGD
from gpunn.train import EpochRecord, Trainer, read_metrics


def written(folder: Path, *lines: str | bytes | dict) -> Path:
    """A file of these lines, each as it is or as JSON."""
    path = folder / "metrics.jsonl"
    data = [line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
            for line in lines]  # fmt: skip
    path.write_bytes(b"".join(line + b"\n" for line in data))
    return path


def epoch(number: int, **more: object) -> dict:
    return {"epoch": number, "step": 10 * number, "train_loss": 1 / number, **more}


def test_reads_what_a_trainer_writes(tmp_path: Path) -> None:
    gpunn.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    rng = np.random.Generator(np.random.Philox(1))
    data = TensorDataset(rng.normal(size=(12, 2)).astype(np.float32), np.arange(12) % 3)
    trainer = Trainer(model, SGD(model.parameters(), 0.1), device="cpu", log=None, out=tmp_path / "run")
    trainer.fit(DataLoader(data, 4), DataLoader(data, 12), epochs=3)
    for path in (tmp_path / "run", tmp_path / "run" / "metrics.jsonl"):
        metrics = read_metrics(path)
        assert metrics.path == tmp_path / "run" / "metrics.jsonl"
        assert metrics.epoch.tolist() == [1, 2, 3]
        assert metrics.notes == ()
        numbers = {name for name in EpochRecord.__dataclass_fields__ if name not in ("epoch", "gradient_norms")}
        assert set(metrics.columns) == numbers, "every field is documented and read"
        for name in numbers:
            assert metrics.columns[name].tolist() == [getattr(r, name) for r in trainer.history], name
        assert list(metrics.gradient_norms) == ["0", "2"]
        assert metrics.gradient_norms["2"].tolist() == [r.gradient_norms["2"] for r in trainer.history]


def test_fields_that_are_missing_null_or_not_finite(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        epoch(1),
        epoch(2, test_loss=None, gradient_norms=None, invented=["by", {"a": "newer version"}]),
        '{"epoch": 3, "train_loss": NaN, "lr": Infinity, "seconds": 1e999, "gradient_norms": {"a": 1, "b": null}}',
        epoch(4, lr=1e200, gradient_norms={"b": 2.5}),
    )
    metrics = read_metrics(path)
    assert metrics.epoch.tolist() == [1, 2, 3, 4]
    assert metrics.columns["train_loss"].tolist()[:2] == [1.0, 0.5]
    for name, known in {"train_loss": 3, "step": 3, "test_loss": 0, "lr": 0, "seconds": 0}.items():
        assert np.isfinite(metrics.columns[name]).sum() == known, name
    assert metrics.has("step")
    assert not metrics.has("test_loss")
    np.testing.assert_array_equal(metrics.gradient_norms["a"], [np.nan, np.nan, 1, np.nan])
    np.testing.assert_array_equal(metrics.gradient_norms["b"], [np.nan, np.nan, np.nan, 2.5])


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, epoch(1), epoch(2))
    whole = path.read_bytes()
    for cut in range(1, len(json.dumps(epoch(2)))):
        path.write_bytes(whole[: -1 - cut])
        metrics = read_metrics(path)
        assert metrics.epoch.tolist() == [1]
        assert metrics.notes == ("line 2 is cut off, and left out",)
    path.write_bytes(whole[:-1])  # all but the end of the line
    assert read_metrics(path).epoch.tolist() == [1, 2]
    path.write_bytes(b"\n".join([whole.splitlines()[0], whole.splitlines()[1][:20], whole.splitlines()[1], b""]))
    with pytest.raises(DataError, match="line 2: expected a JSON object"):
        read_metrics(path)


def test_of_an_epoch_that_is_there_twice_the_last_line_counts(tmp_path: Path) -> None:
    norms = {"gradient_norms": {"a": 1.0, "gone": 1.0}}
    path = written(tmp_path, epoch(1), epoch(2, **norms), epoch(3), epoch(2, lr=7, gradient_norms={"a": 4.0}), epoch(2))
    metrics = read_metrics(path)
    assert metrics.epoch.tolist() == [1, 2, 3]
    assert np.isnan(metrics.columns["lr"]).all()
    assert np.isnan(metrics.gradient_norms["a"]).all()
    assert metrics.notes == ("line 4 repeats epoch 2: of each epoch the last line counts",)
    assert read_metrics(written(tmp_path, epoch(5), epoch(1), epoch(3))).epoch.tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2]", "line 2: expected a JSON object; got b'[1, 2]"),
        ("null", "line 2: expected a JSON object; got b'null"),
        ("epoch 2", "line 2: expected a JSON object; got b'epoch 2"),
        (b"\xff\xfe{", "line 2: expected a JSON object"),
        ('{"epoch": 2}', "line 2: expected the fields epoch and train_loss; train_loss is missing"),
        ('{"train_loss": 2}', "epoch is missing"),
        ('{"epoch": "2", "train_loss": 1}', "epoch: expected a whole number of at least 1; got '2'"),
        ('{"epoch": 2.5, "train_loss": 1}', "epoch: expected a whole number of at least 1; got 2.5"),
        ('{"epoch": 0, "train_loss": 1}', "epoch: expected a whole number of at least 1; got 0"),
        ('{"epoch": 1e300, "train_loss": 1}', "epoch: expected a whole number of at least 1; got 1e+300"),
        ('{"epoch": NaN, "train_loss": 1}', "epoch: expected a whole number of at least 1; got nan"),
        ('{"epoch": null, "train_loss": 1}', "epoch: expected a whole number of at least 1; got null"),
        ('{"epoch": true, "train_loss": 1}', "epoch: expected a whole number of at least 1; got a truth value"),
        ('{"epoch": 2, "train_loss": "low"}', "train_loss: expected a number or null; got 'low'"),
        ('{"epoch": 2, "train_loss": [1]}', "train_loss: expected a number or null; got an array"),
        ('{"epoch": 2, "train_loss": 1, "lr": {}}', "lr: expected a number or null; got an object"),
        ('{"epoch": 2, "train_loss": 1, "lr": false}', "lr: expected a number or null; got a truth value"),
        ('{"epoch": 2, "train_loss": 1, "gradient_norms": [1]}', "gradient_norms: expected an object of numbers"),
        ('{"epoch": 2, "train_loss": 1, "gradient_norms": {"a": "b"}}', "gradient_norms of 'a': expected a number"),
        ("[" * 100_000, "brackets nested too deep"),
        ('{"a":' * 30_000, "brackets nested too deep"),
        ('{"epoch": ' + "9" * 200_000 + "}", "train_loss is missing"),
        ('{"epoch": 2, "train_loss": ' + "9" * 300_000 + "}", "line 2: expected at most 262144 bytes; it has more"),
        (json.dumps(epoch(2, gradient_norms={f"{i:x}": 1 for i in range(5001)})), "expected at most 5000 layers"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_what_is_no_line_of_metrics(line: str | bytes, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, epoch(1), line, epoch(3))
    with pytest.raises(DataError) as caught:
        read_metrics(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_refuses_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none does not exist"):
        read_metrics(tmp_path / "none")
    with pytest.raises(UsageError, match=r"has no metrics\.jsonl: no epoch was complete yet"):
        read_metrics(tmp_path)
    with pytest.raises(UsageError, match="no epoch was complete"):
        read_metrics(written(tmp_path, "", " "))
    (tmp_path / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(DataError, match="it is a pipe, not a file"):
        read_metrics(tmp_path)
    with pytest.raises(DataError, match="could not be read"):
        read_metrics("a\0b")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="expected at most 67108864 bytes of metrics; the file has 1099511627776"):
        read_metrics(tmp_path / "huge")


def test_gaps_do_not_become_gigabytes(tmp_path: Path) -> None:
    # 4,000 layers, each in one line only: a table of 4,000 x 4,000 numbers would be 2,000 times the file.
    lines = [epoch(i, gradient_norms={str(i): 1}) for i in range(1, 4001)]
    with pytest.raises(DataError, match="has 4000 layers in 4000 lines, and most of their norms are missing"):
        read_metrics(written(tmp_path, *lines))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = st.sampled_from([*EpochRecord.__dataclass_fields__, "other"])
_LINES = st.binary(max_size=60) | st.dictionaries(_FIELDS, _VALUES, max_size=6).map(lambda d: json.dumps(d).encode())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(_LINES, max_size=5), st.integers(0, 3))
def test_whatever_the_file_holds_it_is_metrics_or_our_own_error(tmp_path: Path, lines: list[bytes], cut: int) -> None:
    data = b"\n".join([json.dumps(epoch(1)).encode(), *lines])
    path = tmp_path / "fuzzed.jsonl"
    path.write_bytes(data[: len(data) - cut])
    metrics, message = None, ""
    try:
        metrics = read_metrics(path)
    except (DataError, UsageError) as error:  # the second where nothing but blanks is left
        message = str(error)
    assert len(message) < 500
    assert message.isprintable()
    if metrics is None:
        return
    assert (np.diff(metrics.epoch) > 0).all()
    for column in (*metrics.columns.values(), *metrics.gradient_norms.values()):
        assert column.shape == metrics.epoch.shape
        assert not np.isinf(column).any()
