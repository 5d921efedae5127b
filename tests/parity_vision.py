"""torchvision, to compare with: ``pip install --no-deps torchvision==0.28.0`` beside PyTorch 2.13."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest

# Ops in its compiled part that its Python part wants to be there; nothing that is compared uses them.
_OPS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def torchvision(part: str) -> Any:
    """``torchvision.part``, such as ``transforms``; skips the test without it."""
    pytest.importorskip("torch", reason="compares with torchvision, which needs PyTorch")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("compares with torchvision; pip install --no-deps torchvision==0.28.0")
    _load()
    return importlib.import_module(f"torchvision.{part}")


@functools.cache
def _load() -> Any:
    """Keeps what declares the ops alive where the compiled part fits another build of PyTorch, such as CUDA's."""
    import torch

    (place,) = importlib.util.find_spec("torchvision").submodule_search_locations
    declared = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.ops.load_library(str(Path(place) / "_C.so"))
        except OSError:
            declared = torch.library.Library("torchvision", "DEF")
            for op in _OPS:
                declared.define(op)
        importlib.import_module("torchvision")
    return declared
