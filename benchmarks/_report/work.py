"""What this card can do at most, measured, and the share of it that a launch reaches."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._report.book import Section, write_whole
from gpunn.bench.graphs import torch_or_none
from gpunn.bench.sides import Clock, CupyClock, TorchClock

_BLOCK = 1 << 20  # elements
_COPY, _SIDE = 250_000_000, 8192  # of the ceilings' arrays


@dataclass(frozen=True)
class Ceilings:
    """The most that was seen on this card; None where that could not be measured.

    Attributes
    ----------
    gbs, gflops : float or None
        10⁹ bytes a second read and written by a large copy; 10⁹ multiplications and additions of a large product.
    """

    gbs: float | None = None
    gflops: float | None = None


def ceilings(section: Section, target: Any) -> Ceilings:
    """This card's copy bandwidth and float32 product, measured by the first section that asks."""
    kept = section.folder / "ceilings.json"
    known: dict[str, float] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for key, measure in (("gbs", _copy_gbs), ("gflops", _product_gflops)):
        if key not in known:
            section.attempt(f"ceiling: {key}", functools.partial(_keep, known, key, measure, target))
            target.xp.get_default_memory_pool().free_all_blocks()
    write_whole(kept, json.dumps(known))
    for key, name in (("gbs", "copy, GB/s"), ("gflops", f"float32 product of {_SIDE}², GFLOP/s")):
        section.value(f"measured ceiling: {name}", known.get(key, "could not be measured"))
    return Ceilings(known.get("gbs"), known.get("gflops"))


def _keep(known: dict[str, float], key: str, measure: Callable[[Any], float], target: Any) -> None:
    known[key] = measure(target)


def _copy_gbs(target: Any) -> float:
    x, y = (random_array(target, (_COPY,), seed) for seed in (1, 2))
    return 2.0 * x.nbytes / _least_ms(target, lambda: target.xp.copyto(y, x)) / 1e6


def _product_gflops(target: Any) -> float:
    a, b = (random_array(target, (_SIDE, _SIDE), seed) for seed in (1, 2))
    product = target.xp.empty_like(a)
    try:
        return 2.0 * _SIDE**3 / _least_ms(target, lambda: target.xp.matmul(a, b, out=product)) / 1e6
    except (ImportError, RuntimeError):  # a CuPy without cuBLAS: PyTorch brings its own
        torch = torch_or_none()
        if torch is None:
            raise
        left, right = torch.from_dlpack(a), torch.from_dlpack(b)
        return 2.0 * _SIDE**3 / _least_ms(target, lambda: torch.matmul(left, right), TorchClock(torch)) / 1e6


def _least_ms(target: Any, call: Callable[[], Any], clock: Clock | None = None) -> float:
    clock = CupyClock(target) if clock is None else clock
    best = float("inf")
    for _ in range(8):
        clock.start()
        with target.active():
            call()
        best = min(best, clock.stop())
    return best


def rates(ceiling: Ceilings, flop: float, traffic: float, microseconds: float) -> dict[str, float | None]:
    """The columns that say how much was done, and what share of the ceilings that is."""
    gflops, gbs = flop / microseconds / 1e3, traffic / microseconds / 1e3
    return {
        "MB": traffic / 1e6,
        "GFLOP": flop / 1e9 or None,
        "GB/s": gbs,
        "of copy": gbs / ceiling.gbs if ceiling.gbs else None,
        "GFLOP/s": gflops or None,
        "of product": gflops / ceiling.gflops if flop and ceiling.gflops else None,
    }


@functools.cache
def _normal() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(2 * _BLOCK, np.float32)


def random_array(device: Any, shape: tuple[int, ...], seed: int) -> Any:
    """Normal numbers on the device. A block of a million is drawn and repeated: gigabytes take long on a host."""
    xp, size = device.xp, int(np.prod(shape))
    offset = (seed * 7919) % _BLOCK
    block = _normal()[offset : offset + min(size, _BLOCK)]
    with device.active():
        return xp.tile(xp.asarray(block), max(1, -(-size // _BLOCK)))[:size].reshape(shape)
