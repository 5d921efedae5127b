"""A PyTorch program with gpunn in its import lines; ``python _with_gpunn.py mnist.py --epochs 1`` runs one."""

from __future__ import annotations

import re
import runpy
import sys
import tempfile
from pathlib import Path
from types import ModuleType

_IMPORT = re.compile(r"^(?P<before>[ \t]*(?:>>> )?import )(?P<items>\w.*?)(?P<after>\s*(?:#.*)?)$", re.M)
_FROM = re.compile(
    r"^(?P<before>[ \t]*(?:>>> )?from )(?P<module>torch(?:vision)?)(?P<after>\.\S+ import | import )", re.M
)
_LAYERS = re.compile(r"^(?P<before>[ \t]*from )einops\.layers\.torch(?= import )", re.M)
_OURS = {"torch": "gpunn", "torchvision": "gpunn.vision"}


def with_gpunn(text: str) -> str:
    """The program with its import lines changed, and nothing else."""
    text = _IMPORT.sub(lambda m: m["before"] + ", ".join(map(_item, m["items"].split(", "))) + m["after"], text)
    text = _LAYERS.sub(r"\g<before>gpunn.nn.einops", text)
    return _FROM.sub(lambda m: m["before"] + _OURS[m["module"]] + m["after"], text)


def _item(item: str) -> str:
    """What stands between two commas of an import line: ``torch``, ``torch.nn as nn``, ``torch.optim``."""
    theirs = item.split(".")[0].split(" ")[0]
    if theirs not in _OURS:
        return item
    ours = _OURS[theirs] + item[len(theirs) :]
    if " as " in item:
        return ours
    # "import torch.nn" makes the name "torch", and torch.nn below it.
    return f"{_OURS[theirs]} as {theirs}" + (f", {ours}" if item != theirs else "")


def program(name: str, ours: bool) -> ModuleType:
    """A program of this folder as a module of its own: with gpunn in its import lines, or as it is written."""
    path = Path(__file__).parent / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    made = ModuleType(f"{name}_with_{'gpunn' if ours else 'torch'}")
    made.__file__ = str(path)
    sys.modules[made.__name__] = made  # where dataclasses and pickle look for it
    exec(compile(with_gpunn(text) if ours else text, path.name, "exec"), made.__dict__)
    return made


if __name__ == "__main__":
    path, sys.argv = Path(sys.argv[1]), sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder, path.name)
        changed.write_text(with_gpunn(path.read_text(encoding="utf-8")), encoding="utf-8")
        runpy.run_path(str(changed), run_name="__main__")
