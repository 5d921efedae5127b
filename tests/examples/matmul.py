"""Example inputs of the primitives of ``gpunn/ops/matmul.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.matmul import gemm, matmul_batched
from tests.examples import examples_for


@examples_for(gemm)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(form: str, m: int, n: int, k: int, dtype: Any = np.float32, bias: bool = False, relu: bool = False) -> Any:
        a = rng.standard_normal((m, k) if form[0] == "n" else (k, m)).astype(dtype)
        b = rng.standard_normal((k, n) if form[1] == "n" else (n, k)).astype(dtype)
        return {
            "a": a,
            "b": b,
            "form": form,
            "bias": rng.standard_normal(n).astype(dtype) if bias else None,
            "relu": relu,
        }

    # One below, at and above a tile's edge; enough depth for slices; no rows, no depth.
    made = [
        case(form, m, n, k) for form in ("nt", "nn", "tn") for m, n, k in ((63, 33, 17), (64, 64, 16), (65, 20, 30))
    ]
    made += [case("nt", 5, 10, 700, bias=True, relu=True), case("nt", 3, 8, 40, np.float64, bias=True)]
    made += [case("nn", 0, 3, 4), case("nt", 2, 3, 0, bias=True), case("tn", 70, 130, 300)]
    # More slices than are added up at once.
    return [*made, case("nn", 65, 7, 2200), case("nt", 3, 34, 2300, np.float64, bias=True, relu=True)]


@examples_for(matmul_batched)
def _batched_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(form: str, n: int, m: int, c: int, k: int, dtype: Any = np.float32, same: str = "") -> dict[str, Any]:
        a = rng.standard_normal((1 if same == "a" else n, *((m, k) if form[0] == "n" else (k, m)))).astype(dtype)
        b = rng.standard_normal((1 if same == "b" else n, *((k, c) if form[1] == "n" else (c, k)))).astype(dtype)
        return {"a": a, "b": b, "form": form}

    made = [case(form, 3, 5, 7, 9, same=same) for form in ("nn", "nt", "tn") for same in ("", "a", "b")]
    made += [case("nn", 0, 2, 3, 4), case("nt", 2, 0, 3, 4), case("tn", 2, 3, 4, 0), case("nn", 2, 1, 1, 1)]
    # One below, at and above a tile's edge, with vectors and without.
    made += [
        case(form, 2, m, n, k) for form in ("nn", "nt", "tn") for m, n, k in ((63, 33, 17), (64, 64, 16), (68, 36, 20))
    ]
    return [*made, case("nn", 4, 150, 160, 100), case("nt", 2, 400, 30, 200, np.float64)]
