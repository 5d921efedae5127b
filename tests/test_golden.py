"""Every op gives PyTorch's kept answers, on machines that have no PyTorch too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpunn
from gpunn.nn import functional as F
from tests.devices import EVERYWHERE
from tests.golden.cases import Case, cases, incoming

ANSWERS = np.load(Path(__file__).parent / "golden" / "answers.npz")


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", cases(), ids=lambda c: c.name)
def test_golden(case: Case, where: str) -> None:
    given = {n: gpunn.tensor(a, device=where, requires_grad=a.dtype.kind == "f") for n, a in case.inputs.items()}
    y = case.call(F, **given)
    y.backward(gpunn.tensor(incoming(y.shape), device=where))
    found = {"y": y.detach()} | {f"d{n}": t.grad for n, t in given.items() if t.grad is not None}
    expected = {key.split("/")[1]: ANSWERS[key] for key in ANSWERS.files if key.split("/")[0] == case.name}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        # Sums of up to 500 products in another order.
        bound = 1e-5 * max(1.0, np.abs(array).max())
        np.testing.assert_allclose(found[name].numpy(), array, rtol=0, atol=bound, err_msg=name)
