"""A case: one op in one direction, one training step or one pass over data, for gpunn and for others.

A case names its arrays (physical: images are (N, H, W, C), filters (K, R, S, C)) and builds from them a function
without arguments for each side. These functions return physical arrays, so that the sides can be compared.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn._device import Device

Arrays = dict[str, Any]
Run = Callable[[], list[Any]]


@dataclass(frozen=True)
class Case:
    """One thing to time.

    Attributes
    ----------
    key, direction : str
        Its name in records and on the command line is ``key.direction``, whatever the batch.
    name : str
        The same for readers, with the sizes: ``conv b128 20→50 5×5 14²``.
    group : str
        "layers", "steps" or "data".
    shapes : dict
        Array name = physical shape. Filled with random numbers; "target" with labels below ``classes``.
    flop, traffic : float
        Multiplications and additions of the matrix products; the fewest bytes that must move.
    ours : callable
        ``ours(device, arrays)`` returns the function for gpunn.
    theirs : callable
        ``theirs(torch, arrays, channels_last)`` returns it for PyTorch, whose tensors share memory with the arrays.
    dezero : callable or None
        ``dezero(arrays)``, on NumPy arrays; None where DeZero has no counterpart.
    eager : callable or None
        Like ``ours``, launched kernel by kernel, where ``ours`` is a captured step.
    dtype : str
        Of all arrays but labels and bytes.
    items : int
        Images that one call works on; 0 where that is meaningless.
    classes : int
    layouts : bool
        Whether PyTorch's memory format matters.
    checked : int
        How many calls are compared before timing: more than one where a call changes what the next one returns.
    tolerance : float
        Largest difference allowed, relative to the largest element.
    reference : bool
        Whether plain bodies in float64 can stand in for the other side when the result is checked.
    draw : callable or None
        ``draw(rng)`` returns the arrays on the host where random normal numbers will not do.
    network : networks.Network or None
        What a training step trains.
    """

    key: str
    direction: str
    name: str
    group: str
    shapes: dict[str, tuple[int, ...]]
    flop: float
    traffic: float
    ours: Callable[[Device, Arrays], Run]
    theirs: Callable[[Any, Arrays, bool], Run]
    dezero: Callable[[Arrays], Run] | None = None
    eager: Callable[[Device, Arrays], Run] | None = None
    dtype: str = "float32"
    items: int = 0
    classes: int = 0
    layouts: bool = False
    checked: int = 1
    # Up to a million products summed in float32, in another order or by Winograd; a mistake is off by far more.
    tolerance: float = 1e-3
    reference: bool = True
    draw: Callable[[np.random.Generator], Arrays] | None = field(default=None, repr=False)
    network: Any = None

    @property
    def id(self) -> str:
        """``key.direction``."""
        return f"{self.key}.{self.direction}"

    @property
    def intensity(self) -> float:
        """FLOP per byte."""
        return self.flop / self.traffic if self.traffic else 0.0

    def host_arrays(self, seed: int = 0) -> Arrays:
        """The case's random arrays as NumPy arrays; the same for the same seed."""
        rng = np.random.default_rng(seed)
        return self.random_arrays(rng) if self.draw is None else self.draw(rng)

    def random_arrays(self, rng: np.random.Generator) -> Arrays:
        """Random normal numbers, and labels, of the case's shapes."""
        arrays: Arrays = {}
        for name, shape in self.shapes.items():
            if name == "target":
                arrays[name] = rng.integers(0, self.classes, shape, dtype=np.int64)
            elif self.dtype == "float32":
                arrays[name] = rng.standard_normal(shape, np.float32)
            else:
                arrays[name] = rng.standard_normal(shape).astype(self.dtype)
        return arrays

    def arrays(self, device: Device, seed: int = 0) -> Arrays:
        """The same numbers on a device."""
        return {name: device.array(array) for name, array in self.host_arrays(seed).items()}

    def prepare(self, device: Device, seed: int = 0) -> Run:
        """The function to time for gpunn on this device."""
        return self.ours(device, self.arrays(device, seed))

    def prepare_torch(self, device: Device, channels_last: bool = False, seed: int = 0) -> Run:
        """The function to time for PyTorch on this device, from the same numbers as :meth:`prepare`."""
        torch = importlib.import_module("torch")
        return self.theirs(torch, self.arrays(device, seed), channels_last)


def difference(ours: list[Any], theirs: list[Any]) -> float:
    """The largest difference of two lists of arrays, relative to the largest element; NaN is infinite.

    Parameters
    ----------
    ours, theirs : list of arrays

    Raises
    ------
    ValueError
        If their shapes differ.
    """
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        mine, want = as_host(a), as_host(b)
        if mine.shape != want.shape:
            raise ValueError(f"shape {mine.shape} where the other side has {want.shape}")
        mine, want = mine.astype(np.float64), want.astype(np.float64)
        errors = np.abs(mine - want).reshape(-1)
        if not np.isfinite(errors).all():
            return math.inf
        worst = max(worst, float(errors.max(initial=0) / max(np.abs(want).max(initial=0), 1e-30)))
    return worst


def as_host(array: Any) -> np.ndarray:
    """A NumPy, CuPy or PyTorch array, or a number, as a NumPy array."""
    if hasattr(array, "detach"):
        array = array.detach().cpu().numpy()
    elif hasattr(array, "get"):
        array = array.get()
    return np.asarray(array)


def import_dezero() -> tuple[Any, Any]:
    """DeZero and its functions; importing its last release needs a name that NumPy 2 no longer has."""
    missing = "int" not in vars(np)
    if missing:
        vars(np)["int"] = int
    try:
        return importlib.import_module("dezero"), importlib.import_module("dezero.functions")
    finally:
        if missing:
            del vars(np)["int"]


def tensors(device: Device, arrays: Arrays, *leaves: str) -> dict[str, Any]:
    """gpunn tensors of physical arrays; the ``leaves`` require gradients."""
    from gpunn._tensor import Tensor

    made = {name: Tensor._of_physical(array, device) for name, array in arrays.items()}
    for name in leaves:
        made[name].requires_grad = True
    return made


def torch_tensors(torch: Any, arrays: Arrays, channels_last: bool, *leaves: str) -> dict[str, Any]:
    """PyTorch tensors of physical arrays; NCHW ones are copies."""
    made = {}
    for name, array in arrays.items():
        t = torch.from_dlpack(array)
        if t.ndim == 4:
            t = t.permute(0, 3, 1, 2)
            t = t if channels_last else t.contiguous()
        made[name] = t.detach().requires_grad_(name in leaves)
    return made


def torch_physical(results: Any) -> list[Any]:
    """PyTorch's results as physical tensors (not copied: this happens inside the timed function)."""
    return [t.permute(0, 2, 3, 1) if t.ndim == 4 else t for t in results]
