"""Changes of bytes, of texts and of JSON, each drawn from a generator and nothing else: a seed repeats them."""

from __future__ import annotations

import copy
import json
import re
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

LONGEST = 1 << 16
_NUMBERS = [
    *(0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536),
    *(10**6, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, -1, -2),
]
_WORDS = [
    *(
        b"\x00",
        b"\xff",
        b"\n",
        b"\x1b[2J",
        b"NaN",
        b"Infinity",
        b"-1",
        b"1e999",
        b"null",
        b"true",
        b'"',
        b"\\",
        b"\\ud800",
    ),
    *(b"[", b"]", b"{", b"}", b",", b":", b"(", b")", b"'", b"9" * 30, b"../", b"L", b"\xe2\x80\xae", b"\xed\xa0\x80"),
]
_DIGITS = re.compile(rb"\d+")


def mutated(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to four changes of ``data``; ``others`` are files to put pieces in from."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        _change(rng, changed, others)
        del changed[LONGEST:]
    return bytes(changed)


def _place(rng: Random, length: int) -> int:
    """A position, biased to the beginning, where the headers are."""
    at = rng.random()
    return min(length, int((at * at if rng.random() < 0.6 else at) * (length + 1)))


def _change(rng: Random, data: bytearray, others: Sequence[bytes]) -> None:
    kind = rng.randrange(11)
    at = _place(rng, len(data))
    span = min(rng.choice((1, 2, 4, 8, 16, 64, 256)), max(0, len(data) - at))
    if kind == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[at : at + span]
    elif kind == 4:
        data[at:at] = data[at : at + span] * rng.choice((1, 1, 2, 30))
    elif kind == 5:
        data += bytes(rng.choice((1, 8, 300))) if rng.random() < 0.5 else rng.randbytes(rng.choice((1, 8, 300)))
    elif kind == 6 and others:
        other = rng.choice(others)
        start = _place(rng, len(other))
        piece = other[start : start + rng.choice((1, 4, 16, 64, 1000))]
        data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece
    elif kind == 7:
        width, code = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
        value = rng.choice((rng.choice(_NUMBERS), len(data), len(data) - at)) % (1 << 8 * width)
        data[at : at + width] = struct.pack(rng.choice("<>") + code, value)
    elif kind == 8:
        found = list(_DIGITS.finditer(bytes(data)))
        if found:
            match = found[min(len(found) - 1, _place(rng, len(found)))]
            data[match.start() : match.end()] = str(rng.choice(_NUMBERS)).encode()
    elif kind == 9:
        data[at : at + (span if rng.random() < 0.5 else 0)] = rng.choice(_WORDS) * rng.choice((1, 1, 1, 2, 500))
    else:
        data[at : at + span] = rng.randbytes(span)


_VALUES: list[Any] = [
    *(None, True, False, "", "x", "\x00", "\x1b[2J\n", "\ud800", "n" * 5000, "../../etc", "/dev/zero", "9"),
    *(0, 1, -1, 1.5, 2**31, 2**63, 10**40, 1e300, [], {}, [[]], [0], {"": 0}, [1, 2, 3], [1] * 3000),
]


def mutated_json(rng: Random, value: Any) -> bytes:
    """JSON with one to three of its values, names or lengths changed."""
    changed = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        changed = _replaced(rng, changed)
    return json.dumps(changed).encode()


def _replaced(rng: Random, value: Any) -> Any:
    """The value with something in it, or itself, replaced."""
    if isinstance(value, dict) and value and rng.random() < 0.95:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            del value[key]
        elif rng.random() < 0.1:
            value[str(rng.choice(_VALUES))] = value.pop(key)
        else:
            value[key] = _replaced(rng, value[key])
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            value[at:at] = [value[at]] * rng.choice((1, 2, 100))
        else:
            value[at] = _replaced(rng, value[at])
        return value
    if isinstance(value, int) and rng.random() < 0.7:
        return rng.choice(_NUMBERS)
    return copy.deepcopy(rng.choice(_VALUES))  # the next change may be in it
