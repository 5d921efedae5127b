"""Example inputs of ``gpunn/ops/take_images.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.take_images import Changes, take_images
from tests.examples import examples_for

_EVERYTHING = Changes((7, 6), 2, False, 0.5, 0.5, False, 3, 0.25)


@examples_for(take_images)
def _take_images_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, image: tuple[int, int, int], changes: Changes, epoch: int = 0, count: int = 5) -> dict[str, Any]:
        words = np.array([*rng.integers(0, 2**64, 2, np.uint64), epoch], np.uint64)
        c = image[2]
        return {
            "images": rng.integers(0, 256, (count, *image), dtype=np.uint8),
            "labels": rng.integers(0, 10, count),
            "indices": rng.integers(0, count, n, dtype=np.int32),
            "words": words,
            "mean": rng.random(c).astype(np.float32),
            "std": rng.uniform(0.2, 0.4, c).astype(np.float32),
            "changes": changes,
        }

    floats = case(3, (6, 5, 2), _EVERYTHING)
    floats |= {"images": rng.standard_normal((5, 6, 5, 2)).astype(np.float32), "mean": None, "std": None}
    return [
        case(3, (6, 5, 3), Changes()),
        case(9, (6, 5, 3), _EVERYTHING, epoch=3),
        case(6, (5, 7, 1), Changes(None, 4, True, 0.5)),
        case(6, (5, 4, 3), Changes(flip_across=0.5, alternate=True), epoch=1),
        case(6, (5, 4, 3), Changes(flip_across=1.0, flip_down=1.0), epoch=2**40),
        case(0, (4, 4, 3), Changes()),
        case(1, (1, 1, 1), Changes(cutout=2), count=1),
        case(2, (32, 33, 3), Changes((32, 33), 4, False, 0.5, 0.0, False, 8)),
        floats,
    ]
