"""A training step's options: pieces of a batch, clipping, steps that are left out, and why training cannot go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import OutOfMemoryError, TrainingError, UsageError
from gpunn.optim import SGD, Adam
from gpunn.train import Callback, RunFolder, Trainer
from tests.devices import EVERYWHERE


def network() -> nn.Sequential:
    gpunn.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def data(n: int = 22, bad: tuple[int, ...] = ()) -> TensorDataset:
    x = np.random.Generator(np.random.Philox(1)).normal(0, 1, (n, 4)).astype(np.float32)
    x[list(bad)] = np.nan
    return TensorDataset(x, np.arange(n) % 3)


def made(model: nn.Module | None = None, where: str = "cpu", lr: float = 0.5, **options: Any) -> Trainer:
    model = network() if model is None else model
    return Trainer(model, SGD(model.parameters(), lr=lr, momentum=0.9), device=where, log=None, **options)


def weights(trainer: Trainer) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in trainer.model.parameters()]


# -- accumulation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("pieces", [2, 3, 8, 100])
def test_pieces_of_a_batch_are_the_batch(where, pieces) -> None:
    """22 images in batches of 8: two of 8 and one of 6, which pieces do not divide evenly."""
    whole, split = made(where=where), made(where=where, accumulate=pieces)
    for trainer in (whole, split):
        trainer.fit(DataLoader(data(), 8, device=where), epochs=2)
    for a, b in zip(weights(whole), weights(split), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)  # six steps from sums in another order; weights are about 1
    for one, other in zip(whole.history, split.history, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert one.train_accuracy_percent == other.train_accuracy_percent
        assert (one.step, one.epoch) == (other.step, other.epoch)


def test_a_step_in_pieces_sees_no_more_than_a_piece() -> None:
    seen = []
    model = network()
    model[0].register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    made(model, accumulate=3).fit(DataLoader(data(), 8))
    assert seen == [3, 3, 2, 3, 3, 2, 2, 2, 2]


# -- clipping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
def test_gradients_are_clipped_before_the_step(where) -> None:
    model = network()
    before = [p.detach().numpy().copy() for p in model.parameters()]
    trainer = made(model, where, lr=1.0, clip_grad_norm=0.01)
    trainer.fit(DataLoader(data(), 22, device=where))
    moved = np.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in zip(weights(trainer), before, strict=True)))
    assert moved == pytest.approx(0.01, rel=1e-3)


# -- not finite ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("every", [1, 50])
@pytest.mark.parametrize("capture", [True, False])
def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_step_and_layer(where, every, capture) -> None:
    """Image 17 is in the fifth batch; where totals are read seldom, that is found at the epoch's end."""
    trainer = made(where=where, capture=capture)
    trainer._read_every = every
    good = made(where=where, capture=capture)
    good.fit(DataLoader(data(), 4, device=where), max_steps=4)
    with pytest.raises(TrainingError) as caught:
        trainer.fit(DataLoader(data(bad=(17,)), 4, device=where))
    assert str(caught.value).startswith(
        "the training loss became nan at step 5 (epoch 1); the images given to 0 (Linear) have values that are not"
    )
    for a, b in zip(weights(trainer), weights(good), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_first_layer_whose_output_is_not_finite_is_named(where) -> None:
    class Log(nn.Module):
        def forward(self, x):
            return (x - x.min() - 1e-6).log()  # of the smallest: the logarithm of a negative number

    model = nn.Sequential(nn.Linear(4, 8), Log(), nn.Linear(8, 3))
    with pytest.raises(TrainingError, match=r"at step 1 \(epoch 1\); 1 \(Log\) is the first layer whose output is not"):
        made(model, where, capture=False).fit(DataLoader(data(), 8, device=where))


class Poison(nn.Module):
    """The identity; the gradient through it is infinite when its counter reaches ``at``."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.count = at, 0

    def forward(self, x):
        self.count += 1
        y = x * 1.0
        if self.training and self.count == self.at:
            y.register_hook(lambda gradient: gradient * float("inf"))
        return y


def test_a_gradient_that_is_not_finite_is_told_of_in_the_next_step() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), Poison(3), nn.Linear(8, 3))
    with pytest.raises(TrainingError) as caught:
        made(model).fit(DataLoader(data(), 4))
    assert (
        "at step 4 (epoch 1); 0 (Linear) is the first layer whose weight is not finite: its gradient in an earlier"
        in (str(caught.value))
    )


def test_a_gradient_that_is_not_finite_in_the_last_step_is_told_of_too(tmp_path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), Poison(6), nn.Linear(8, 3))
    with pytest.raises(TrainingError) as caught:
        made(model, out=tmp_path, checkpoint_every=2).fit(DataLoader(data(), 4))
    assert str(caught.value).startswith(
        "the gradient of step 6 was not finite; 0 (Linear) is the first layer whose weight"
    )
    good = RunFolder(tmp_path).checkpoint(4)
    assert str(caught.value).endswith(f" The last good checkpoint is {good}.")
    assert good.exists()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("capture", [True, False])
def test_steps_that_are_not_finite_are_skipped_on_request(where, capture) -> None:
    """As if the bad batches had not been there; batch norm's statistics, too."""

    def model() -> nn.Sequential:
        gpunn.manual_seed(3)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    trainer = made(model(), where, not_finite="skip", capture=capture)
    trainer.fit(DataLoader(data(24, bad=(5, 17)), 4, device=where))
    x, y = data(24).arrays
    kept = [*range(4), *range(8, 16), *range(20, 24)]
    other = made(model(), where, capture=capture)
    other.fit(DataLoader(TensorDataset(x[kept], y[kept]), 4, device=where))
    assert trainer.history[0].skipped == 2
    assert trainer.history[0].train_loss == other.history[0].train_loss
    mine, theirs = trainer.model.state_dict(), other.model.state_dict()
    for name in mine:
        np.testing.assert_array_equal(mine[name].numpy(), theirs[name].numpy(), err_msg=name)


def test_a_gradient_that_is_not_finite_is_skipped_too() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), Poison(3), nn.Linear(8, 3))
    trainer = made(model, not_finite="skip", clip_grad_norm=1.0)
    trainer.fit(DataLoader(data(), 4), epochs=2)
    assert [r.skipped for r in trainer.history] == [1, 0]
    assert all(np.isfinite(w).all() for w in weights(trainer))


def test_where_every_step_is_skipped_training_ends() -> None:
    bad = TensorDataset(np.full((4, 4), np.nan, np.float32), np.zeros(4, np.int64))
    with pytest.raises(TrainingError, match="more than 100 steps in a row had a loss or a gradient that is not finite"):
        made(not_finite="skip").fit(DataLoader(bad, 4), epochs=200)


# -- memory ----------------------------------------------------------------------------------------


class Limited(nn.Module):
    """Refuses more than ``most`` images, as a device without memory for them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x):
        if len(x) > self.most:
            raise MemoryError(f"asked for {len(x)} images")
        return x


@pytest.mark.parametrize(("most", "fits", "pieces"), [(9, 5, 5), (3, 2, 11), (11, 11, 2), (1, 1, 22)])
def test_out_of_memory_says_which_batch_size_fits(most, fits, pieces) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 3), Limited(most))

    with pytest.raises(OutOfMemoryError) as caught:
        made(model()).fit(DataLoader(data(), 22))
    assert str(caught.value) == (
        f"out of memory in a step with 22 images: asked for 22 images. Batches of {fits} fit: reduce the batch size to "
        f"that, or keep it and train it in {pieces} pieces (accumulate={pieces}, --accumulate {pieces})."
    )
    made(model(), accumulate=pieces).fit(DataLoader(data(), 22))


def test_out_of_memory_for_a_single_image() -> None:
    with pytest.raises(OutOfMemoryError, match="Not even a single image fits: use a smaller model or smaller images"):
        made(nn.Sequential(nn.Linear(4, 3), Limited(0))).fit(DataLoader(data(), 22))


@pytest.mark.gpu
def test_out_of_memory_on_a_gpu_says_which_batch_size_fits() -> None:
    import cupy

    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        model = nn.Sequential(nn.Linear(4, 2000), nn.Tanh(), nn.Linear(2000, 3)).to("cuda")
        trainer = Trainer(model, Adam(model.parameters()), device="cuda", log=None, capture=False)
        data = TensorDataset(np.zeros((4096, 4), np.float32), np.zeros(4096, np.int64))
        pool.set_limit(pool.total_bytes() + (40 << 20))  # an activation of the batch has 33 MB
        with pytest.raises(OutOfMemoryError, match=r"in a step with 4096 images: .*Batches of (1024|512) fit"):
            trainer.fit(DataLoader(data, 4096, device="cuda"))


# -- stopping, options -----------------------------------------------------------------------------


def test_a_callback_ends_training_after_the_epoch(tmp_path) -> None:
    class Enough(Callback):
        def on_epoch_end(self, trainer, record):
            if record.epoch == 2:
                trainer.stop("enough")

    trainer = made(out=tmp_path, callbacks=[Enough()])
    trainer.fit(DataLoader(data(), 8), epochs=9)
    assert (trainer.epoch, trainer.stop_reason) == (2, "enough")
    again = made(out=tmp_path)
    again.resume()
    again.fit(DataLoader(data(), 8), epochs=9)
    assert (again.epoch, again.stop_reason) == (2, "enough"), "a run that ended by itself does not go on"
    trainer.fit(DataLoader(data(), 8), epochs=1)
    assert (trainer.epoch, trainer.stop_reason) == (3, None)


def test_gradient_norms_are_those_of_the_last_step() -> None:
    trainer = made()
    trainer.fit(DataLoader(data(), 8))
    expected = {
        name: np.sqrt(sum(float((p.grad.numpy().astype(np.float64) ** 2).sum()) for p in layer.parameters()))
        for name, layer in trainer.model.named_children()
        if list(layer.parameters())
    }
    assert trainer.history[0].gradient_norms == pytest.approx(expected)
    assert set(expected) == {"0", "2"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"accumulate": 0}, "Trainer: accumulate: expected a whole number of at least 1; got 0"),
        ({"accumulate": 2.0}, "Trainer: accumulate: expected a whole number"),
        ({"checkpoint_every": 0}, "Trainer: checkpoint_every: expected a whole number of at least 1; got 0"),
        ({"clip_grad_norm": 0}, "Trainer: clip_grad_norm: expected a number above 0; got 0"),
        ({"clip_grad_norm": float("nan")}, "Trainer: clip_grad_norm: expected a number above 0; got nan"),
        ({"not_finite": "ignore"}, "Trainer: not_finite: expected 'stop' or 'skip'; got 'ignore'"),
        ({"keep": 0, "out": "x"}, "RunFolder: keep: expected a whole number of at least 1; got 0"),
    ],
)
def test_options_that_are_none(options, match, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=match):
        made(**options)
