"""What a kernel's machine code is made of: instructions by the unit that runs them, once and for each turn of its loop.

A disassembler's text is cut into basic blocks. Of all ways from a kernel's entry to its end one is taken: that which
multiplies most, moves most bytes, meets most barriers, and of several such the shortest; so the slow ways of a division
and of rows at the edge are left out. The *main loop* is the innermost one with at least half of what is multiplied, or
else moved. Its turns are cut at barriers into stretches, since a block's warps wait for each other there.

How often the loop turns the text does not say; `gpunn.bench.predict` asks the launch. Loops other than the main one
count as one turn each: what comes out of this is a lower bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

_LABEL = re.compile(r"^(\.L\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s?(.*?);")
_TARGET = re.compile(r"`\((\.L\w+)\)")
_REGISTER = re.compile(r"\b(U?[RP]\d+)\b")

# The units. What stands in none of them takes a slot to issue and no unit that could be short: branches, barriers,
# the uniform path (U...), constants, moves from special registers.
_FMA = ("FFMA", "FMUL", "FADD", "HFMA2", "HADD2", "HMUL2", "FSWZADD")
_ALU = (
    "IADD3", "IADD", "LOP3", "LOP", "ISETP", "FSETP", "SEL", "FSEL", "FMNMX", "FMNMX3", "IMNMX", "VIMNMX", "SHF", "SHL",
    "SHR", "LEA", "PRMT", "PLOP3", "IABS", "BMSK", "SGXT", "VIADD", "VIADDMNMX", "FCHK", "HSETP2", "HMNMX2", "HSET2",
    "F2FP", "MOV", "P2R", "R2P",
)  # fmt: skip
_MUFU = ("MUFU", "POPC", "FLO", "BREV")
_CONVERT = ("I2F", "F2I", "F2F", "I2I", "FRND", "I2FP", "F2IP")
_DOUBLE = ("DFMA", "DADD", "DMUL", "DSETP", "DMNMX")
_SHUFFLE = ("SHFL", "REDUX", "MATCH")
_SHARED = ("LDS", "STS", "LDSM", "STSM", "ATOMS")
_GLOBAL = ("LDG", "STG", "LD", "ST", "RED", "REDG", "ATOMG", "ATOM", "LDGSTS")
_LOCAL = ("LDL", "STL")
_WIDTHS = {"64": 8, "128": 16, "U8": 1, "S8": 1, "U16": 2, "S16": 2, "256": 32}
# Latencies from an instruction's issue to that of one which needs its result, in cycles: Jia et al. 2018 and 2019
# (Volta, Turing: 4 for additions and multiplications, 5 for IMAD, about 14 for those of multifunction units); Luo et
# al. 2024 (HMMA: 17 to 33 on Ampere, Ada and Hopper). Of memory: gpunn.bench.rates.
_DOUBLE_LATENCY, _LATENCY, _IMAD_LATENCY, _SLOW_LATENCY, _HMMA_LATENCY = 8, 4, 5, 14, 17
LEVELS = ("l1", "l2", "dram")


@dataclass(frozen=True)
class Part:
    """Some of the instructions that one warp runs: how many each unit has.

    Attributes
    ----------
    part : str
        "once", or "loop0", "loop1", ...: the stretches between barriers of one turn of the main loop.
    instructions : int
    fma, imad, alu, mufu, convert, double : int
        Float32 additions and multiplications, integer multiplications, other integer arithmetic and comparisons,
        multifunction units, conversions, float64.
    tensor : int
        Multiply-adds of tensor cores, those of TF32 twice.
    lsu, shuffle : int
        Loads and stores of any memory but constants; exchanges within the warp.
    passes : int
        Over the banks of shared memory, the fewest that accesses of such a width take.
    accesses, stores, bytes : int
        Of global memory: all of them, those that write, and what all 32 lanes move.
    barriers : int
    multiplied : int
        Multiply-adds of all 32 lanes, by any unit.
    l1, l2, dram : int
        Cycles that a warp alone takes if all its loads of global memory come from there.
    """

    part: str
    instructions: int = 0
    fma: int = 0
    imad: int = 0
    alu: int = 0
    mufu: int = 0
    convert: int = 0
    double: int = 0
    tensor: int = 0
    lsu: int = 0
    shuffle: int = 0
    passes: int = 0
    accesses: int = 0
    stores: int = 0
    bytes: int = 0
    barriers: int = 0
    multiplied: int = 0
    l1: int = 0
    l2: int = 0
    dram: int = 0


COLUMNS = tuple(field.name for field in fields(Part))


@dataclass(frozen=True)
class Instruction:
    """One line: its opcode with modifiers, whether a predicate guards it, where it jumps, what it writes and reads."""

    name: str
    guard: str
    target: str
    writes: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def opcode(self) -> str:
        """The name without modifiers."""
        return self.name.split(".")[0]

    @property
    def modifiers(self) -> tuple[str, ...]:
        """What follows the opcode."""
        return tuple(self.name.split(".")[1:])

    @property
    def width(self) -> int:
        """Bytes of a lane, of an access to memory."""
        return next((_WIDTHS[m] for m in self.modifiers if m in _WIDTHS), 4)

    @property
    def products(self) -> int:
        """Multiply-adds by all lanes."""
        if self.opcode == "FFMA":
            return 32
        if self.opcode in ("HMMA", "HFMA2"):
            return 64 if self.opcode == "HFMA2" else _SHAPES[next(m for m in self.modifiers if m in _SHAPES)]
        return 0

    @property
    def passes(self) -> int:
        """Over the banks of shared memory at least."""
        if self.opcode in ("LDSM", "STSM"):
            return next((int(m) for m in self.modifiers if m in ("2", "4")), 1)
        if self.opcode == "LDGSTS":
            return max(1, self.width // 4)
        return max(1, self.width // 4) if self.opcode in _SHARED else 0


_SHAPES = {"16816": 2048, "1688": 1024, "1684": 512, "884": 256, "16832": 4096}


def parse(lines: str) -> tuple[list[Instruction], dict[str, int]]:
    """The instructions of one kernel's text, and at which of them each label stands."""
    found: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in lines.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(found)
        elif told := _INSTRUCTION.match(line):
            target = _TARGET.search(told[3])
            found.append(_instruction(told[1] or "", told[2], told[3], target[1] if target else ""))
    return found, labels


def _instruction(guard: str, name: str, operands: str, target: str) -> Instruction:
    opcode = name.split(".")[0]
    cells = [cell.strip() for cell in operands.split(",")]
    stores = opcode in ("STG", "STS", "STL", "ST", "RED", "REDG", "LDGSTS", "BAR", "EXIT", "BRA", "STSM")
    outputs = 0 if stores else 1
    if opcode.endswith("SETP") or opcode in ("PLOP3", "VOTE", "SHFL", "MATCH", "R2P"):
        outputs = 2
    writes = [r for cell in cells[:outputs] if "[" not in cell for r in _REGISTER.findall(cell)]
    if writes and writes[0].startswith("R"):
        number = int(writes[0][1:])
        wide = opcode in _DOUBLE or "WIDE" in name or ".64" in name
        size = {"LDSM": 4 if name.endswith(".4") else 2, "HMMA": 4}.get(
            opcode, 4 if ".128" in name else 2 if wide else 1
        )
        writes += [f"R{number + n}" for n in range(1, size)]
    reads = [r for cell in cells[outputs:] for r in _REGISTER.findall(cell)]
    reads += _REGISTER.findall(guard)
    # An address of 64 bits, and the operands of 64 bits of a matrix product, begin with the register that is named.
    return Instruction(name, guard, target, tuple(writes), tuple(reads))


@dataclass(frozen=True)
class Block:
    """Instructions that run one after the other, and the blocks that may follow."""

    instructions: tuple[Instruction, ...]
    after: tuple[int, ...]
    ends: bool  # the kernel


def blocks_of(instructions: Sequence[Instruction], labels: dict[str, int]) -> list[Block]:
    """The basic blocks, in the order of the text."""
    jumps = ("BRA", "CALL", "JMP", "BRX", "BRXU")
    first = {0, *labels.values()}
    for at, one in enumerate(instructions):
        if one.opcode in (*jumps, "EXIT", "RET"):
            first.add(at + 1)
    starts = sorted(at for at in first if at < len(instructions))
    number = {at: n for n, at in enumerate(starts)}
    made = []
    for n, start in enumerate(starts):
        stop = starts[n + 1] if n + 1 < len(starts) else len(instructions)
        last = instructions[stop - 1]
        after = []
        if last.opcode in jumps and labels.get(last.target, len(instructions)) in number:
            after.append(number[labels[last.target]])
        whole = last.opcode in ("BRA", "JMP", "EXIT", "RET", "BRX", "BRXU") and not last.guard
        if not whole and stop in number:
            after.append(number[stop])
        made.append(Block(tuple(instructions[start:stop]), tuple(dict.fromkeys(after)), last.opcode == "EXIT"))
    return made


@dataclass(frozen=True)
class Loop:
    """A loop: the block it begins with, its blocks, those that jump back, those that it leads to."""

    head: int
    body: frozenset[int]
    back: frozenset[int]
    exits: frozenset[int]


def loops_of(blocks: Sequence[Block]) -> list[Loop]:
    """The natural loops; several jumps to one head are one loop."""
    before: dict[int, set[int]] = {n: set() for n in range(len(blocks))}
    for n, block in enumerate(blocks):
        for to in block.after:
            before[to].add(n)
    reached = _reached(blocks)
    backs: dict[int, set[int]] = {}
    for n in reached:
        for to in blocks[n].after:
            if to <= n and _reaches(blocks, to, n):
                backs.setdefault(to, set()).add(n)
    found = []
    for head, back in backs.items():
        body, waiting = {head}, list(back)
        while waiting:
            n = waiting.pop()
            if n not in body and n in reached:
                body.add(n)
                waiting += before[n]
        exits = {to for n in body for to in blocks[n].after if to not in body}
        found.append(Loop(head, frozenset(body), frozenset(back), frozenset(exits)))
    return [loop for loop in found if loop.exits]  # without a way out: what pads a kernel's end


def _reached(blocks: Sequence[Block]) -> set[int]:
    found, waiting = set(), [0]
    while waiting:
        n = waiting.pop()
        if n not in found:
            found.add(n)
            waiting += blocks[n].after
    return found


def _reaches(blocks: Sequence[Block], start: int, to: int) -> bool:
    seen, waiting = set(), [start]
    while waiting:
        n = waiting.pop()
        if n == to:
            return True
        if n not in seen:
            seen.add(n)
            waiting += blocks[n].after
    return False


Score = tuple[int, int, int, int]


def _score(block: Block) -> Score:
    some = block.instructions
    moved = sum(one.width for one in some if one.opcode in _GLOBAL) + sum(one.passes for one in some)
    barriers = sum(one.opcode == "BAR" for one in some)
    return sum(one.products for one in some), moved, barriers, -len(some)


def _best(blocks: Sequence[Block], loops: Sequence[Loop], start: int, ends: set[int], inside: set[int]) -> list[int]:
    """The way from a block to one of ``ends``, through those ``inside``, whose score is highest; [] if none."""
    after = {n: [to for to in blocks[n].after if to in inside] for n in inside}
    for loop in loops:  # once round, then out
        if loop.head != start or not loop.back <= ends:
            for n in loop.back & inside:
                after[n] = [to for to in after[n] if to != loop.head] + [to for to in loop.exits if to in inside]
        else:
            for n in loop.back & inside:
                after[n] = [to for to in after[n] if to != loop.head]
    order: list[int] = []
    state: dict[int, int] = {}
    stack: list[tuple[int, Iterator[int]]] = [(start, iter(after[start]))]
    state[start] = 1
    while stack:
        n, left = stack[-1]
        for to in left:
            if state.get(to, 0) == 0:
                state[to] = 1
                stack.append((to, iter(after[to])))
                break
        else:
            state[n] = 2
            order.append(n)
            stack.pop()
    position = {n: at for at, n in enumerate(reversed(order))}
    best: dict[int, tuple[Score, list[int]]] = {}
    for n in order:  # from the ends on
        choices = [best[to] for to in after[n] if to in best and position[to] > position[n]]
        here = _score(blocks[n])
        if choices:
            score, way = max(choices, key=lambda choice: choice[0])
            if n in ends and score < (0, 0, 0, 0):
                best[n] = here, [n]
            else:
                a, b, c, d = (x + y for x, y in zip(here, score, strict=True))
                best[n] = (a, b, c, d), [n, *way]
        elif n in ends:
            best[n] = here, [n]
    return best[start][1] if start in best else []


def parts_of(lines: str, latencies: dict[str, int]) -> list[Part]:
    """The parts of one kernel's text.

    Parameters
    ----------
    lines : str
    latencies : dict
        Cycles of a load from "shared", "l1", "l2", "dram".
    """
    blocks = blocks_of(*parse(lines))
    loops = loops_of(blocks)
    ways = {loop.head: _best(blocks, loops, loop.head, set(loop.back), set(loop.body)) for loop in loops}
    main = _main(blocks, [loop for loop in loops if ways[loop.head]], ways)
    ends = {n for n, block in enumerate(blocks) if block.ends}
    reached = _reached(blocks)
    whole = _best(blocks, loops, 0, ends, reached)
    if main is None:
        return [_part("once", _flat(blocks, whole), latencies, False)]
    if main.head not in whole and any(_instead(blocks, one, main, ways) for one in loops if one.head in whole):
        leaving = filter(None, (_best(blocks, loops, out, ends, reached) for out in main.exits))
        out = max(leaving, key=lambda way: _total(blocks, way), default=[])
        whole = [*_best(blocks, loops, 0, {main.head}, reached), *out]
    once = [n for n in whole if n not in main.body]
    turn = _flat(blocks, ways[main.head])
    made = [_part("once", _flat(blocks, once), latencies, False)]
    stretches = _stretches(turn)
    return made + [_part(f"loop{n}", some, latencies, len(stretches) == 1) for n, some in enumerate(stretches)]


def _instead(blocks: Sequence[Block], loop: Loop, main: Loop, ways: dict[int, list[int]]) -> bool:
    """Whether a loop multiplies as much as the main one, and so runs instead of it."""
    products = _total(blocks, ways[main.head])[0]
    return products > 0 and not loop.body & main.body and _total(blocks, ways[loop.head])[0] == products


def _flat(blocks: Sequence[Block], way: Sequence[int]) -> list[Instruction]:
    return [one for n in way for one in blocks[n].instructions]


def _total(blocks: Sequence[Block], way: Sequence[int]) -> Score:
    a, b, c, d = map(sum, zip((0, 0, 0, 0), *(_score(blocks[n]) for n in way), strict=True))
    return a, b, c, d


def _main(blocks: Sequence[Block], loops: Sequence[Loop], ways: dict[int, list[int]]) -> Loop | None:
    def weight(loop: Loop) -> tuple[int, int]:
        return _total(blocks, ways[loop.head])[:2]

    def rank(loop: Loop) -> tuple[int, int, int]:
        # Of loops with as many products, of which the arguments choose one, that which moves least: times are lower
        # bounds.
        products, moved = weight(loop)
        return products, -moved if products else moved, -len(loop.body)

    if not loops:
        return None
    main = max(loops, key=rank)
    while True:
        axis = 0 if weight(main)[0] else 1
        inner = [one for one in loops if one.body < main.body and 2 * weight(one)[axis] >= weight(main)[axis] > 0]
        if not inner:
            return main if any(weight(main)) else None
        main = max(inner, key=rank)


def _stretches(turn: Sequence[Instruction]) -> list[list[Instruction]]:
    """One turn cut behind its barriers; what follows the last one belongs to the first stretch of the next turn."""
    at = [n + 1 for n, one in enumerate(turn) if one.opcode == "BAR"]
    if not at:
        return [list(turn)]
    bounds = [*at, len(turn) + at[0]]
    twice = [*turn, *turn]
    return [twice[a:b] for a, b in pairwise(bounds)]


def _part(name: str, some: Sequence[Instruction], latencies: dict[str, int], repeats: bool) -> Part:
    found = dict.fromkeys(COLUMNS[1:], 0)
    for one in some:
        opcode = one.opcode
        found["instructions"] += 1
        unit = next((unit for unit, names in _UNITS.items() if opcode in names), None)
        if unit:
            found[unit] += 1
        if opcode == "HMMA":
            found["tensor"] += one.products * (2 if "TF32" in one.modifiers else 1)
        if opcode in _GLOBAL:
            found["accesses"] += 1
            found["stores"] += opcode not in ("LDG", "LD", "LDGSTS")
            found["bytes"] += 32 * one.width
        found["passes"] += one.passes
        found["barriers"] += opcode == "BAR"
        found["multiplied"] += one.products
    for level in LEVELS:
        given = {**latencies, "global": latencies[level]}
        found[level] = round((_alone([*some] * 4, given) - _alone(some, given)) / 3) if repeats else _alone(some, given)
    return Part(name, **found)


_UNITS = {
    "fma": _FMA, "imad": ("IMAD", "IMUL", "IDP"), "alu": _ALU, "mufu": _MUFU, "convert": _CONVERT, "double": _DOUBLE,
    "shuffle": _SHUFFLE, "lsu": (*_SHARED, *_GLOBAL, *_LOCAL),
}  # fmt: skip


def _alone(some: Sequence[Instruction], latencies: dict[str, int]) -> int:
    """Cycles until a warp alone on the SM has issued all of these: in order, each when its operands are there."""
    ready: dict[str, int] = {}
    now = 0
    for one in some:
        now = max([now + 1, *(ready.get(name, 0) for name in one.reads), *(ready.get(name, 0) for name in one.writes)])
        for name in one.writes:
            ready[name] = now + _latency(one.opcode, latencies)
    return now


def _latency(opcode: str, latencies: dict[str, int]) -> int:
    if opcode in _GLOBAL:
        return latencies["global"]
    if opcode in ("LDS", "LDSM", "ATOMS", *_SHUFFLE):
        return latencies["shared"]
    if opcode == "HMMA":
        return _HMMA_LATENCY
    if opcode in (*_MUFU, *_CONVERT):
        return _SLOW_LATENCY
    return _DOUBLE_LATENCY if opcode in _DOUBLE else _IMAD_LATENCY if opcode == "IMAD" else _LATENCY
