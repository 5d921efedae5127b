"""The perceptron and its learning rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpunn._creation import zeros
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn._arguments import whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.step import step
from gpunn.tape import no_grad


@dataclass(frozen=True)
class PerceptronFit:
    """How :meth:`Perceptron.fit` went.

    Attributes
    ----------
    converged : bool
        Whether the last epoch had no mistakes. If not, the two classes may not be separable by a line.
    mistakes : list of int
        Misclassified points in each epoch, in order.
    """

    converged: bool
    mistakes: list[int]

    @property
    def epochs(self) -> int:
        """Epochs run, the clean one included."""
        return len(self.mistakes)


class Perceptron(Module):
    """One threshold unit: y = 1 if w · x + b >= 0, else 0.

    The step has no gradient, so it is trained by the perceptron rule (:meth:`fit`), not by an optimiser.

    Parameters
    ----------
    in_features : int
        Length of x, D.

    Attributes
    ----------
    weight : Parameter, (1, D)
        As in ``nn.Linear(D, 1)``, so that a logistic neuron can load the ``state_dict``. Initially 0.
    bias : Parameter, (1,)

    Shape
    -----
    x : (N, D) float32 or float64;  y : (N,), zeros and ones

    References
    ----------
    Rosenblatt 1958, "The perceptron"; lecture topics T1, T2.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.models import Perceptron
    >>> AND = gpunn.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), gpunn.tensor([0, 0, 0, 1])
    >>> unit = Perceptron(2)
    >>> unit.fit(*AND).converged
    True
    >>> unit(AND[0]).tolist()
    [0.0, 0.0, 0.0, 1.0]
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = whole("Perceptron", "in_features", in_features)
        self.weight = Parameter(zeros(1, in_features))
        self.bias = Parameter(zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2 or x.shape[1] != self.in_features:
            raise ShapeError(f"{here('Perceptron')}: expected x (N, {self.in_features}); got {x.shape}.")
        with no_grad():
            return step((x @ self.weight.T + self.bias).reshape(-1))

    def fit(self, x: Tensor, labels: Tensor, epochs: int = 100) -> PerceptronFit:
        """Apply the perceptron rule, point by point in order, until an epoch has no mistakes.

        w <- w + x on a missed positive, w <- w - x on a missed negative, with x extended by a 1 for the bias.
        A point on the line counts as class 1, as in :meth:`forward`.

        Parameters
        ----------
        x : Tensor, (N, D)
        labels : Tensor, (N,)
            Classes 0 and 1.
        epochs : int
            The most epochs: for classes that no line separates, such as XOR's, the rule never ends.

        Returns
        -------
        PerceptronFit

        Raises
        ------
        ShapeError
            If x and labels are incompatible.
        UsageError
            If a label is neither 0 nor 1, or ``epochs`` is less than 1.
        """
        points, classes = x.detach().numpy().astype(np.float64), labels.detach().numpy()
        if points.ndim != 2 or points.shape[1] != self.in_features or classes.shape != points.shape[:1]:
            raise ShapeError(
                f"Perceptron.fit: expected x (N, {self.in_features}) and labels (N,); got {x.shape} and {labels.shape}."
            )
        if not np.isin(classes, (0, 1)).all():
            raise UsageError("Perceptron.fit: expected labels 0 and 1; got others.")
        if epochs < 1:
            raise UsageError(f"Perceptron.fit: epochs: expected at least 1; got {epochs}.")
        extended = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        # Point by point on the host: each update depends on the one before.
        w = np.append(self.weight.detach().numpy()[0], self.bias.detach().numpy()).astype(np.float64)
        mistakes: list[int] = []
        while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
            missed = 0
            for point, label in zip(extended, classes, strict=True):
                error = int(label) - int(w @ point >= 0)
                w += error * point
                missed += error != 0
            mistakes.append(missed)
        with no_grad():
            self.weight.copy_(w[None, :-1])
            self.bias.copy_(w[-1:])
        return PerceptronFit(mistakes[-1] == 0, mistakes)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}"
