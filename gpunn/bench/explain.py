"""The kernels behind a network's layers: which are launched, what they cost on a card, what the emulator counts.

A forward and a backward pass are run on a device that notes every launch and makes none, so this takes no GPU and
compiles nothing. Launches that are to be counted are then made on the emulator, one by one, on numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._device import Device
from gpunn._warmup import usual_processes
from gpunn.bench.cards import Card, Occupancy, occupancy
from gpunn.bench.resources import Resources, kernel_line, resources_of
from gpunn.bench.work import bytes_of, flop_of
from gpunn.errors import UsageError, module_stack, nearest, quoted
from gpunn.gpu.emulated import EmulatorLaunch, EmulatorLoader
from gpunn.gpu.launcher import KernelSource, trace_launches
from gpunn.gpu.launches import Index
from gpunn.gpu.signatures import Parameter
from gpunn.tape import Node, observe_backward

if TYPE_CHECKING:
    from gpunn.bench.case import Case
    from gpunn.emulator import KernelCount


LOSS, MEETING = "(loss)", "(gradients)"  # names of what is outside the model


@dataclass
class LayerLaunch:
    """One kind of launch of one layer.

    Attributes
    ----------
    layer, kind : str
        The layer's dotted name in the model and its class. The name is "" of the model itself, "(loss)" of the loss,
        "(gradients)" where gradients that meet are added up.
    phase : str
        "forward" or "backward".
    kernel, file : str
    macros : dict of str to str
        The specialisation.
    grid, block : (x, y, z)
    shared : int
        Bytes of dynamic shared memory of a block.
    parameters, args, pointees
        As of `gpunn.gpu.launcher.Launch`.
    times : int
        How often it is launched.
    counts : KernelCount or None
        What the emulator counted, where it was asked to.
    uncounted : str
        Why it could not count.
    """

    layer: str
    kind: str
    phase: str
    kernel: str
    file: str
    macros: dict[str, str]
    grid: Index
    block: Index
    shared: int
    parameters: tuple[Parameter, ...]
    args: list[Any]
    pointees: Sequence[Any]
    times: int = 1
    counts: KernelCount | None = None
    uncounted: str = ""

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def blocks(self) -> int:
        """Blocks of the grid."""
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def place(self) -> tuple[str, int]:
        """File and line of the kernel."""
        return kernel_line(self.file, self.kernel)

    @property
    def traffic(self) -> float:
        """Bytes that one launch moves at least."""
        return bytes_of(self)

    @property
    def flop(self) -> float:
        """Multiplications and additions of one launch's matrix product; 0 where it has none."""
        return flop_of(self)

    def resources(self, card: Card) -> Resources | None:
        """What the kernel needs there; None where the compile gate's table does not know its source."""
        return resources_of(self.file, self.macros, self.kernel, card.sm)

    def occupancy(self, card: Card) -> Occupancy | None:
        """How many of its blocks an SM holds; None where its resources are not known."""
        needs = self.resources(card)
        if needs is None:
            return None
        return occupancy(card.architecture, self.threads, needs.registers, needs.shared + self.shared)

    def least_us(self, card: Card) -> float:
        """The microseconds that one launch takes at least by the card's roofline: a prediction."""
        return card.least_us(self.flop, self.traffic)

    def _kind(self) -> tuple[Any, ...]:
        shape = self.grid, self.block, self.shared, self.traffic, self.flop
        return self.layer, self.phase, self.kernel, self.file, tuple(self.macros.items()), *shape


@dataclass
class _Listing:
    """A loader that notes launches, with the layer they are for, and makes none."""

    launches: list[LayerLaunch] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    inside: tuple[Any, ...] | None = None  # the modules of the node whose backward runs
    between: bool = False  # no node's does, but the walk has begun

    def load(self, source: str, label: str, macros: Mapping[str, str]) -> _ListingModule:
        return _ListingModule(self, label, dict(macros))

    def note(self, function: _ListingFunction, *launch: Any) -> None:
        modules = tuple(module_stack.modules) if self.inside is None else self.inside
        module = modules[-1] if modules else None
        name = self.names.get(id(module), MEETING if self.between else LOSS)
        kind = "" if module is None else type(module).__name__
        phase = "forward" if self.inside is None else "backward"
        of = function.module
        self.launches.append(LayerLaunch(name, kind, phase, function.kernel, of.file, of.macros, *launch))


@dataclass
class _ListingModule:
    listing: _Listing
    file: str
    macros: dict[str, str]

    def function(self, kernel: str, parameters: tuple[Parameter, ...]) -> _ListingFunction:
        return _ListingFunction(self, kernel, parameters)


@dataclass
class _ListingFunction:
    module: _ListingModule
    kernel: str
    parameters: tuple[Parameter, ...]

    def run(self, grid: Index, block: Index, bound: list[Any], shared: int, pointees: Callable[[], Any]) -> None:
        self.module.listing.note(self, grid, block, shared, self.parameters, bound, tuple(pointees()))


def loss_of(model: Any, x: Any, command: str) -> Any:
    """The mean cross-entropy of a batch where the model gives class scores, else the sum; ``command`` is for errors."""
    from gpunn._creation import zeros
    from gpunn._tensor import Tensor
    from gpunn.nn.loss import CrossEntropyLoss

    scores = model(x)
    if not isinstance(scores, Tensor):
        raise UsageError(f"{command}: expected a network that returns one tensor; got {type(scores).__name__}.")
    if scores.ndim != 2 or scores.shape[1] < 2:
        return scores.sum()
    return CrossEntropyLoss()(scores, zeros(len(x), dtype=np.int64, device=x.device))


def list_launches(model: Any, input_shape: Sequence[int], batch_size: int) -> list[LayerLaunch]:
    """The launches of a forward and a backward pass in training mode, in their order, equal ones of a layer as one.

    Parameters
    ----------
    model : Module
        It is moved away, so pass one that is not needed any more.
    input_shape : sequence of int
        Of one item.
    batch_size : int

    Returns
    -------
    list of LayerLaunch
        The loss is the mean cross-entropy where the model gives class scores, else the sum.
    """
    from gpunn.bench.profile import random_batch

    listing = _Listing()
    home = Device("emulator", np, listing)
    with np.errstate(all="ignore"), trace_launches():  # which also has no plan kept for a device that nobody sees again
        model = model.to(home).train()
        listing.names = {id(module): name for name, module in model.named_modules()}
        x, _ = random_batch((batch_size, *input_shape), 1, home)
        loss = loss_of(model, x, "explain")
        if loss.requires_grad:
            with observe_backward(_observer(listing)):
                loss.backward()
    kinds: dict[tuple[Any, ...], LayerLaunch] = {}
    launches, listing.launches = listing.launches, []  # sources keep what was loaded, and that the listing
    for launch in launches:
        known = kinds.setdefault(launch._kind(), launch)
        known.times += known is not launch
    return list(kinds.values())


class _Untouched(Device):
    """A device whose arrays take no memory until someone writes to them: for sizes that only a GPU has room for."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Allocate an array without filling it."""
        return np.empty(shape, dtype)


def list_case(case: Case) -> list[LayerLaunch]:
    """The launches of one call of a case of single ops, at any size; equal ones are not put together.

    Parameters
    ----------
    case : Case
        Of the group "layers".
    """
    listing = _Listing()
    home = _Untouched("emulator", np, listing)
    given = {
        name: np.zeros(shape, np.int64) if name == "target" else np.empty(shape, case.dtype)
        for name, shape in case.shapes.items()
    }
    with trace_launches():
        call = case.ours(home, given)
        listing.launches.clear()  # those of the forward pass that a gradient needs
        call()
    launches, listing.launches = listing.launches, []
    return launches


def _observer(listing: _Listing) -> Callable[[Node, Callable[[], Any]], Any]:
    def observe(node: Node, run: Callable[[], Any]) -> Any:
        listing.inside, listing.between = node.inside, False
        try:
            return run()
        finally:
            listing.inside, listing.between = (), True

    return observe


def launches_of(launches: Sequence[LayerLaunch], layer: str, names: Sequence[str]) -> list[LayerLaunch]:
    """Those of a layer and of the layers inside it.

    Parameters
    ----------
    launches : sequence of LayerLaunch
    layer : str
    names : sequence of str
        All layers' names, as of ``named_modules``.

    Raises
    ------
    UsageError
        If the model has no such layer, or it launches nothing; the message says what there is.
    """
    if layer not in names:
        known = [name for name in names if name]
        listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise UsageError(f"there is no layer {quoted(layer)}; expected one of {listed}{nearest(layer, known)}")
    found = [one for one in launches if one.layer == layer or one.layer.startswith(f"{layer}.")]
    if not found:
        busy = list(dict.fromkeys(one.layer for one in launches if one.layer))
        raise UsageError(
            f"layer {quoted(layer)} launches no kernel of its own: it runs inside another (see gpunn summary), or only "
            f"passes its input on. These do: {', '.join(busy[:12])}{', ...' if len(busy) > 12 else ''}."
        )
    return found


def count(launches: Sequence[LayerLaunch], blocks: int | None) -> None:
    """Make each launch once on the emulator, and keep what it counts in ``counts``.

    Floating-point arrays that hold nothing yet are filled with normal numbers, others with zeros. Kernels that write
    whole numbers of 32 or 64 bits run all their blocks: those behind them index with what they leave.

    Parameters
    ----------
    launches : sequence of LayerLaunch
    blocks : int or None
        At most so many blocks of each run, spread over the grid; None for all.

    Raises
    ------
    DeviceError
        If the emulator cannot be used here; the message says why.
    """
    from gpunn.emulator import EmulatorFinding, counting

    loader = EmulatorLoader(counting=True)
    programs = {(one.file, tuple(one.macros.items())): one for one in launches}

    def load(one: LayerLaunch) -> Any:
        return loader.load(KernelSource.registry[one.file].text, one.file, one.macros)

    with ThreadPoolExecutor(usual_processes()) as pool:  # g++ runs in processes of its own
        modules = dict(zip(programs, pool.map(load, programs.values()), strict=True))
    rng = np.random.default_rng(0)
    for one in launches:
        function = modules[one.file, tuple(one.macros.items())].function(one.kernel, one.parameters)
        launch = EmulatorLaunch(function, one.grid, one.block, one.args, one.shared, one.pointees)
        _fill(one, rng)
        with counting(blocks=None if _writes_indices(one) else blocks) as counts:
            try:
                launch.run()
            except EmulatorFinding as finding:  # with whole numbers that another layer's kernels would have made
                one.uncounted = str(finding)
            else:
                one.counts = counts.kernels[one.kernel]


def _writes_indices(launch: LayerLaunch) -> bool:
    return any(access == "out" and array.dtype in (np.int32, np.int64) for array, access in _arrays(launch))


def _arrays(launch: LayerLaunch) -> list[tuple[np.ndarray, str]]:
    """The arrays that a launch reaches, and what it may do with each."""
    given = [
        (array, parameter.access)
        for array, parameter in zip(launch.args, launch.parameters, strict=True)
        if parameter.pointer and array is not None
    ]
    return given + [(array, access) for array, access, _ in launch.pointees]


def _fill(launch: LayerLaunch, rng: np.random.Generator) -> None:
    """Put numbers into the arrays that a launch reads and that hold none yet."""
    for array, access in _arrays(launch):
        if access == "out" or not array.flags.writeable:
            continue
        if array.dtype.kind == "f":
            empty = np.isnan(array)
            if empty.any():
                array[empty] = rng.standard_normal(int(empty.sum())).astype(array.dtype)
        elif (array.reshape(-1).view(np.uint8) == 0xFF).all():  # as Device.empty leaves it
            array[...] = 0
