"""First layers of float16 and bfloat16 by tensor cores: images with few channels.

The launches of ``kernels/conv2d_first_half.cu`` and ``conv2d_first_half_weight.cu``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._window import Window
from gpunn.gpu.conv2d_geometry import refuse_too_many
from gpunn.gpu.half import bits_of, number_name, one_dtype
from gpunn.gpu.launcher import DIVISOR, KernelSource, ceil_div, divisor, vector_width
from gpunn.gpu.launches import Struct
from gpunn.gpu.tensor import has_tensor_cores
from gpunn.gpu.tickets import COUNT, tickets

# conv2d_first_half.cu: threads; outputs of a run, a warp's runs; numbers of a vector; slots of a step.
WARP = 32
_THREADS, _WARPS = 128, 4
_RUN, _RUNS = 8, 6
# What a warp does at once, an item: how its runs may lie, so many side by side, so many one below the other. Items of a
# weight gradient have more runs with one group of slots a warp, where each run is less work.
_ITEMS = ((1, 6), (2, 3), (3, 2), (6, 1))
_WEIGHT_ITEMS = {1: ((1, 8), (2, 4), (4, 2), (8, 1)), 2: ((1, 4), (2, 2), (4, 1)), 3: ((1, 4), (2, 2), (4, 1))}
_EACH, _STEP = 8, 8
_BANKS = 32
_COLUMNS = (32, 64)  # filters of a warp
_TICKETS = 32  # of a tile of filters of a weight gradient
_MOST_BLOCKS = 16 * 28  # of those, whose tickets these are
_SHARED = 96 * 1024  # the most of a block; every card with tensor cores has it
_OF_SM = 227 * 1024  # of a large card's SM
_STATIC = 16  # bytes of shared memory that a weight gradient's last_block() takes, up to the next vector
_PARTS = (1, 2, 3)  # conv2d_first_half_weight.cu: groups of 8 slots of a warp
_CHOICES: dict[str, Any] = {
    "architectures": (80, 86, 89, 90, 100, 120),
    "REAL": ("float",),
    "NUMBER": ("BFLOAT16", "FLOAT16"),
    "TILE": _COLUMNS,
    "VECTORS": (0, 1),
}
SOURCE = KernelSource("conv2d_first_half.cu", dynamic_shared={"conv2d_first_half_forward": _SHARED}, **_CHOICES)
WEIGHT = KernelSource(
    "conv2d_first_half_weight.cu",
    dynamic_shared={"conv2d_first_half_backward_weight": _SHARED - _STATIC},
    PARTS=_PARTS,
    **_CHOICES,
)
_SHAPE = np.dtype(
    [(name, np.int32) for name in ("N", "H", "W", "C", "K", "R", "S", "P", "Q")]
    + [(name, np.int32) for name in ("stride_h", "stride_w", "pad_h", "pad_w", "dilation_h")]
    + [(name, np.int32) for name in ("line", "length", "high", "wide", "rows", "pitch", "copies", "apart")]
    + [(name, np.int32) for name in ("lead", "front", "full", "plain", "steps", "tiles", "tiles_per_block", "groups")]
    + [(name, np.int32) for name in ("across", "down", "items")]
    + [(f"by_{name}", DIVISOR) for name in ("tiles_P", "tiles_Q", "items", "full", "parts")]
)
_MOST_CHANNELS = 4
_SMS = 132  # of a large card
_HIGH = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)  # rows of a tile
# Estimated cycles. Of an SM: a product of 16 x 8 x 16; results of one on their way out; 64 numbers on their way to
# shared memory, in vectors or not. Of a block alone: a step of a warp, its results, a tile's waiting. And what bringing
# the filters takes, in tiles.
_PRODUCT, _RESULTS, _BROUGHT, _BROUGHT_SINGLY = 1.7, 2, 1, 8
_STEP_ALONE, _RESULTS_ALONE, _WAITING, _FILTERS = 125, 700, 1500, 0.3


@dataclass(frozen=True)
class Slots:
    """How a filter is cut into words: the kernel's head says why."""

    vec: int
    step: int  # numbers from an output to the next
    length: int  # of a filter row
    lead: int
    front: int
    rows: int

    @property
    def full(self) -> int:
        """Whole slots of a filter row."""
        return (self.length - self.front) // 2

    @property
    def single(self) -> int:
        """Slots of a filter row that have one number."""
        return self.front + (self.length - self.front) % 2

    @property
    def plain(self) -> int:
        """Steps of whole slots."""
        return self.rows * self.full // _STEP

    @property
    def steps(self) -> int:
        """All steps."""
        return ceil_div(self.rows * (self.full + self.single), _STEP)

    @property
    def copies(self) -> int:
        """Of x in shared memory."""
        return 1 + self.step % 2

    def places(self, dilation: int) -> np.ndarray:
        """(slots, 2): the row of x, and the number in it, where each slot of the first output lies."""
        rows = np.arange(self.rows)[:, None] * dilation
        full = self.front + 2 * np.arange(self.full)
        found = [np.stack(np.broadcast_arrays(rows, self.lead + full), -1).reshape(-1, 2)]
        alone = [-1] * self.front + [self.length - 1] * (self.single - self.front)
        found += [np.stack(np.broadcast_arrays(rows[:, 0], self.lead + number), -1) for number in alone]
        return np.concatenate(found)


@functools.lru_cache(maxsize=1024)
def slots_of(weight_shape: tuple[int, ...], window: Window, vectors: bool) -> Slots:
    """The slots of a filter; ``vectors``: rows of x begin at whole vectors."""
    _, r, s, c = weight_shape
    step = window.stride[1] * c
    vec = _EACH if vectors and step % 2 == 0 else 1
    lead = -window.padding[1] * c % _EACH if vec > 1 else 0
    return Slots(vec, step, s * c, lead, lead % 2, r)


@functools.lru_cache(maxsize=1024)
def banks(slots: Slots, dilation: int) -> tuple[tuple[int, ...], int]:
    """Numbers from row to row of x in shared memory, modulo 64, the best first; and from copy to copy.

    The best have the fewest passes over the banks: of 8 outputs and 4 slots side by side.
    """
    places = slots.places(dilation)
    places = np.concatenate([places, np.repeat(places[:1], -len(places) % 4, 0)]).reshape(-1, 4, 2)
    at = np.arange(_RUN) * slots.step
    copy = at % 2 if slots.copies > 1 else np.zeros_like(at)

    width = 2 * _BANKS

    def passes(pitch: int, apart: int) -> int:
        pitch, apart = pitch + width * slots.length * _RUN, apart + width * 2**20  # what is different lies apart
        numbers = at - copy + copy * apart + (places[..., 0] * pitch + places[..., 1])[..., None]
        words = np.sort(numbers.reshape(len(places), -1) // 2, axis=1)
        first = np.concatenate([np.ones((len(words), 1), bool), np.diff(words, axis=1) != 0], axis=1)
        met = np.bincount(np.nonzero(first)[0] * _BANKS + words[first] % _BANKS, minlength=len(words) * _BANKS)
        return int(met.reshape(-1, _BANKS).max(axis=1).sum())

    apart = 0 if slots.copies == 1 else min(range(0, width, 2), key=lambda apart: passes(slots.length * 2, apart))
    pitches = range(0, width, 8 if slots.vec > 1 else 2)
    return tuple(sorted(pitches, key=lambda pitch: passes(pitch, apart))), apart


@dataclass(frozen=True)
class Cut:
    """A tile of outputs, and the part of x under it in shared memory."""

    high: int
    wide: int
    rows: int
    line: int  # numbers of a row of x
    pitch: int  # from row to row
    apart: int  # from copy to copy
    numbers: int  # of all
    brought: float  # cycles of an SM
    across: int  # runs of an item side by side
    down: int  # and one below the other

    @property
    def items(self) -> int:
        """Of a tile."""
        return self.high * self.wide // (self.across * self.down * _RUN)


@dataclass(frozen=True)
class Plan:
    """How a layer is split into blocks."""

    columns: int
    groups: int  # of that many filters, of a block
    cut: Cut
    shared: int  # bytes
    each: int  # tiles of a block, one after the other
    cost: float
    busy: float  # cycles of an SM, if it did all tiles


@functools.lru_cache(maxsize=1024)
def plan(n: int, weight_shape: tuple[int, ...], window: Window, vectors: bool) -> Plan | None:
    """The cheapest way to split a forward pass of n images; None if there is none.

    Of those that take as long, as where a card is not full, that which keeps it least busy.
    """
    return min(_plans(n, weight_shape, window, vectors), key=lambda p: (p.cost, p.busy), default=None)


def _pitch(numbers: int, slots: Slots, dilation: int) -> int:
    """From row to row, for so many numbers: a little more memory for fewer passes."""
    width = 2 * _BANKS
    return numbers + (banks(slots, dilation)[0][0] - numbers) % width


def _columns(k: int) -> int:
    """Filters of a warp: the most that leave the fewest unused."""
    return min(reversed(_COLUMNS), key=lambda columns: ceil_div(k, columns) * columns)


def _cuts(
    slots: Slots, weight_shape: tuple[int, ...], window: Window, item_shapes: Iterable[tuple[int, int]]
) -> Iterator[Cut]:
    """All tiles of whole items."""
    for across, down in item_shapes:
        yield from _cuts_of(slots, weight_shape, window, across, down)


def _cuts_of(slots: Slots, weight_shape: tuple[int, ...], window: Window, across: int, down: int) -> Iterator[Cut]:
    """The same for items of so many runs across and down."""
    dilation_h, part, item = window.dilation[0], max(2, slots.vec), across * _RUN
    for tiles in range(1, ceil_div(window.Q, item) + 1):
        wide = ceil_div(ceil_div(window.Q, tiles), item) * item
        line = ceil_div(slots.lead + (wide - 1) * slots.step + slots.length + 1, part) * part
        pitch = _pitch(line, slots, dilation_h)
        for high in _HIGH if down == 1 else range(down, _HIGH[-1] + down, down):
            if high - down >= max(1, window.P):
                break
            rows = (high - 1) * window.stride[0] + (weight_shape[1] - 1) * dilation_h + 1
            apart = 0
            if slots.copies > 1:
                apart = rows * pitch + (banks(slots, dilation_h)[1] - rows * pitch) % (2 * _BANKS)
            brought = slots.copies * rows * line / 64 * (_BROUGHT if slots.vec > 1 else _BROUGHT_SINGLY)
            yield Cut(high, wide, rows, line, pitch, apart, apart + rows * pitch, brought, across, down)


def _plans(n: int, weight_shape: tuple[int, ...], window: Window, vectors: bool) -> Iterator[Plan]:
    k = weight_shape[0]
    slots = slots_of(weight_shape, window, vectors)
    columns = _columns(k)
    all_groups = ceil_div(k, columns)
    for cut in _cuts(slots, weight_shape, window, _ITEMS):
        items = cut.items
        tiles = n * ceil_div(window.P, cut.high) * ceil_div(window.Q, cut.wide)
        for groups in range(1, all_groups + 1):
            words = groups * columns * (slots.steps * _STEP + 1) + 2 * slots.steps * _STEP + 4
            shared = words * 4 + cut.numbers * 2
            if shared > _SHARED:
                break
            products = items * _RUNS // 2 * columns // 8 * groups
            busy = products * (slots.steps * _PRODUCT + _RESULTS) + cut.brought
            alone = _WAITING + ceil_div(items, _WARPS) * groups * (slots.steps * _STEP_ALONE + _RESULTS_ALONE)
            held = max(1, min(3 if columns == _COLUMNS[1] else 4, _OF_SM // (shared + 1024)))
            filter_tiles = ceil_div(all_groups, groups)
            each, cost = _tiles_of_a_block(tiles, filter_tiles, held, busy, alone)
            yield Plan(columns, groups, cut, shared, each, cost, tiles * filter_tiles * busy)


def _tiles_of_a_block(tiles: int, filter_tiles: int, held: int, busy: float, alone: float) -> tuple[int, float]:
    """How many tiles a block does, and the cost: the SM with the most to do should have least.

    A tile keeps an SM ``busy`` for so long, and takes ``alone`` where nothing else runs.
    """

    def cost(each: int) -> float:
        of_an_sm = ceil_div(ceil_div(tiles, each) * filter_tiles, _SMS)
        at_once = min(held, of_an_sm)
        return ceil_div(of_an_sm, max(1, at_once)) * (each + _FILTERS) * max(alone, at_once * busy)

    most = ceil_div(tiles * filter_tiles, held * _SMS)
    return min(
        ((each, cost(each)) for each in {max(1, ceil_div(most, waves)) for waves in range(1, 9)}), key=lambda e: e[1]
    )


@dataclass(frozen=True)
class WeightPlan:
    """How a weight gradient is split into blocks."""

    filters: int
    parts: int  # groups of slots of a warp
    across: int
    deep: int  # warps of a block, side by side and one behind the other
    cut: Cut
    shared: int  # bytes
    each: int  # tiles of a block, one after the other
    cost: float
    busy: float  # cycles of an SM, if it did all tiles


@functools.lru_cache(maxsize=1024)
def weight_plan(n: int, weight_shape: tuple[int, ...], window: Window, vectors: bool) -> WeightPlan | None:
    """The cheapest way to split a weight gradient of n images; None if there is none. As that of ``plan``."""
    return min(_weight_plans(n, weight_shape, window, vectors), key=lambda p: (p.cost, p.busy), default=None)


def _weight_plans(n: int, weight_shape: tuple[int, ...], window: Window, vectors: bool) -> Iterator[WeightPlan]:
    k = weight_shape[0]
    slots = slots_of(weight_shape, window, vectors)
    filters = _columns(k)
    filter_tiles, down = ceil_div(k, filters), filters // 16
    if filter_tiles * _TICKETS > COUNT:
        return
    for parts in _PARTS:
        across, most, held = ceil_div(slots.steps, parts), *((8, 1) if parts == _PARTS[-1] else (5, 3))
        if across > most:
            continue
        deep = most // across
        sums = across * WARP * down * parts * 8 * 4  # bytes
        # Cycles of an SM for a step: products, or passes over the banks.
        step = across * max(2 * parts * down * _PRODUCT, 4 * down + 6 * parts)
        for cut in _cuts(slots, weight_shape, window, _WEIGHT_ITEMS[parts]):
            outputs = cut.across * cut.down * _RUN  # of an item
            steps = outputs // 16
            # dz in planes of 16 filters, with room between them: PLANE in the kernel.
            gradient = down * (outputs * 16 + (16 if filters == _COLUMNS[1] else 32)) * 2
            shared = cut.items * gradient + ceil_div(cut.items, 4) * 16 + cut.numbers * 2
            shared = max(shared, sums * (deep > 1))
            at_once = min(held, _OF_SM // (shared + 1024))
            if shared > _SHARED - _STATIC or not at_once:
                continue
            busy = cut.items * (steps * step + outputs * filters / 64 * _BROUGHT) + cut.brought
            alone = _WAITING + ceil_div(cut.items, deep) * steps * _STEP_ALONE
            tiles = n * ceil_div(window.P, cut.high) * ceil_div(window.Q, cut.wide)
            # One wave: what a block leaves costs more than a tile's end.
            each = ceil_div(tiles * filter_tiles, at_once * _SMS)
            of_an_sm = min(at_once, ceil_div(tiles * filter_tiles, _SMS))
            cost = (each + _FILTERS) * max(alone, of_an_sm * busy)
            yield WeightPlan(filters, parts, across, deep, cut, shared, max(1, each), cost, tiles * filter_tiles * busy)


def _is_of_vectors(x: Any) -> bool:
    """Whether all rows of x begin at whole vectors."""
    return vector_width(x.shape[2] * x.shape[3], x, widths=(_EACH,)) == _EACH


def takes(device: Device, x: Any, weight: Any, window: Window, groups: int, *others: Any) -> bool:
    """Whether a convolution of x by weight is computed here; others: more arrays it is given."""
    k, _, _, c = weight.shape
    if groups != 1 or c > _MOST_CHANNELS or k % _EACH or window.dilation[1] != 1:
        return False
    if not one_dtype(x, weight, *others) or not has_tensor_cores(device):
        return False
    return plan(x.shape[0], weight.shape, window, _is_of_vectors(x)) is not None


@functools.lru_cache(maxsize=1024)
def _kernel_shape(
    n: int, weight_shape: tuple[int, ...], window: Window, vectors: bool, cut: Cut, each: int, groups: int
) -> Struct:
    """``struct FirstHalfShape``."""
    w, (k, r, s, c) = window, weight_shape
    refuse_too_many(n, c, k, w)
    slots = slots_of(weight_shape, w, vectors)
    down, across = ceil_div(w.P, cut.high), ceil_div(w.Q, cut.wide)
    sizes = (n, w.H, w.W, c, k, r, s, w.P, w.Q, *w.stride, *w.padding, w.dilation[0], w.W * c, s * c)
    tile = (cut.high, cut.wide, cut.rows, cut.pitch, slots.copies, cut.apart)
    steps = (slots.lead, slots.front, slots.full, slots.plain, slots.steps, n * down * across, each, groups)
    items = (cut.across, cut.down, cut.items)
    divisors = (down, across, cut.wide // (cut.across * _RUN), slots.full, cut.line // max(2, slots.vec))
    return Struct(np.array([(*sizes, *tile, *steps, *items, *(divisor(max(1, d)) for d in divisors))], _SHAPE))


def _tiles(n: int, window: Window, cut: Cut) -> int:
    return n * ceil_div(window.P, cut.high) * ceil_div(window.Q, cut.wide)


def forward(device: Device, x: Any, weight: Any, window: Window, bias: Any, relu: bool) -> Any:
    """y of a convolution that is taken."""
    n, k = x.shape[0], weight.shape[0]
    y = device.empty((n, window.P, window.Q, k), x.dtype)
    vectors = _is_of_vectors(x)
    found, slots = plan(n, weight.shape, window, vectors), slots_of(weight.shape, window, vectors)
    assert found is not None
    shape = _kernel_shape(n, weight.shape, window, vectors, found.cut, found.each, found.groups)
    blocks, filter_tiles = ceil_div(_tiles(n, window, found.cut), found.each), ceil_div(k, found.columns * found.groups)
    args = (*map(bits_of, (y, x, weight, bias)), shape, int(relu))
    choice: dict[str, Any] = {"REAL": "float", "NUMBER": number_name(x.dtype), "TILE": found.columns}
    choice["VECTORS"] = int(slots.vec > 1)
    grid = blocks, filter_tiles, 1
    SOURCE.launch(device, "conv2d_first_half_forward", grid, _THREADS, args, shared=found.shared, **choice)
    return y


def takes_backward_weight(device: Device, dy: Any, y: Any, x: Any, weight: Any, window: Window, groups: int) -> bool:
    """Whether the weight gradient of such a convolution is computed here."""
    if not takes(device, x, weight, window, groups, dy, y) or vector_width(_EACH, dy, widths=(_EACH,)) != _EACH:
        return False
    return weight_plan(x.shape[0], weight.shape, window, _is_of_vectors(x)) is not None


def backward_weight(device: Device, dz: Any, x: Any, weight: Any, window: Window) -> Any:
    """The gradient of weight, where it is taken."""
    n, k = x.shape[0], weight.shape[0]
    dweight = device.empty(weight.shape, x.dtype)
    vectors = _is_of_vectors(x)
    found, slots = weight_plan(n, weight.shape, window, vectors), slots_of(weight.shape, window, vectors)
    assert found is not None
    shape = _kernel_shape(n, weight.shape, window, vectors, found.cut, found.each, 1)
    blocks = max(1, ceil_div(_tiles(n, window, found.cut), found.each))
    filter_tiles, threads = ceil_div(k, found.filters), found.across * WARP
    assert blocks <= _MOST_BLOCKS, "as many as fill a card once"
    buffers: tuple[Any, Any] = None, None
    if blocks > 1:
        sums = threads * found.filters // 16 * found.parts * 8
        buffers = device.empty((filter_tiles, blocks, sums), np.dtype(np.float32)), tickets(device)
    args = (bits_of(dweight), *buffers, bits_of(dz), bits_of(x), shape, found.across, found.deep)
    choice: dict[str, Any] = {"REAL": "float", "NUMBER": number_name(x.dtype), "TILE": found.filters}
    choice |= {"VECTORS": int(slots.vec > 1), "PARTS": found.parts}
    kernel, grid = "conv2d_first_half_backward_weight", (blocks, filter_tiles, 1)
    WEIGHT.launch(device, kernel, grid, threads * found.deep, args, shared=found.shared, **choice)
    return dweight
