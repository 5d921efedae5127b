"""What an examination of a model's layers found, as rows, as text and as sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_FIXES = {
    "not finite": "lower the learning rate, or clip the gradients",
    "vanishing": "use ReLU, Kaiming's or Xavier's initial values, batch norm, or residual connections",
    "exploding": "use smaller initial values (Kaiming's or Xavier's), batch norm, or clip the gradients",
    "dead": "lower the learning rate, set the biases to 0, or use LeakyReLU",
    "saturated": "use smaller initial values, standardise the inputs, or put batch norm before it",
}
_HEADINGS = ("layer", "type", "mean", "std", "zeros", "dead", "saturated", "gradient", "of last", "weights", "dw/w", "")
_TEXTS = (_HEADINGS[0], _HEADINGS[1], _HEADINGS[-1])  # aligned to the left


@dataclass(frozen=True)
class LayerHealth:
    """What one layer did, over all calls in all batches.

    Attributes
    ----------
    name, kind : str
        Dotted name in the model, and class.
    output_mean, output_std : float
        Over all elements of the outputs.
    zeros : float
        The share of the outputs, 0 to 1, that is exactly 0.
    dead : float or None
        The share of the units that do nothing for any of the images: of a ReLU those whose output is always 0, of
        a layer with parameters those that no gradient reaches. A unit is a channel of an image, and a feature
        elsewhere. None for layers without parameters that cannot die.
    saturated : float or None
        The share of the outputs of a Sigmoid, Tanh or Hardtanh at which its slope is below a twentieth of its
        largest. None for others.
    gradient_norm : float or None
        L2 norm of the loss's gradient with respect to the layer's outputs: the root mean square over the batches.
        None where no gradient is computed.
    gradient_of_last : float or None
        ``gradient_norm`` divided by that of the last layer.
    weight_norm, weight_gradient_norm : float or None
        L2 norms of the layer's own parameters and of their gradient. None for layers without.
    verdicts : tuple of str
        Any of "not finite", "vanishing", "exploding", "dead" and "saturated"; empty for a healthy layer.
    """

    name: str
    kind: str
    output_mean: float
    output_std: float
    zeros: float
    dead: float | None
    saturated: float | None
    gradient_norm: float | None
    gradient_of_last: float | None
    weight_norm: float | None
    weight_gradient_norm: float | None
    verdicts: tuple[str, ...]

    @property
    def update_ratio(self) -> float | None:
        """``weight_gradient_norm / weight_norm``: times the learning rate, the share that a step of SGD changes."""
        if self.weight_norm is None or self.weight_gradient_norm is None or not self.weight_norm:
            return None
        return self.weight_gradient_norm / self.weight_norm

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        return (
            self.name,
            self.kind,
            *map(_number, (self.output_mean, self.output_std)),
            *map(_percent, (self.zeros, self.dead, self.saturated)),
            *map(_number, (self.gradient_norm, self.gradient_of_last, self.weight_norm, self.update_ratio)),
            ", ".join(self.verdicts),
        )


@dataclass(frozen=True)
class HealthReport:
    """All layers in the order in which they were called; ``print`` shows a table and what to do.

    Attributes
    ----------
    layers : tuple of LayerHealth
    loss : float
        Mean over the batches.
    images : int
        How many went through.
    """

    layers: tuple[LayerHealth, ...]
    loss: float
    images: int

    @property
    def healthy(self) -> bool:
        """Whether no layer has a verdict."""
        return not any(layer.verdicts for layer in self.layers)

    def findings(self) -> list[str]:
        """For each verdict one sentence: the layers it is about, and what helps."""
        found = []
        for verdict, fix in _FIXES.items():
            rows = [layer for layer in self.layers if verdict in layer.verdicts]
            if rows:
                names = [f"{row.name} ({row.kind})" for row in rows[:4]]
                more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
                what = f"{verdict} gradients" if verdict in ("vanishing", "exploding") else verdict
                found.append(f"{what}: {', '.join(names)}{more}. To mend it: {fix}.")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        rows = [_HEADINGS, *(layer.cells() for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                c.ljust(w) if h in _TEXTS else c.rjust(w) for h, c, w in zip(_HEADINGS, row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, *(self.findings() or ["no layer stands out"])])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
