"""Data cases: batches from a dataset, and an epoch of training with loading and evaluation.

The images are synthetic, of MNIST's and CIFAR-10's size, so that the cases need no files; a batch's cost does not
depend on its contents. PyTorch gets whole-batch indexing, which is much faster than its own loader.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.bench.case import Arrays, Case, Run
from gpunn.bench.networks import Network, gpunn_network, gpunn_step, torch_network, torch_step
from gpunn.data.images import ImageDataset

_MEAN, _STD = 0.1307, 0.3081
_TEST_BATCH = 500
_LR = 0.02


class _Images(ImageDataset):
    """Synthetic images of ten classes."""

    classes = tuple("0123456789")

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.input_shape = (images.shape[3], images.shape[1], images.shape[2])
        super().__init__(images.transpose(0, 3, 1, 2), labels, _MEAN, _STD)


def _draw(shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> Arrays:
    """Bytes that reveal the label, labels, and an order to take them in."""
    arrays: Arrays = {}
    patterns = None
    for name, shape in shapes.items():
        if name.endswith("order"):
            arrays[name] = rng.permutation(shape[0]).astype(np.int64)
        elif name.endswith("labels"):
            arrays[name] = rng.integers(0, 10, shape, dtype=np.int64)
        else:
            arrays[name] = rng.integers(0, 128, shape, dtype=np.uint8)
            if patterns is None:
                patterns = rng.integers(0, 128, (10, *shape[1:]), dtype=np.uint8)
    for name, images in arrays.items():
        if name.endswith("images"):
            assert patterns is not None
            images += patterns[arrays[name.replace("images", "labels")]]
    return arrays


def _loader(device: Device, images: Any, labels: Any, order: Any, batch: int) -> Any:
    from gpunn.data import DataLoader

    return DataLoader(_Images(_host(images), _host(labels)), batch, sampler=_host(order), device=device)


def _host(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.get()


def _torch_batches(torch: Any, images: Any, labels: Any, order: Any, batch: int, home: Any, last: bool) -> Any:
    for start in range(0, len(order), batch):
        indices = order[start : start + batch]
        x = images[indices].permute(0, 3, 1, 2).to(torch.float32)
        x = x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        yield x.div_(255).sub_(_MEAN).div_(_STD).to(home), labels[indices].to(home)


def batches(key: str, title: str, n: int, image: tuple[int, int, int], batch: int) -> list[Case]:
    """All batches of a dataset of n images (H, W, C) in a random order. Traffic: a byte read, four written."""
    h, w, c = image

    def ours(device: Device, arrays: Arrays) -> Run:
        loader = _loader(device, arrays["images"], arrays["labels"], arrays["order"], batch)

        def run() -> list[Any]:
            for x, labels in loader:
                result = [x._physical, labels._physical]
            return result

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        given = {name: torch.from_dlpack(array) for name, array in arrays.items()}
        home = given["images"].device
        given = {name: tensor.cpu() for name, tensor in given.items()}

        def run() -> list[Any]:
            taken = _torch_batches(torch, given["images"], given["labels"], given["order"], batch, home, last)
            for x, labels in taken:
                result = [x.permute(0, 2, 3, 1), labels]
            return result

        return run

    shapes = {"images": (n, h, w, c), "labels": (n,), "order": (n,)}
    return [
        Case(
            key,
            "load",
            f"load {title}, {n} images in batches of {batch}",
            "data",
            shapes,
            0.0,
            5.0 * n * h * w * c,
            ours,
            theirs,
            items=n,
            layouts=True,
            tolerance=1e-6,
            reference=False,
            draw=functools.partial(_draw, shapes),
        )
    ]


def epoch(key: str, network: Network, train: int, test: int, batch: int) -> list[Case]:
    """An epoch of training on ``train`` images, and a test on ``test``; returns the test's accuracy and loss."""
    c, h, w = network.input_shape

    def ours(device: Device, arrays: Arrays) -> Run:
        import gpunn
        from gpunn.nn.loss import CrossEntropyLoss
        from gpunn.train.evaluation import evaluate

        net = gpunn_network(network, device)
        step = gpunn.capture(gpunn_step(net, _LR))
        training = _loader(device, arrays["images"], arrays["labels"], arrays["order"], batch)
        testing = _loader(device, arrays["test images"], arrays["test labels"], np.arange(test), min(_TEST_BATCH, test))
        criterion = CrossEntropyLoss()

        def run() -> list[Any]:
            net.train()
            for x, labels in training:
                step(x, labels)
            found = evaluate(net, testing, criterion)
            return [np.array([found.accuracy_percent / 100, found.loss])]

        return run

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        given = {name: torch.from_dlpack(array) for name, array in arrays.items()}
        home = given["images"].device
        given = {name: tensor.cpu() for name, tensor in given.items()}
        net = torch_network(network, torch, home, last)
        step = torch_step(torch, net, _LR, fused=True)
        in_order = torch.arange(test)
        take = functools.partial(_torch_batches, torch, home=home, last=last)

        def run() -> list[Any]:
            net.train()
            for x, labels in take(given["images"], given["labels"], given["order"], batch):
                step(x, labels)
            net.eval()
            right = loss = 0.0
            with torch.no_grad():
                for x, labels in take(given["test images"], given["test labels"], in_order, _TEST_BATCH):
                    scores = net(x)
                    loss += float(torch.nn.functional.cross_entropy(scores, labels, reduction="sum"))
                    right += float((scores.argmax(1) == labels).sum())
            return [np.array([right / test, loss / test])]

        return run

    shapes = {
        "images": (train, h, w, c),
        "labels": (train,),
        "order": (train,),
        "test images": (test, h, w, c),
        "test labels": (test,),
    }
    steps = -(-train // batch)
    return [
        Case(
            key,
            "epoch",
            f"epoch of {network.title}: {train} images in batches of {batch}, {test} tested",
            "data",
            shapes,
            network.step_flop(train) + network.forward_flop(test),
            steps * network.step_bytes(batch) + 5.0 * (train + test) * h * w * c,
            ours,
            theirs,
            items=train,
            layouts=True,
            # Hundreds of updates in float32 amplify rounding differences.
            tolerance=3e-2,
            reference=False,
            draw=functools.partial(_draw, shapes),
        )
    ]
