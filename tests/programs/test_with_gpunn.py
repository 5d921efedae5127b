"""Import lines of PyTorch programs, changed, and nothing but them."""

from __future__ import annotations

import pytest

from tests.programs._with_gpunn import with_gpunn


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("import torch", "import gpunn as torch"),
        ("import torch as th", "import gpunn as th"),
        ("import torch.nn as nn", "import gpunn.nn as nn"),
        ("import torch.nn.functional as F  # noqa", "import gpunn.nn.functional as F  # noqa"),
        ("import torch.optim", "import gpunn as torch, gpunn.optim"),
        ("import torch, math", "import gpunn as torch, math"),
        ("import os, torch.nn as nn", "import os, gpunn.nn as nn"),
        ("    import torch", "    import gpunn as torch"),
        ("from torch import nn, optim", "from gpunn import nn, optim"),
        ("from torch.utils.checkpoint import checkpoint", "from gpunn.utils.checkpoint import checkpoint"),
        ("from torch.nn import (", "from gpunn.nn import ("),
        ("import torchvision", "import gpunn.vision as torchvision"),
        ("import torchvision.transforms as T", "import gpunn.vision.transforms as T"),
        ("import torchvision.datasets", "import gpunn.vision as torchvision, gpunn.vision.datasets"),
        ("from torchvision import datasets, transforms", "from gpunn.vision import datasets, transforms"),
        ("from einops.layers.torch import Rearrange", "from gpunn.nn.einops import Rearrange"),
        ("from torchvision.utils import save_image", "from gpunn.vision.utils import save_image"),
    ],
)
def test_import_lines(theirs: str, ours: str) -> None:
    assert with_gpunn(f"x = 1\n{theirs}\ny = 2\n") == f"x = 1\n{ours}\ny = 2\n"


@pytest.mark.parametrize(
    "line",
    [
        "import torchmetrics",
        "from torchtext import data",
        "import mytorch.nn",
        "from os import path",
        "from einops import rearrange",
    ],
)
def test_other_lines_stay(line: str) -> None:
    assert with_gpunn(f"{line}\n") == f"{line}\n"
