"""Arguments of the demonstrations' ``run`` with which they take a second or two, for the test of the gallery's page."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "perceptron": {},
    "xor": {"steps": 100},
    "boundaries": {"times": (0, 5, 20), "points": 60},
    "approximation": {"n": (4, 16), "starts": 1, "steps": 100},
    "polar": {"steps": 100},
    "filters": {"height": 30, "width": 40},
    "learned-filters": {"steps": 5},
    "convolution-sizes": {},
    "dropout": {"sizes": (50, 100), "depths": (2,), "steps": 60},
    "batchnorm": {"rates": (0.1, 1), "gains": (0.1, 1), "steps": 30},
    "transfer": {"counts": (5, 10), "source": 20, "steps": 20, "test": 200},
    "pretraining": {"depth": 3, "before": 30, "steps": 30},
    "depth": {"depths": (1, 4), "rates": (0.01,), "steps": 40},
    "graph": {},
    "kernels": {"size": 32, "image": 8},
}
