"""Optimisers that update all parameters of a group at once, and can be captured.

The numbers of a rule (learning rate, bias corrections, …) are computed on the host for every step and written to
device words (:class:`gpunn.ops.write_scalars.StepScalars`), which the update kernel reads: a captured step follows a
schedule, and its bias corrections continue. Whatever selects the code that runs (an extra buffer, Nesterov's form) is
frozen in the capture; a replay refuses to run if that has changed.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import numpy as np

from gpunn._capture_state import capturing, changes, watching
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import FLOAT32, is_half
from gpunn._tensor import Tensor
from gpunn.errors import CaptureError, UsageError
from gpunn.ops.write_scalars import StepScalars
from gpunn.optim.optimizer import Optimizer, like, step_count
from gpunn.primitive import Primitive


class FusedOptimizer(Optimizer):
    """Base of all optimisers with a kernel; a subclass provides the numbers, the buffers and the launch."""

    _primitive: ClassVar[Primitive]
    _buffers_are: ClassVar[str] = "running averages"  # what messages call the buffers
    _counted: ClassVar[dict[str, float]] = {"step": 0}  # a parameter's numbers on the host, and what they begin with

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._scalars: dict[tuple[int, Device, np.dtype, int], StepScalars] = {}
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._scalars = {}

    # -- what a subclass provides --------------------------------------------------------------

    @abc.abstractmethod
    def _numbers(self, group: dict[str, Any], step: int) -> tuple[float, ...]:
        """The device words of a step, at most 16, from the numbers of ``_counted`` after it: ``step`` begins with 1."""

    @abc.abstractmethod
    def _buffers(self, group: dict[str, Any]) -> dict[str, bool]:
        """The names of a parameter's buffers in the order of the launch, and whether the options need them."""

    def _after(self, group: dict[str, Any], before: tuple[float, ...]) -> tuple[Any, ...]:
        """The numbers of ``_counted`` after one more step."""
        return tuple([int(step) + 1 for step in before])

    def _launch(
        self,
        device: Device,
        group: dict[str, Any],
        params: list[Any],
        grads: list[Any],
        buffers: list[list[Any]],
        new: list[bool],
        scalars: Any,
    ) -> None:
        """Call the primitive on physical arrays; ``new`` marks parameters whose buffers were just made."""
        self._primitive(device, params, grads, *buffers, scalars, device.error_buffer)

    def _flags(self, group: dict[str, Any]) -> tuple[bool, ...]:
        """Options, besides the buffers, whose changes a captured launch cannot follow."""
        return ()

    def _new_buffer(self, group: dict[str, Any], name: str, p: Tensor) -> Tensor:
        """A buffer's first value."""
        return Tensor._of_physical(p.device.zeros(p._physical.shape, p.dtype), p.device)

    # -- the step ------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient: one launch for a group on one device.

        Nothing is written once a kernel has reported bad data (``Device.check``).

        Parameters
        ----------
        closure : callable, optional
            Recomputes the loss and its gradients; called first, and its result is returned.
        """
        loss = None if closure is None else closure()
        for index, group in enumerate(self.param_groups):
            # Parameters that joined later have different bias corrections, so they need a launch of their own.
            together: dict[tuple[Device, np.dtype, tuple[float, ...]], list[Tensor]] = {}
            for p in group["params"]:
                gradient = p.grad
                if gradient is None:
                    continue
                own, given = p._physical, gradient._physical
                # A user may have set it, and the kernel cannot check.
                if given.shape != own.shape or given.dtype != own.dtype or gradient.device is not p.device:
                    self._refuse_gradient(p, gradient)
                together.setdefault((p.device, own.dtype, self._numbers_of(p)), []).append(p)
            for (device, dtype, _), members in together.items():
                self._update(index, group, device, dtype, members)
        return loss

    def _update(
        self, index: int, group: dict[str, Any], device: Device, dtype: np.dtype, members: list[Tensor]
    ) -> None:
        watched = watching()
        scalars = self._words(index, group, device, dtype)
        new, columns = self._prepare(group, members)
        if watched is not None:
            watched.before_replay[scalars] = self._before_replay(group, members, scalars)
        if watched is None or not watched.frozen:
            scalars.write(*self._numbers(group, *self._advance(group, members)))
        nothing = [None] * len(members)
        buffers: list[list[Any]] = [columns.get(name, nothing) for name in self._buffers(group)]
        params, grads = [p._physical for p in members], [p.grad._physical for p in members if p.grad is not None]
        self._launch(device, group, params, grads, buffers, new, scalars.array)
        for p in members:
            p._storage.changed()

    def _words(self, index: int, group: dict[str, Any], device: Device, dtype: np.dtype) -> StepScalars:
        """Device words for one launch. Each launch of a captured step needs its own."""
        watched, number = watching(), 0
        while True:
            key = (index, device, dtype, number)
            scalars = self._scalars.get(key)
            if scalars is None:
                if capturing() is not None:
                    raise CaptureError(
                        f"{self._name}: the first step allocates memory and cannot be captured; run one step first."
                    )
                first = self._after(group, tuple(self._counted.values()))
                kind = FLOAT32 if is_half(dtype) else dtype  # a learning rate of 16 bits would have two or three digits
                scalars = self._scalars[key] = StepScalars(device, kind, len(self._numbers(group, *first)))
            if watched is None or scalars not in watched.before_replay:
                return scalars
            number += 1

    def _before_replay(self, group: dict[str, Any], members: list[Tensor], scalars: StepScalars) -> Callable[[], None]:
        """What to do before each replay of the launch that is captured with these members.

        In as many lines of Python for a hundred parameters as for one: while nobody has changed the state
        (``_capture_state.changes``), only the numbers of steps and the options are looked at.
        """
        form, buffers = self._form(group), self._buffers_of(group, members)
        seen, counts = -1, np.zeros((0, 0), np.float32)

        def prepare() -> None:
            nonlocal seen, counts
            if self._form(group) != form:
                self._refuse_replay()
            if changes.count != seen:
                if any(a is not b for a, b in zip(self._buffers_of(group, members), buffers, strict=True)):
                    self._refuse_replay()
                counts = self._shared_numbers(members)
                seen = changes.count
            if (counts != counts[0]).any():
                raise CaptureError(
                    f"{self._name}: parameters that had the same {' and '.join(self._counted)} no longer have, since "
                    "this step was captured; capture it again."
                )
            counts[...] = now = self._after(group, tuple(counts[0].tolist()))
            scalars.write(*self._numbers(group, *now))

        return prepare

    def _refuse_replay(self) -> NoReturn:
        raise CaptureError(
            f"{self._name}: {self._buffers_are} were replaced, or an option that switches them on or off or "
            "changes the rule, since this step was captured; capture it again."
        )

    def _shared_numbers(self, members: list[Tensor]) -> np.ndarray:
        """The members' numbers of ``_counted`` in one array, of which what each member's state holds are elements."""
        counts = np.array([self._numbers_of(p) for p in members], np.float32)
        for row, p in zip(counts, members, strict=True):
            for i, name in enumerate(self._counted):
                self.state[p][name] = Tensor._of_physical(row[i : i + 1].reshape(()), get_device("cpu"))
        return counts

    def _form(self, group: dict[str, Any]) -> tuple[Any, ...]:
        """The rule's form, which must not change under a captured launch."""
        return (*self._buffers(group).values(), *self._flags(group))

    def _buffers_of(self, group: dict[str, Any], members: list[Tensor]) -> list[Tensor | None]:
        """The members' buffers, which a captured launch points to."""
        names = [name for name, wanted in self._buffers(group).items() if wanted]
        return [self.state.get(p, {}).get(name) for name in names for p in members]

    def _numbers_of(self, p: Tensor) -> tuple[float, ...]:
        """The numbers of ``_counted`` of this parameter."""
        if not self._counted:
            return ()
        state = self.state.get(p, {})
        return tuple(
            [state[name]._physical.item() if name in state else start for name, start in self._counted.items()]
        )

    def _advance(self, group: dict[str, Any], members: list[Tensor]) -> tuple[Any, ...]:
        """Count one more step for each; returns the numbers of ``_counted``, which are the same for all."""
        now = self._after(group, self._numbers_of(members[0]))
        for p in members if self._counted else ():
            state = self.state[p]
            for name, number in zip(self._counted, now, strict=True):
                state[name]._physical.fill(number)
        return now

    def _prepare(self, group: dict[str, Any], members: list[Tensor]) -> tuple[list[bool], dict[str, list[Any]]]:
        """Make missing buffers, and move those of a parameter that was moved: (whose were made, arrays by name)."""
        columns: dict[str, list[Any]] = {name: [] for name, used in self._buffers(group).items() if used}
        wanted = list(columns)
        new = [False] * len(members)
        for i, p in enumerate(members):
            state = self.state[p] if wanted or self._counted else {}
            for name, start in self._counted.items():
                if name not in state:
                    self._refuse_in_capture()
                    state[name] = step_count(start)
            for name in wanted:
                buffer = state.get(name)
                if buffer is None:
                    self._refuse_in_capture()
                    buffer = state[name] = self._new_buffer(group, name, p)
                    new[i] = True
                elif buffer.device is not p.device or buffer.dtype != p.dtype:
                    self._refuse_in_capture()
                    buffer = state[name] = like(p, buffer, None)
                columns[name].append(buffer._physical)
        return new, columns

    def _refuse_in_capture(self) -> None:
        if capturing() is not None:
            raise CaptureError(
                f"{self._name}: the first step creates {self._buffers_are} and cannot be captured; run one step first."
            )

    def _refuse_gradient(self, p: Tensor, gradient: Tensor) -> NoReturn:
        raise UsageError(
            f"{self._name}: expected a gradient of shape {p.shape}, {p.dtype} on {p.device} as its parameter; "
            f"got shape {gradient.shape}, {gradient.dtype} on {gradient.device}."
        )


def sign_of(group: dict[str, Any]) -> float:
    """-1 if the group maximises, else 1."""
    return -1.0 if group["maximize"] else 1.0
