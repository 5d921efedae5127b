"""Writes ``answers.npz`` with PyTorch: ``python -m tests.golden.make`` after a case changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.golden.cases import cases, incoming


def main() -> None:
    answers = {}
    for case in cases():
        given = {n: torch.tensor(a, requires_grad=a.dtype.kind == "f") for n, a in case.inputs.items()}
        y = case.call(torch.nn.functional, **given)
        y.backward(torch.tensor(incoming(tuple(y.shape))))
        answers[f"{case.name}/y"] = y.detach().numpy()
        for name, tensor in given.items():
            if tensor.grad is not None:
                answers[f"{case.name}/d{name}"] = tensor.grad.numpy()
    np.savez_compressed(Path(__file__).parent / "answers.npz", **answers)


if __name__ == "__main__":
    main()
