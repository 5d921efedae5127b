"""What a comparison of two devices found: one row for each call of a layer, and the first that diverges."""

from __future__ import annotations

import math
from dataclasses import dataclass

HEADINGS = ("layer", "type", "forward", "backward", "of tolerance", "accumulated", "")
_RULE = "-"


@dataclass(frozen=True)
class Difference:
    """How far one array is from the reference's.

    Attributes
    ----------
    what : str
        ``output``, ``gradient of input``, ``gradient of weight``, ``buffer running_mean``, ...
    backward : bool
        Whether it is a gradient.
    largest : float
        The largest absolute difference; infinite where only one side is a finite number, or the shapes differ.
    scale : float
        The reference's largest magnitude.
    tolerance : float
        What rounding explains, see :func:`gpunn.lockstep`.
    note : str
        What is wrong with the array as a whole: its shape, or that it is missing.
    """

    what: str
    backward: bool
    largest: float
    scale: float
    tolerance: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """The largest difference in units of the tolerance."""
        if self.largest == 0:
            return 0.0
        return self.largest / self.tolerance if self.tolerance > 0 else math.inf

    @property
    def diverges(self) -> bool:
        """Whether it is more than rounding explains."""
        return not self.ratio <= 1

    @property
    def relative(self) -> float:
        """The largest difference by the scale."""
        return self.largest / self.scale if self.scale > 0 else (0.0 if self.largest == 0 else math.inf)

    def __str__(self) -> str:
        if self.note:
            return f"{self.what}: {self.note}"
        share = f"{self.relative:.2g} of its largest number"
        return f"{self.what} by {self.largest:.3g} ({share}) where rounding explains {self.tolerance:.2g}"


@dataclass(frozen=True)
class LayerComparison:
    """One call of one layer, given the same inputs and output gradients on both devices.

    Attributes
    ----------
    name, kind : str
        Dotted name in the model, and class.
    call : int
        1 for the first call of this layer.
    differences : tuple of Difference
    accumulated : float or None
        The output's largest difference by its scale where each device goes on with its own numbers. None where
        the second device did not get so far.
    error : str
        What the second device raised, or empty.
    """

    name: str
    kind: str
    call: int
    differences: tuple[Difference, ...]
    accumulated: float | None = None
    error: str = ""

    @property
    def diverges(self) -> bool:
        """Whether an array differs by more than rounding, or the second device failed here."""
        return bool(self.error) or any(difference.diverges for difference in self.differences)

    @property
    def forward_diverges(self) -> bool:
        """The same, of what forward computes."""
        return bool(self.error) or any(d.diverges for d in self.differences if not d.backward)

    @property
    def worst(self) -> Difference | None:
        """The difference with the greatest ratio to its tolerance."""
        return max(self.differences, key=lambda d: (d.ratio, d.largest), default=None)

    @property
    def place(self) -> str:
        """Name and class, and which call where it is not the first."""
        again = f", call {self.call}" if self.call > 1 else ""
        return f"{self.name} ({self.kind}{again})" if self.name else f"{self.kind}{again}"

    def _largest(self, backward: bool) -> str:
        found = [d.relative for d in self.differences if d.backward is backward]
        return f"{max(found):.1e}" if found else _RULE

    def cells(self) -> tuple[str, ...]:
        """The row as strings, one for each of ``HEADINGS``."""
        name = self.name if self.call == 1 else f"{self.name} ({self.call})"
        worst = self.worst
        note = self.error or ("; ".join(str(d) for d in self.differences if d.diverges))
        ratio = _RULE if worst is None else f"{worst.ratio:.1%}" if worst.ratio < 10 else f"{worst.ratio:,.0f} x"
        accumulated = _RULE if self.accumulated is None else f"{self.accumulated:.1e}"
        forward, backward = self._largest(False), self._largest(True)
        return name or "(model)", self.kind, forward, backward, ratio, accumulated, f"DIVERGES: {note}" if note else ""


@dataclass(frozen=True)
class LockstepReport:
    """The comparison of two devices; ``print`` shows a table.

    Attributes
    ----------
    devices : tuple of str
        The reference, and the one that was compared with it.
    layers : tuple of LayerComparison
        In the order of their calls. Modules that only hold others have a row where their own code diverges. Layers that
        a Sequential runs as one op have a row of their own after all others.
    stopped : str
        The error that ended the second device's own run, or empty.
    """

    devices: tuple[str, str]
    layers: tuple[LayerComparison, ...]
    stopped: str = ""

    @property
    def first(self) -> LayerComparison | None:
        """The first layer that diverges, in the order in which a training step runs; None if none does."""
        for layer in self.layers:
            if layer.forward_diverges:
                return layer
        # Backward goes from the last layer to the first.
        return next((layer for layer in reversed(self.layers) if layer.diverges), None)

    @property
    def agrees(self) -> bool:
        """Whether no layer diverges."""
        return self.first is None and not self.stopped

    def verdict(self) -> str:
        """One sentence: who diverges first, in what and by how much."""
        reference, other = self.devices
        first = self.first
        if first is None:
            if self.stopped:
                return f"{other} stopped: {self.stopped}"
            count = len(self.layers)
            return f"{other} agrees with {reference}: {count} call{'s' * (count != 1)} of layers, forward and backward."
        if first.error:
            return f"{first.place} is the first to fail on {other}: {first.error}"
        found = [d for d in first.differences if d.diverges]
        worst = max((d for d in found if not d.backward), default=None, key=lambda d: d.ratio) or first.worst
        return f"{first.place} is the first that diverges on {other} from {reference}: {worst}."

    def __str__(self) -> str:
        rows = [HEADINGS, *(layer.cells() for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            cells = [
                c.ljust(w) if i in (0, 1, 6) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        rule = "-" * max(map(len, lines[:1]))
        return "\n".join([lines[0], rule, *lines[1:], rule, self.verdict()])
