"""One run of a model with every call of a module noted: what went in, what came out, and the gradients of both.

There are two kinds of run. In a *free* one each layer goes on with what the layer before it computed. In a *forced* one
every call of a module is given the inputs that a free run noted, and its caller the outputs noted there, so that each
call is computed and differentiated by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn import autograd
from gpunn._creation import tensor
from gpunn._device import Device
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.nn.module import Module


@dataclass
class Call:
    """One call of a module.

    Attributes
    ----------
    arrays : dict
        What was computed, by what it is: ``output``, ``gradient of input``, ``buffer running_mean``, ... A key's second
        part says whether it belongs to backward.
    inputs, outputs : list of (array, bool)
        Values of the tensors that went in and came out, and whether they required a gradient.
    input_gradients, output_gradients : dict
        By number; where backward brought one.
    """

    module: Module
    name: str
    number: int
    arrays: dict[tuple[str, bool], np.ndarray] = field(default_factory=dict)
    inputs: list[tuple[np.ndarray, bool]] = field(default_factory=list)
    outputs: list[tuple[np.ndarray, bool]] = field(default_factory=list)
    input_gradients: dict[int, np.ndarray] = field(default_factory=dict)
    output_gradients: dict[int, np.ndarray] = field(default_factory=dict)
    calls_others: bool = False
    finished: bool = False
    error: str = ""
    # Of a forced call: what its own code computed, with the gradient that belongs there, and the leaves it began with.
    roots: list[tuple[Tensor, np.ndarray | None]] = field(default_factory=list)
    leaves: list[tuple[str, Tensor]] = field(default_factory=list)


def shown(name: str) -> str:
    """A module's name in the user's model, which is called ``model`` in what is compared."""
    return name.removeprefix("model").removeprefix(".")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def with_tensors(value: Any, made: Iterator[Tensor]) -> Any:
    """The same structure with other tensors."""
    if isinstance(value, Tensor):
        return next(made)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(with_tensors(item, made) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(with_tensors(item, made) for item in value)
    if isinstance(value, dict):
        return {key: with_tensors(item, made) for key, item in value.items()}
    return value


def host(value: Tensor) -> np.ndarray:
    """A copy in NumPy's memory, which later changes in place do not reach."""
    return np.array(value.detach().cpu().numpy(), copy=True)


class Recorder:
    """Runs a model once and notes all calls.

    Parameters
    ----------
    model : Module
        A copy that belongs to this run, on its device.
    device : Device
    forced : list of Call, optional
        The calls of a free run, for a forced one.
    sway : numpy.random.Generator, optional
        Changes each given number by one rounding, up or down at random.
    """

    def __init__(
        self,
        model: Module,
        device: Device,
        forced: list[Call] | None = None,
        sway: np.random.Generator | None = None,
    ) -> None:
        self.model, self.device, self.forced, self.sway = model, device, forced, sway
        self.calls: list[Call] = []
        self.error: Exception | None = None
        self._stack: list[Call] = []
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        for name, module in model.named_modules():
            self._names[id(module)] = name
            module.register_forward_pre_hook(self._before, with_kwargs=True)
            module.register_forward_hook(self._after, with_kwargs=True)
        if sway is not None:
            for parameter in model.parameters():
                parameter.data = tensor(self._swayed(host(parameter)), device=device)

    def run(self, inputs: tuple[Any, ...], seeds: Callable[[list[Tensor]], list[np.ndarray]]) -> None:
        """Forward and backward; ``seeds`` gives the gradients of the outputs. An error is kept, not raised."""
        try:
            output = self.model(*inputs)
            roots = [t for t in tensors_in(output) if t.requires_grad]
            if self.forced is None and roots:
                self._backward(roots, seeds(roots))
        except Exception as error:  # whatever the device raises is what is to be reported
            self.error = error
            if self._stack:
                self._stack[-1].error = one_line(error)
        if self.forced is not None:  # also of those that came before an error
            for call in reversed(self.calls):
                self._backward_of(call)

    # -- forward -----------------------------------------------------------------------------------

    def _before(self, module: Module, args: Any, kwargs: Any) -> Any:
        name = self._names[id(module)]
        self._numbers[name] = self._numbers.get(name, 0) + 1
        call = Call(module, name, self._numbers[name])
        caller = self._stack[-1] if self._stack else None
        if caller is not None:
            caller.calls_others = True
        self.calls.append(call)
        self._stack.append(call)
        given = list(tensors_in((args, kwargs)))
        call.inputs = [(host(t), t.requires_grad) for t in given]
        if self.forced is None:
            made = [self._watched(t, call.input_gradients, i) if t.requires_grad else t for i, t in enumerate(given)]
        else:
            noted = self._noted(call)
            if caller is not None:
                self._keep(caller, f"input of {shown(name)}", given, noted.input_gradients)
            made = self._leaves(call, "input", noted.inputs)
        return with_tensors((args, kwargs), iter(made))

    def _after(self, module: Module, args: Any, kwargs: Any, output: Any) -> Any:
        call = self._stack.pop()
        while call.module is not module:  # one that raised an exception, which the caller's code caught
            call = self._stack.pop()
        call.finished = True
        made = list(tensors_in(output))
        call.outputs = [(host(t), t.requires_grad) for t in made]
        for name, buffer in module.named_buffers(recurse=False):
            call.arrays[f"buffer {name}", False] = host(buffer)
        if self.forced is None:
            self._note(call, "output", made)
            for i, t in enumerate(made):
                if t.requires_grad:
                    t.register_hook(_noting(call.output_gradients, i))
            return None
        noted = self._noted(call)
        self._keep(call, "output", made, noted.output_gradients)
        if not self._stack:
            return None
        return with_tensors(output, iter(self._leaves(self._stack[-1], f"output of {shown(call.name)}", noted.outputs)))

    def _watched(self, t: Tensor, gradients: dict[int, np.ndarray], number: int) -> Tensor:
        """The same numbers for this call alone, whose gradient is noted."""
        copy = t.clone()
        if copy.requires_grad:  # not under no_grad
            copy.register_hook(_noting(gradients, number))
        return copy

    def _noted(self, call: Call) -> Call:
        """The call of the free run that this one repeats."""
        assert self.forced is not None
        place = self.calls.index(call)
        if place >= len(self.forced) or self.forced[place].name != call.name:
            raise RuntimeError(f"{call.name}: the model calls other layers than in its first run")
        return self.forced[place]

    def _keep(self, call: Call, what: str, made: list[Tensor], gradients: dict[int, np.ndarray]) -> None:
        """Note what a call's own code computed, with the gradient that belongs there."""
        self._note(call, what, made)
        call.roots += [(t, gradients.get(i)) for i, t in enumerate(made) if t.requires_grad]

    def _note(self, call: Call, what: str, made: list[Tensor]) -> None:
        for i, t in enumerate(made):
            call.arrays[_unused(call.arrays, f"{what} {i}" if len(made) > 1 else what, False)] = host(t)

    def _leaves(self, call: Call, what: str, noted: list[tuple[np.ndarray, bool]]) -> list[Tensor]:
        """New tensors with the noted numbers. They are copies of leaves: a leaf may not be changed in place."""
        made = []
        for i, (values, wanted) in enumerate(noted):
            leaf = tensor(self._swayed(values), device=self.device)
            if wanted:
                leaf.requires_grad = True
                call.leaves.append((f"{what} {i}" if len(noted) > 1 else what, leaf))
                leaf = leaf.clone()
            made.append(leaf)
        return made

    def _swayed(self, values: np.ndarray) -> np.ndarray:
        if self.sway is None or values.dtype.kind not in FLOATING:
            return values
        signs = self.sway.integers(0, 2, values.shape) * 2 - 1
        return np.asarray(values * (1 + signs * np.finfo(values.dtype).eps), values.dtype)

    # -- backward ----------------------------------------------------------------------------------

    def _parameters(self) -> list[tuple[str, Tensor]]:
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def _backward(self, roots: list[Tensor], seeds: list[np.ndarray]) -> None:
        """The whole model's backward; parameters' gradients belong to the last call of their layer."""
        named = self._parameters()
        given = [tensor(seed, device=self.device) for seed in seeds]
        targets = [p for _, p in named]
        found = autograd.grad(roots, targets, given, allow_unused=True) if targets else ()
        if not targets:
            for root, seed in zip(roots, given, strict=True):
                root.backward(seed)
        last = {call.name: call for call in self.calls}
        for (name, _), gradient in zip(named, found, strict=True):
            owner, _, short = name.rpartition(".")
            call = last.get(owner, self.calls[0])
            if gradient is not None:
                call.arrays[f"gradient of {short if call.name == owner else name}", True] = host(gradient)
        for call in self.calls:
            for i, values in call.input_gradients.items():
                label = "gradient of input" if len(call.inputs) == 1 else f"gradient of input {i}"
                call.arrays[label, True] = values

    def _backward_of(self, call: Call) -> None:
        """One call's own backward."""
        # Of an output that has another form than the reference's nothing more can be said.
        known = [(t, g) for t, g in call.roots if g is not None and (t.shape, t.dtype) == (g.shape, g.dtype)]
        pairs = [(t, self._swayed(g)) for t, g in known]
        named = [*call.leaves, *self._parameters()]
        if not pairs or not named or not call.finished:
            return
        given = [tensor(g, device=self.device) for _, g in pairs]
        try:
            found = autograd.grad([t for t, _ in pairs], [t for _, t in named], given, allow_unused=True)
        except Exception as error:  # as in run: reported for this call, and the others go on
            call.error = one_line(error)
            return
        for (name, _), gradient in zip(named, found, strict=True):
            if gradient is not None:
                short = name.removeprefix(f"{call.name}.") if call.name else name
                call.arrays[_unused(call.arrays, f"gradient of {short}", True)] = host(gradient)


def _noting(gradients: dict[int, np.ndarray], number: int) -> Callable[[Tensor], None]:
    def note(gradient: Tensor) -> None:
        gradients[number] = host(gradient)

    return note


def _unused(arrays: dict[tuple[str, bool], np.ndarray], what: str, backward: bool) -> tuple[str, bool]:
    """A key that is not taken: a layer may be called twice by the same module."""
    key, again = (what, backward), 2
    while key in arrays:
        key, again = (f"{what}, call {again}", backward), again + 1
    return key


def one_line(error: Exception) -> str:
    """An exception's class and text."""
    return " ".join(f"{type(error).__name__}: {error}".split())
