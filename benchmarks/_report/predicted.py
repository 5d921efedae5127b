"""What the cost model predicts for launches that were timed: one run on a card shows where it is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.bench.cards import CARDS, Card
from gpunn.bench.machine_code import MachineCodeError
from gpunn.bench.predict import predict, work_of
from gpunn.gpu.launcher import Launch


def this_card(target: Any) -> Card | None:
    """The card that a device is, by the name CUDA has for it; None where it is not one that is known."""
    try:
        name = target.xp.cuda.runtime.getDeviceProperties(target.ordinal).get("name", "")
    except AttributeError:  # no GPU: the report's own tests
        return None
    return card_named(name.decode() if isinstance(name, bytes) else str(name))


def card_named(name: str) -> Card | None:
    """The known card whose name stands in this one; of several the one with the longest name."""
    plain = name.replace(" ", "").upper()
    found = [card for card in CARDS.values() if card.name.upper() in plain]
    return max(found, key=lambda card: len(card.name), default=None)


def predicted(launches: Sequence[Launch], card: Card | None, measured: float) -> dict[str, Any]:
    """The columns "predicted µs", "limit" and "÷ predicted"; empty where a kernel or the card is not known.

    Parameters
    ----------
    launches : sequence of Launch
    card : Card or None
    measured : float
        Microseconds that they took together.
    """
    empty = {"predicted µs": None, "limit": "", "÷ predicted": None}
    if card is None or not launches:
        return empty
    try:
        found = [predict(work_of(launch), card) for launch in launches]
    except MachineCodeError:  # neither in the table, nor is there a disassembler
        return empty
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return empty
    us = sum(one.us for one in known)
    return {"predicted µs": us, "limit": max(known, key=lambda one: one.us).limit, "÷ predicted": measured / us}
