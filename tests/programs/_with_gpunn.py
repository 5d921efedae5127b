"""A PyTorch program with gpunn in its import lines; ``python _with_gpunn.py mnist.py --epochs 1`` runs one."""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
from pathlib import Path

_LINES = (
    (r"^import torch$", "import gpunn as torch"),
    (r"^import torch\.", "import gpunn."),
    (r"^from torch import", "from gpunn import"),
    (r"^from torch\.", "from gpunn."),
    (r"^import torchvision$", "from gpunn import vision as torchvision"),
    (r"^import torchvision\.(\S+) as", r"import gpunn.vision.\1 as"),
    (r"^from torchvision import", "from gpunn.vision import"),
    (r"^from torchvision\.", "from gpunn.vision."),
)


def with_gpunn(text: str) -> str:
    """The program with its import lines changed, and nothing else."""
    for theirs, ours in _LINES:
        text = re.sub(theirs, ours, text, flags=re.M)
    return text


if __name__ == "__main__":
    program, sys.argv = Path(sys.argv[1]), sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder, program.name)
        changed.write_text(with_gpunn(program.read_text(encoding="utf-8")), encoding="utf-8")
        runpy.run_path(str(changed), run_name="__main__")
