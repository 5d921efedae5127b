"""Parsing JSON from anybody: strictly, and in memory proportional to the file."""

from __future__ import annotations

import json
from typing import Any

_FREE = 14_000_000


def parse(raw: bytes, size: int | None = None) -> Any:
    """What a JSON text holds.

    Parameters
    ----------
    raw : bytes
        UTF-8.
    size : int, optional
        Bytes of the file that it is a part of, where it is not the whole file.

    Raises
    ------
    ValueError
        If it is no JSON as RFC 8259 has it: NaN and Infinity, which Python accepts, are not; nor a name twice in an
        object. If it is nested too deeply; or if parsed it would take more than ten times the file and 14 MB, which
        only a text made for that does.
    """
    takes = _takes(raw)
    if takes > 10 * (len(raw) if size is None else size) + _FREE:
        raise ValueError(f"parsed, its {len(raw)} bytes would take {takes}")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _takes(raw: bytes) -> int:
    """An upper bound of the memory that parsing takes.

    An empty list is two bytes of text and an object of 56; a string of two letters takes 51. The text itself is there
    as bytes and as a string of up to four bytes a letter, and so may be its strings.
    """
    objects = sum(raw.count(mark) for mark in (b"[", b"{", b","))
    return 64 * objects + 32 * raw.count(b'"') + 9 * len(raw)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
