"""L-BFGS: quasi-Newton steps from the last changes of the parameters and of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gpunn import tape
from gpunn._capture_state import watching
from gpunn._tensor import Tensor
from gpunn.errors import CaptureError, UsageError
from gpunn.ops.cat import cat
from gpunn.ops.dot import dot
from gpunn.optim._strong_wolfe import Point, strong_wolfe
from gpunn.optim.optimizer import Optimizer, like, positive

_LEAST_CURVATURE = 1e-10  # below it a pair of changes says nothing of the curvature
_COUNTS, _NUMBERS = ("func_evals", "n_iter"), ("t", "H_diag", "prev_loss")
_VECTORS, _LISTS = ("d", "prev_flat_grad"), ("old_dirs", "old_stps")


class LBFGS(Optimizer):
    """Limited-memory BFGS, as in PyTorch: each step evaluates the loss several times.

    The direction is -H gradient, with H the inverse Hessian as the last ``history_size`` changes of parameters and
    gradient describe it (Nocedal, Wright, "Numerical optimization", algorithm 7.4). All parameters are one vector, so
    there is one group. A captured step refuses it: how often the loss is evaluated depends on its values.

    Parameters
    ----------
    params : iterable of Tensor
        Leaves that require gradients.
    lr : float
        The length of a step, in units of the quasi-Newton step.
    max_iter : int
        Iterations of one ``step()``.
    max_eval : int, optional
        Evaluations of one ``step()``; 5/4 of ``max_iter`` if not given.
    tolerance_grad : float
        Stop when no element of the gradient is larger.
    tolerance_change : float
        Stop when no parameter, or the loss, changes more.
    history_size : int
        How many changes are kept.
    line_search_fn : str, optional
        ``"strong_wolfe"`` looks for a length of step that makes loss and slope small enough; none if not given.

    Raises
    ------
    UsageError
        If there are several groups, or an option is invalid.

    Examples
    --------
    >>> import gpunn
    >>> x = gpunn.tensor([3.0], requires_grad=True)
    >>> optimizer = gpunn.optim.LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (x - 1).square().sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> round(x.item(), 5)
    1.0

    References
    ----------
    Liu, Nocedal 1989, "On the limited memory BFGS method for large scale optimization".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if max_eval is None and isinstance(max_iter, int):
            max_eval = max_iter * 5 // 4
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the one group of parameters.

        Parameters
        ----------
        param_group : dict
            See :class:`Optimizer`.
        """
        if self.param_groups:
            raise UsageError("LBFGS: expected one group of parameters, as all of them are one vector; got several.")
        super().add_param_group(param_group)

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        for name in ("tolerance_grad", "tolerance_change"):
            positive("LBFGS", name, options[name])
        for name in ("max_iter", "max_eval", "history_size"):
            value = options[name]
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise UsageError(f"LBFGS: {name}: expected a whole number of at least 1; got {value!r}.")
        if options["line_search_fn"] not in (None, "strong_wolfe"):
            raise UsageError(
                f"LBFGS: line_search_fn: expected None or 'strong_wolfe'; got {options['line_search_fn']!r}."
            )

    # -- all parameters as one vector --------------------------------------------------------------

    @property
    def _members(self) -> list[Tensor]:
        members: list[Tensor] = self.param_groups[0]["params"]
        return members

    def _gradient(self) -> Tensor:
        parts = [(p.detach() * 0 if p.grad is None else p.grad.detach()).reshape(-1) for p in self._members]
        return cat(parts)

    def _move(self, by: float, direction: Tensor) -> None:
        begin = 0
        for p in self._members:
            count = p.numel()
            p.add_(direction[begin : begin + count].reshape(p.shape), alpha=by)
            begin += count

    # -- a step ------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to ``max_iter`` iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss and its gradients, and returns the loss; called several times.

        Returns
        -------
        the loss of the first evaluation

        Raises
        ------
        UsageError
            If there is no closure.
        CaptureError
            In a captured step.
        """
        if watching() is not None:
            raise CaptureError(
                "LBFGS: how often it evaluates the loss depends on the loss, so its step cannot be captured. Leave the "
                "step uncaptured, or use any other optimiser."
            )
        if closure is None:
            raise UsageError("LBFGS.step: closure: expected a function that computes the loss and its gradients.")
        evaluate = closure

        def again() -> Any:
            with tape.enable_grad():
                return evaluate()

        with tape.no_grad():
            return self._iterate(again)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group, state = self.param_groups[0], self.state[self._members[0]]
        first = closure()
        loss, gradient, evaluations = float(first), self._gradient(), 1
        state["func_evals"] = state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        d, t, iterations = state.get("d"), state.get("t"), 0
        while True:
            iterations += 1
            state["n_iter"] += 1
            d = self._direction(state, d, t, gradient)
            state["prev_flat_grad"], state["prev_loss"] = gradient.clone(), loss
            t = group["lr"]
            if state["n_iter"] == 1:
                t *= min(1.0, 1.0 / float(gradient.abs().sum()))
            slope, last = float(dot(gradient, d)), loss
            if slope > -group["tolerance_change"]:
                break
            t, loss, gradient, spent = self._advance(closure, t, d, Point(0.0, loss, gradient, slope), iterations)
            evaluations += spent
            state["func_evals"] += spent
            if (
                iterations == group["max_iter"]
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(d) * abs(t) <= group["tolerance_change"]
                or abs(loss - last) < group["tolerance_change"]
            ):
                break
        state["d"], state["t"] = d, t
        return first

    def _direction(self, state: Any, d: Tensor | None, t: Any, gradient: Tensor) -> Tensor:
        """The quasi-Newton direction, with the last step taken into the history."""
        if state["n_iter"] == 1 or d is None:
            state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"] = [], [], [], 1.0
            return -gradient
        changed, moved = gradient - state["prev_flat_grad"], d * t
        curvature = float(dot(changed, moved))
        if curvature > _LEAST_CURVATURE:
            for name, value in (("old_dirs", changed), ("old_stps", moved), ("ro", 1.0 / curvature)):
                kept = state[name]
                kept.append(value)
                del kept[: -self.param_groups[0]["history_size"]]
            state["H_diag"] = curvature / float(dot(changed, changed))
        # The two loops of algorithm 7.4: backwards through the history, and forwards again.
        q, pairs, weights = -gradient, [*zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True)], []
        for y, s, rho in reversed(pairs):
            weights.append(float(dot(s, q)) * rho)
            q = q - y * weights[-1]
        r = q * state["H_diag"]
        for (y, s, rho), weight in zip(pairs, reversed(weights), strict=True):
            r = r + s * (weight - float(dot(y, r)) * rho)
        return r

    def _advance(
        self, closure: Callable[[], Any], t: float, d: Tensor, start: Point, iterations: int
    ) -> tuple[float, float, Tensor, int]:
        """Move along ``d``; the length, the loss and the gradient there, and how many evaluations it took."""
        group = self.param_groups[0]
        if group["line_search_fn"] is None:
            self._move(t, d)
            if iterations == group["max_iter"]:  # nobody asks for them any more
                return t, start.loss, start.gradient, 0
            return t, float(closure()), self._gradient(), 1
        places = [p.clone() for p in self._members]

        def look(length: float) -> Point:
            self._move(length, d)
            loss, gradient = float(closure()), self._gradient()
            for p, place in zip(self._members, places, strict=True):
                p.copy_(place)
            return Point(length, loss, gradient, float(dot(gradient, d)))

        found, spent = strong_wolfe(look, t, start, _largest(d), group["tolerance_change"])
        self._move(found.t, d)
        return found.t, found.loss, found.gradient, spent

    # -- saving ------------------------------------------------------------------------------------

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load options and a copy of the history, also PyTorch's.

        Parameters
        ----------
        state_dict : mapping
            From ``state_dict()``.

        Raises
        ------
        UsageError
            If the parameters differ in number, or the history in length.
        """
        super().load_state_dict({**state_dict, "state": {}})
        saved = state_dict["state"].get(0)
        if not saved:
            return
        first, length = self._members[0], sum(p.numel() for p in self._members)

        def vector(name: str, values: Any) -> Tensor:
            if tuple(values.shape) != (length,):
                raise UsageError(
                    f"LBFGS.load_state_dict: {name}: expected vectors of {length} numbers; got {tuple(values.shape)}."
                )
            return like(first, values, None)

        state = self.state[first]
        for name in _COUNTS:
            state[name] = int(saved.get(name, 0))
        for name in _NUMBERS:
            if saved.get(name) is not None:
                state[name] = float(saved[name])
        for name in _VECTORS:
            if saved.get(name) is not None:
                state[name] = vector(name, saved[name])
        for name in _LISTS:
            state[name] = [vector(name, values) for values in saved.get(name) or ()]
        state["ro"] = [float(value) for value in saved.get("ro") or ()]


def _largest(x: Tensor) -> float:
    """The largest magnitude; NaN if there is one, which ends no loop by itself."""
    value = float(x.abs().max()) if x.numel() else 0.0
    return math.inf if math.isnan(value) else value
