"""A captured step with every kind of convolution kernel repeats the eager one to the bit."""

from __future__ import annotations

import numpy as np

import gpunn
from gpunn import nn, optim
from tests.traces import dry_launches


class Net(nn.Module):
    """A first layer, a block as in Howard et al. 2017 (MobileNets), a way around a convolution, and narrow groups.

    These have a ReLU inside.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.pointwise = nn.Conv2d(8, 12, 1, bias=False)
        self.mix = nn.Conv2d(12, 12, 3, 1, 1)
        self.grouped = nn.Conv2d(12, 8, 3, 2, 1, groups=4)
        self.fc = nn.Linear(8 * 4 * 4, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        y = nn.functional.relu(self.stem(x))
        y = self.pointwise(nn.functional.relu(self.norm(self.depthwise(y))))
        y = y + self.mix(y)
        y = nn.functional.conv2d(
            y, self.grouped.weight, self.grouped.bias, stride=2, padding=1, groups=4, activation="relu"
        )
        return self.fc(y.flatten(1))


class Run:
    """Steps of SGD, captured or not, from the same seed."""

    def __init__(self, kernels: str, captured: bool) -> None:
        gpunn.manual_seed(1)
        self.net = Net().to(kernels)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        self.step = gpunn.capture(self.eager) if captured else self.eager

    def eager(self, x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.net(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss


def test_captured_equals_eager_to_the_bit(kernels: str) -> None:
    rng = np.random.Generator(np.random.Philox(4))
    batches = [
        (
            gpunn.tensor(rng.standard_normal((32, 3, 16, 16)).astype(np.float32), device=kernels),
            gpunn.tensor(rng.integers(0, 3, 32), device=kernels),
        )
        for _ in range(4)
    ]
    states = []
    for captured in (False, True):
        run = Run(kernels, captured)
        losses = [run.step(*batch).item() for batch in batches]
        states.append((losses, {k: v.detach().numpy().tobytes() for k, v in run.net.state_dict().items()}))
    assert states[0] == states[1]
    with dry_launches() as launches:
        run.eager(*batches[0])
    assert {launch.kernel for launch in launches if launch.kernel.startswith("conv2d")} == {
        "conv2d_first_forward",
        "conv2d_first_backward_weight",
        "conv2d_narrow_3x3_forward",
        "conv2d_narrow_3x3_backward_data",
        "conv2d_narrow_3x3_backward_weight",
        "conv2d_narrow_forward",
        "conv2d_narrow_backward_data",
        "conv2d_narrow_backward_weight",
        "conv2d_forward",
        "conv2d_backward",
    }
    # Of the linear layer, and of the convolution with filters of one pixel.
    assert [launch.kernel for launch in launches if launch.kernel.startswith("gemm")] == ["gemm_nt", "gemm_nt"] + [
        "gemm_backward"
    ] * 2
    # Reductions that the last of several blocks finishes: its tickets are zero again for the next replay.
    assert all(launch.args[3] is not None for launch in launches if launch.kernel.endswith("first_backward_weight"))
    assert any(launch.args[3] is not None for launch in launches if launch.kernel.endswith("narrow_backward_weight"))
    assert all(launch.args[3] is not None for launch in launches if launch.kernel.endswith("3x3_backward_weight"))
