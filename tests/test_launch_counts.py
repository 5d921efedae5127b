"""How many kernels a training step launches, and how many bytes of arrays they are given, pinned exactly.

The launches of a step are traced and not run, so real sizes cost nothing. A change here
is a change of what a step does on a GPU: fewer launches are better, more need a reason.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.gpu.launcher import Launch
from gpunn.models import LeNet5
from gpunn.nn import functional as F
from tests.traces import dry_launches


class Training:
    """SGD steps of a model on one batch of zeros."""

    def __init__(self, kernels: str, model: nn.Module, shape: tuple[int, ...]) -> None:
        self.net = model.to(kernels)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        self.x = gpunn.zeros(shape, device=kernels)
        self.labels = gpunn.tensor(np.zeros(shape[0], np.int64), device=kernels)

    def step(self, x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.net(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def launches(self) -> list[Launch]:
        """Those of the second step: the first makes momenta and what else is made once."""
        for _ in range(2):
            with dry_launches() as launches:
                self.step(self.x, self.labels)
        return list(launches)


def by_kernel(launches: Iterable[Launch]) -> dict[str, tuple[int, int]]:
    """For each kernel: how often it is launched, and the bytes of all arrays it is given."""
    found: dict[str, tuple[int, int]] = {}
    for launch in launches:
        arrays = [arg for arg, declared in zip(launch.args, launch.parameters, strict=True) if declared.pointer]
        arrays += [array for array, _, _ in launch.pointees]
        times, size = found.get(launch.kernel, (0, 0))
        found[launch.kernel] = times + 1, size + sum(array.nbytes for array in arrays if array is not None)
    return found


def test_lenet(kernels: str) -> None:
    launches = Training(kernels, LeNet5(), (128, 1, 28, 28)).launches()
    assert by_kernel(launches) == LENET
    assert len(launches) == 14


@pytest.mark.emulator  # a CUDA graph does not tell what it launches
def test_a_captured_step_is_what_was_counted() -> None:
    training = Training("emulator", LeNet5(channels=(2, 3), hidden=5, image=(8, 8)), (2, 1, 8, 8))
    counted = [launch.kernel for launch in training.launches()]
    captured = gpunn.capture(training.step)
    for _ in range(2):
        captured(training.x, training.labels)
    (graph,) = captured._graphs.values()
    assert [launch.kernel for launch in graph.launches] == counted


def test_split_reductions_replayed_give_the_same_bits_as_eager_ones(kernels: str) -> None:
    """The tickets that find the last block are zero again after each launch."""
    rng = np.random.Generator(np.random.Philox(5))
    batches = [
        (
            gpunn.tensor(rng.standard_normal((24, 1, 8, 8)).astype(np.float32), device=kernels),
            gpunn.tensor(rng.integers(0, 10, 24), device=kernels),
        )
        for _ in range(4)
    ]
    runs = []
    for captured in (False, True):
        gpunn.manual_seed(1)
        training = Training(kernels, LeNet5(channels=(6, 3), hidden=5, image=(8, 8)), (24, 1, 8, 8))
        step = gpunn.capture(training.step) if captured else training.step
        losses = [step(*batch).item() for batch in batches]
        runs.append((losses, [p.detach().numpy().tobytes() for p in training.net.parameters()]))
    split = {
        launch.kernel
        for launch in training.launches()
        if launch.kernel.startswith("conv2d")
        and any(p.name == "partial" and a is not None for p, a in zip(launch.parameters, launch.args, strict=True))
    }
    assert split == {"conv2d_first_backward_weight", "conv2d_backward"}
    assert runs[0] == runs[1]


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters: every other pixel, and channels of zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.more = (outputs - inputs) // 2

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        y = self.norm1(self.conv1(x), activation="relu")
        if self.more:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return self.norm2(self.conv2(y), residual=x, activation="relu")


class ResNet20(nn.Module):
    """He et al. 2015, arXiv:1512.03385, section 4.2: three stages of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        ends = [(16, 16, 1), (16, 32, 2), (32, 64, 2)]
        blocks = [Block(i if n == 0 else o, o, s if n == 0 else 1) for i, o, s in ends for n in range(3)]
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        y = self.blocks(self.norm(self.conv(x), activation="relu"))
        return self.fc(self.pool(y).flatten(1))


def test_cifar_resnet20(kernels: str) -> None:
    net = ResNet20()
    assert sum(p.numel() for p in net.parameters()) == 269_722
    launches = Training(kernels, net, (2, 3, 32, 32)).launches()
    assert by_kernel(launches) == RESNET20
    assert len(launches) == 128


def test_cifar_resnet20_in_16_bits(kernels: str) -> None:
    """Half the bytes, and casts of nothing but weights and their gradients, small numbers and what the loss needs."""
    pytest.importorskip("ml_dtypes")
    training = Training(kernels, ResNet20(), (128, 3, 32, 32))
    with gpunn.autocast(training.x.device.type, dtype=gpunn.bfloat16):
        found = by_kernel(training.launches())
    assert found == RESNET20_BFLOAT16


# What each launch is: (launches, bytes).
LENET = {
    "conv2d_first_forward": (1, 8_431_648),  # with bias
    "conv2d_forward": (1, 7_124_840),
    "max_pool2d_forward": (2, 17_122_560),  # with ReLU; the second writes what Flatten gives
    "gemm_nt": (2, 8_906_936),  # both linear layers, with bias and ReLU
    "cross_entropy_forward": (1, 28_692),  # loss and gradient; 16 KB are tickets
    "gemm_backward": (2, 13_379_960),  # all gradients of the linear layers
    "max_pool2d_backward": (1, 6_585_600),  # of what Flatten is given
    "max_pool2d_backward_pairs": (1, 10_536_960),
    "conv2d_backward": (1, 10_059_272),  # as gemm_backward
    "conv2d_first_backward_weight": (1, 9_062_432),  # whose input needs no gradient
    "sgd_step": (1, 15_072_996),  # all parameters
}
RESNET20 = {
    "conv2d_first_forward": (1, 157_376),
    "conv2d_forward": (18, 3_919_872),
    "batch_norm_statistics": (19, 1_738_440),  # with the running estimates
    "batch_norm_normalise": (19, 3_713_792),  # with residual and ReLU
    "copy_box": (4, 393_216),  # two shortcuts: every other pixel, and the way back of the padding
    "place_box": (4, 393_216),  # two shortcuts: the padding, and the way back of the slice
    "adaptive_avg_pool2d_forward_large": (1, 33_280),
    "gemm_nt": (1, 3_192),
    "cross_entropy_forward": (1, 16_596),
    "gemm_backward": (1, 6_264),
    "adaptive_avg_pool2d_backward_global": (1, 33_280),
    "batch_norm_backward_sums": (19, 3_938_944),  # y is read where a residual was added
    "batch_norm_backward": (19, 5_914_752),  # likewise; also the gradients of the residual
    "conv2d_backward": (18, 13_191_168),  # both gradients, and at a block's start the sum of its two paths' gradients
    "conv2d_first_backward_weight": (1, 181_440),
    "sgd_step": (1, 3_236_700),
}
RESNET20_BFLOAT16 = {
    "cast": (55, 5_769_264),
    "conv2d_first_half_forward": (1, 4_981_600),
    "batch_norm_statistics": (19, 49_179_848),
    "batch_norm_normalise": (19, 118_500_096),
    "conv2d_half_forward": (18, 112_814_080),
    "copy_box": (4, 12_582_912),
    "place_box": (4, 12_582_912),
    "adaptive_avg_pool2d_forward_large": (1, 1_064_960),
    "gemm_nt": (1, 40_488),
    "cross_entropy_forward": (1, 28_692),
    "gemm_backward": (1, 75_816),
    "adaptive_avg_pool2d_backward_global": (1, 1_064_960),
    "batch_norm_backward_sums": (19, 119_439_488),
    "batch_norm_backward": (19, 188_760_192),
    "conv2d_half_backward_weight": (18, 287_090_688),
    "conv2d_half_backward_data": (18, 137_979_904),
    "conv2d_first_half_backward_weight": (1, 6_046_560),
    "sgd_step": (1, 3_236_700),
}
