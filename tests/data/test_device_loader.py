"""DeviceLoader: the DataLoader's batches, made on the device; the same bits everywhere, in steps, after a resume."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn.data import DataLoader, Dataset, DeviceLoader, Subset, TensorDataset, _resident
from gpunn.data.images import ImageDataset
from gpunn.data.transforms import (
    ColorJitter,
    Compose,
    Cutout,
    RandomCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
)
from gpunn.errors import DataError, DTypeError, OutOfMemoryError, RangeError, ShapeError, UsageError
from gpunn.optim import SGD, lr_scheduler
from gpunn.train import Callback, Trainer
from tests.devices import EVERYWHERE

EVERYTHING = Compose([RandomCrop(7, padding=2), RandomHorizontalFlip(), RandomVerticalFlip(0.3), Cutout(3)])


class Pictures(ImageDataset):
    """Small images in which every pixel tells its place, in three classes."""

    classes = ("a", "b", "c")

    def __init__(self, n: int = 23, shape: tuple[int, int, int] = (3, 7, 7)) -> None:
        self.input_shape = shape
        rng = np.random.Generator(np.random.Philox(n))
        images = rng.integers(1, 256, (n, *shape), dtype=np.uint8)
        super().__init__(images, np.arange(n) % 3, [0.1, 0.2, 0.3][: shape[0]], 0.25)


def made(where: str | Device, transform: Any = None, batch_size: int = 5, n: int = 23, **options: Any) -> DeviceLoader:
    return DeviceLoader(
        Pictures(n), batch_size, True, transform=transform, generator=gpunn.Generator(3), device=where, **options
    )


def epochs(loader: Any, count: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x.numpy().copy(), y.numpy().copy()) for _ in range(count) for x, y in loader]


def same(ours: Any, theirs: Any) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        for a, b in zip(mine, other, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_the_data_loaders(where: str, shuffle: bool) -> None:
    for dataset in (Pictures(), Subset(Pictures(), [4, 2, 2, 9, 22, 0, 11])):
        ours = DeviceLoader(dataset, 5, shuffle, generator=gpunn.Generator(3), device=where)
        theirs = DataLoader(dataset, 5, shuffle, generator=gpunn.Generator(3), device=where)
        assert len(ours) == len(theirs)
        same(epochs(ours), epochs(theirs))
    gpunn.manual_seed(4)
    default = DeviceLoader(Pictures(), 5, shuffle, device=where)
    gpunn.manual_seed(4)
    same(epochs(default), epochs(DataLoader(Pictures(), 5, shuffle, device=where)))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_images_that_are_no_bytes_are_kept_as_they_are(where: str) -> None:
    rng = np.random.Generator(np.random.Philox(0))
    numbers = TensorDataset(rng.normal(0, 1, (9, 2, 3, 4)).astype(np.float32), np.arange(9, dtype=np.int32) % 2)
    ours = epochs(DeviceLoader(numbers, 4, device=where), 1)
    same([(x, y.astype(np.int32)) for x, y in ours], epochs(DataLoader(numbers, 4, device=where), 1))
    listed = DeviceLoader([numbers[i] for i in range(9)], 4, device=where)
    same(epochs(listed, 1), ours)


def test_changed_images_are_the_same_bits_wherever_they_are_made(kernels: str) -> None:
    for transform in (EVERYTHING, RandomHorizontalFlip(alternate=True), RandomCrop(7, 3, padding_mode="reflect")):
        same(epochs(made(kernels, transform), 3), epochs(made("cpu", transform), 3))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_what_is_drawn_depends_on_image_and_epoch_alone(where: str) -> None:
    def by_image(**options: Any) -> dict[tuple[int, int], bytes]:
        loader = made(where, EVERYTHING, **options)
        found = {}
        for epoch in range(2):
            for indices in loader.indices():
                for i, image in zip(indices.tolist(), loader.take(indices)[0].numpy(), strict=True):
                    found[epoch, i] = image.tobytes()
        return found

    expected = by_image()
    assert len(expected) == 46
    assert by_image(batch_size=8) == expected
    assert all(expected[0, i] != expected[1, i] for i in range(23))
    parts = []
    for rank in range(3):
        mine = made(where, EVERYTHING, batch_size=10)
        parts.append([(x.numpy(), y.numpy()) for x, y in mine.batches(0, (rank, 3))])
    joined = [tuple(np.concatenate(f) for f in zip(*batch, strict=True)) for batch in zip(*parts, strict=True)]
    same(joined, epochs(made(where, EVERYTHING, batch_size=10), 1))


def _cuts(image: np.ndarray, padding: int) -> Iterator[tuple[tuple[int, int, bool], np.ndarray]]:
    """All that a crop with padding and a mirror may make of an image (C, H, W)."""
    _, h, w = image.shape
    for top, left, mirror in itertools.product(range(2 * padding + 1), range(2 * padding + 1), (False, True)):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        cut = padded[:, top : top + h, left : left + w]
        yield (top, left, mirror), cut[:, :, ::-1] if mirror else cut


@pytest.mark.parametrize("where", EVERYWHERE)
def test_crops_and_mirrors_are_those_that_there_are_and_equally_likely(where: str) -> None:
    n = 300
    transform = Compose([RandomCrop(7, padding=1), RandomHorizontalFlip()])
    loader = DeviceLoader(Pictures(n), n, transform=transform, generator=gpunn.Generator(1), device=where)
    plain, _ = next(iter(DeviceLoader(Pictures(n), n, device=where)))
    counts: dict[tuple[int, int, bool], int] = {}
    for image, changed in zip(plain.numpy(), next(iter(loader))[0].numpy(), strict=True):
        (drawn,) = [key for key, cut in _cuts(image, 1) if np.array_equal(cut, changed)]
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 18
    # Chi squared of 17 degrees of freedom: 41 in one of a thousand seeds.
    expected = n / 18
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 41


@pytest.mark.parametrize("where", EVERYWHERE)
def test_cutout_erases_squares_all_over_the_image(where: str) -> None:
    n = 200
    plain, _ = next(iter(DeviceLoader(Pictures(n), n, device=where)))
    loader = DeviceLoader(Pictures(n), n, transform=Cutout(3, fill=7.0), generator=gpunn.Generator(1), device=where)
    changed = next(iter(loader))[0].numpy()
    lost = (changed == 7).all(1)
    np.testing.assert_array_equal(np.where(lost[:, None], plain.numpy(), changed), plain.numpy())
    np.testing.assert_array_equal(lost, lost.any(2)[:, :, None] & lost.any(1)[:, None, :])
    assert {int(v) for v in lost.any(2).sum(1)} == {2, 3}  # a corner lies outside where the centre is at the edge
    assert lost.any(0).all()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_images_mirrored_in_turns(where: str) -> None:
    transform = RandomHorizontalFlip(alternate=True)
    loader = DeviceLoader(Pictures(40), 40, transform=transform, generator=gpunn.Generator(1), device=where)
    plain, _ = next(iter(DeviceLoader(Pictures(40), 40, device=where)))
    image = plain.numpy()
    first, second, third = (next(iter(loader))[0].numpy() for _ in range(3))
    np.testing.assert_array_equal(second, first[..., ::-1])
    np.testing.assert_array_equal(third, first)
    mirrored = [np.array_equal(a[..., ::-1], b) for a, b in zip(image, first, strict=True)]
    assert 8 < sum(mirrored) < 32  # four standard deviations about 20
    assert not any(np.array_equal(a, b) and m for a, b, m in zip(image, first, mirrored, strict=True))


@pytest.mark.parametrize("mode", ["constant", "reflect"])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_reflected_edges_are_numpys(where: str, mode: str) -> None:
    """Both loaders: of an image padded by NumPy, some window is what they give."""
    transform = RandomCrop((5, 7), padding=4, padding_mode=mode)
    plain, _ = next(iter(DeviceLoader(Pictures(), 23, device=where)))
    padded = np.pad(plain.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode=mode)  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 7), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    for kind in (DeviceLoader, DataLoader):
        loader = kind(Pictures(), 23, transform=transform, generator=gpunn.Generator(2), device=where)
        changed = next(iter(loader))[0].numpy()
        assert (windows == changed[:, None, None]).all((3, 4, 5)).any((1, 2)).all()


@pytest.mark.parametrize("where", EVERYWHERE)
def test_an_epoch_goes_on_from_its_middle(where: str) -> None:
    whole = made(where, EVERYTHING)
    epochs(whole, 1)
    states = whole.generator.get_state(), whole.change_generator.get_state()
    expected = epochs(whole, 1)
    resumed = made(where, EVERYTHING)
    resumed.generator.set_state(states[0])
    resumed.change_generator.set_state(states[1])
    same([(x.numpy(), y.numpy()) for x, y in resumed.batches(start=2)], expected[2:])


@pytest.mark.parametrize("where", EVERYWHERE)
def test_two_iterations_at_once_keep_their_epochs(where: str) -> None:
    alone, both = epochs(made(where, EVERYTHING)), made(where, EVERYTHING)
    first, second = iter(both), iter(both)
    taken = [(x.numpy().copy(), y.numpy().copy()) for pair in zip(first, second, strict=True) for x, y in pair]
    same(taken[0::2] + taken[1::2], alone)


def test_a_captured_step_takes_its_batches(kernels: str) -> None:
    loader, expected = made(kernels, EVERYTHING), epochs(made("cpu", EVERYTHING), 3)
    step = gpunn.capture(loader.take)
    found = []
    for _ in range(3):
        for indices in loader.indices():
            x, y = step(indices)
            found.append((x.numpy().copy(), y.numpy().copy()))
    same(found, expected)
    assert step.graphs == 2  # batches of 5 and the last one of 3


# -- training ----------------------------------------------------------------------------------------------------------


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3))


def trained(loader: Any, test: Any, where: str, count: int = 3, **options: Any) -> Trainer:
    gpunn.manual_seed(7)
    model = network()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = Trainer(model, optimizer, device=where, log=None, **options)
    trainer.fit(loader, test, count)
    return trainer


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in trainer.model.state_dict().items()}


def equal(ours: Trainer, theirs: Trainer) -> None:
    mine, other = weights(ours), weights(theirs)
    assert mine.keys() == other.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], other[name], err_msg=name)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"not_finite": "skip"}, {"capture": False}])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_trainer_gets_the_bits_of_a_data_loader(where: str, options: dict[str, Any]) -> None:
    pairs = [
        (
            kind(Pictures(), 5, True, generator=gpunn.Generator(3), device=where),
            kind(Pictures(9), 4, device=where),
        )
        for kind in (DeviceLoader, DataLoader)
    ]
    ours, theirs = (trained(*pair, where, **options) for pair in pairs)
    equal(ours, theirs)
    for mine, other in zip(ours.history, theirs.history, strict=True):
        assert mine.train_loss == other.train_loss
        assert mine.test_loss == other.test_loss
        assert mine.test_accuracy_percent == other.test_accuracy_percent


def test_a_trainer_captures_the_taking_too(kernels: str) -> None:
    loader, test = made(kernels, EVERYTHING), DeviceLoader(Pictures(9), 4, device=kernels)
    ours = trained(loader, test, kernels)
    eager = trained(made(kernels, EVERYTHING), test, kernels, capture=False)
    equal(ours, eager)
    train: Any = ours._train_step.steps
    tested: Any = ours._evaluator._step
    assert [step.graphs for step in (train.of_pairs, train._taking, tested._taking)] == [0, 2, 2]


def test_a_loader_on_another_device_gives_batches(kernels: str) -> None:
    ours = trained(made("cpu", EVERYTHING), None, kernels)
    equal(ours, trained(made(kernels, EVERYTHING), None, kernels))


class Traffic(Callback):
    """Counts what goes between host and device, and the waiting, in steps between the 3rd and the last of an epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = {"array": 0, "to_host": 0, "synchronize": 0, "fill": 0}
        for name in self.counts:
            self._watch(monkeypatch, name)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(Device, name)

        def counted(device: Device, *args: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return real(device, *args, **options)

        monkeypatch.setattr(Device, name, counted)


def test_nothing_is_copied_and_nobody_waits_between_steps(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpunn.manual_seed(7)
    model = network()
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    trainer = Trainer(
        model,
        optimizer,
        device=kernels,
        log=None,
        scheduler=lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=200),
        scheduler_every="step",
    )
    trainer._read_every = 1000
    loader = made(kernels, EVERYTHING, batch_size=2, n=60)
    trainer.fit(loader)  # captures
    traffic = Traffic(monkeypatch)
    steps: list[dict[str, int]] = []
    step = trainer._train_step.steps.of

    def noting(share: Any) -> Any:
        steps.append(dict(traffic.counts))
        return step(share)

    monkeypatch.setattr(trainer._train_step.steps, "of", noting)
    trainer.fit(loader)
    assert len(steps) == 30
    assert steps[0]["array"] == 1, "the epoch's order"
    assert steps[0] == steps[-1] | {"fill": steps[0]["fill"]}
    assert steps[0]["fill"] == steps[-1]["fill"] <= 1, "the totals"
    assert traffic.counts["to_host"] > steps[-1]["to_host"]  # the loss is read behind the last step: counting works


class Stop(Callback):
    def __init__(self, after: int) -> None:
        self.after = after

    def on_progress(self, trainer, progress):
        if trainer.step == self.after:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_run_goes_on_within_an_epoch_with_the_same_bits(where: str, stop: int, tmp_path) -> None:
    def trainer_of(out: Any, *callbacks: Any) -> tuple[Any, ...]:
        gpunn.manual_seed(5)
        model = network()
        optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
        transform = Compose([RandomCrop(7, 2), RandomHorizontalFlip(alternate=True), Cutout(2)])
        train = DeviceLoader(Pictures(), 5, True, transform=transform, device=where)
        test = DeviceLoader(Pictures(9), 4, device=where)
        trainer = Trainer(model, optimizer, device=where, out=out, log=None, callbacks=callbacks)
        trainer._read_every = 1
        return trainer, train, test

    whole, *loaders = trainer_of(tmp_path / "whole")
    whole.fit(*loaders, 3)
    stopped, *loaders = trainer_of(tmp_path / "stopped", Stop(stop))
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(*loaders, 3)
    resumed, *loaders = trainer_of(tmp_path / "stopped")
    assert resumed.resume() == []
    resumed.fit(*loaders, 3 - resumed.epoch)
    equal(resumed, whole)
    assert [r.train_loss for r in resumed.history] == [r.train_loss for r in whole.history]


# -- what is refused ---------------------------------------------------------------------------------------------------


class Growing(Dataset):
    """Images that become larger after a while."""

    def __init__(self, at: int, n: int) -> None:
        self.at, self.n = at, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return np.zeros((1, 4, 4 if index < self.at else 5), np.float32), 0


def test_what_cannot_be_kept_is_told() -> None:
    floats = np.zeros((3, 1, 4, 4), np.float32)
    with pytest.raises(ShapeError, match=r"field 0 of item 0 has shape \(1, 4, 4\); got \(1, 4, 5\) in item 1"):
        DeviceLoader(Growing(1, 3), device="cpu")
    with pytest.raises(ShapeError, match=r"of one size, \(1, 4, 4\) as item 0; got \(1, 4, 5\) from item 1024 on"):
        DeviceLoader(Growing(1024, 1030), device="cpu")
    with pytest.raises(DataError, match="expected labels from 0; got -1 at position 1"):
        DeviceLoader(TensorDataset(floats, np.array([0, -1, 0])), device="cpu")
    named: Any = Subset(TensorDataset(floats, np.array([0, 1, 2])), [0, 1, 2])
    named.classes = ("a", "b")
    with pytest.raises(DataError, match="expected labels from 0 to 1; got 2 at position 2"):
        DeviceLoader(named, device="cpu")
    with pytest.raises(DTypeError, match=r"expected images of float32, or a dataset .* keeps bytes; got float64"):
        DeviceLoader(TensorDataset(floats.astype(np.float64), np.arange(3)), device="cpu")
    with pytest.raises(ShapeError, match=r"an image \(C, H, W\) and an integer label; got float32 \(2,\), int64 \(\)"):
        DeviceLoader(TensorDataset(np.zeros((3, 2), np.float32), np.arange(3)), device="cpu")
    with pytest.raises(ShapeError, match="an integer label"):
        DeviceLoader(TensorDataset(floats, np.zeros(3, np.float32)), device="cpu")
    with pytest.raises(DataError, match=r"the dataset \(list\) is empty"):
        DeviceLoader([], device="cpu")
    with pytest.raises(DataError, match="drop_last leaves no batch: 23 items, batch_size 24"):
        made("cpu", batch_size=24, drop_last=True)
    assert [len(y) for _, y in made("cpu", batch_size=10, drop_last=True)] == [10, 10]
    with pytest.raises(UsageError, match=r"expected a gpunn\.Generator; got int"):
        DeviceLoader(Pictures(), generator=3, device="cpu")  # type: ignore[arg-type]


def test_what_cannot_be_changed_on_the_device_is_told() -> None:
    def of(transform: Any) -> None:
        made("cpu", transform)

    with pytest.raises(UsageError, match=r"cannot apply ColorJitter\(.*\) on the device; expected RandomCrop"):
        of(ColorJitter(0.1))
    with pytest.raises(UsageError, match="each transform once, and Cutout last"):
        of(Compose([Cutout(2), RandomHorizontalFlip()]))
    with pytest.raises(UsageError, match="each transform once"):
        of(Compose([RandomHorizontalFlip(), RandomHorizontalFlip()]))
    with pytest.raises(UsageError, match="fill with one number"):
        of(Compose([RandomCrop(7, padding=1, fill=1.0), Cutout(2)]))
    with pytest.raises(ShapeError, match="cannot cut 12x12 out of 7x7 with padding 2"):
        of(RandomCrop(12, padding=2))
    with pytest.raises(ShapeError, match="7x7 cannot be reflected in 7 rows"):
        of(RandomCrop(7, padding=7, padding_mode="reflect"))
    with pytest.raises(UsageError, match="padding_mode: expected 'constant' or 'reflect'; got 'edge'"):
        RandomCrop(7, padding_mode="edge")
    with pytest.raises(UsageError, match="alternate needs a loader that knows which image it is: DeviceLoader"):
        next(iter(DataLoader(Pictures(), transform=RandomHorizontalFlip(alternate=True))))


@pytest.mark.parametrize("where", EVERYWHERE)
def test_indices_that_are_none_are_told(where: str) -> None:
    loader = made(where)
    home = get_device(where)
    with pytest.raises(UsageError, match=r"expected indices \(n,\) of int32 on .*; got int64 of shape \(2,\)"):
        loader.take(gpunn.tensor([0, 1], device=home))
    with pytest.raises(UsageError, match="got list"):
        loader.take([0, 1])  # type: ignore[arg-type]

    def take_and_look() -> None:
        loader.take(gpunn.tensor([0, 23], dtype=np.int32, device=home))
        home.check()

    with pytest.raises(RangeError, match="index 23 at position 1 is out of range"):
        take_and_look()
    with pytest.raises(UsageError, match="expected start between 0 and 5"):
        loader.batches(6)


def test_images_that_do_not_fit_the_device_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_resident, "free_bytes", lambda device: 2**20)
    with pytest.raises(OutOfMemoryError, match=r"8,000 images of 147 bytes take 1\.2 MiB; 1\.0 MiB are free on cpu\."):
        made("cpu", n=8000)
    made("cpu", n=6000)
