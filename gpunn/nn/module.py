"""Module: the base of every layer and model.

A module knows its parameters, buffers and inner modules because assigning one to an attribute
registers it, under the same rules and in the same order as PyTorch's, so that names in a
``state_dict`` agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from gpunn._calls import failed
from gpunn._capture_state import changes, refuse_in_capture, watching
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import FLOATING
from gpunn._interop import constants, dtype_of, is_array
from gpunn._keywords import with_our_names
from gpunn._tensor import Tensor
from gpunn._tensor_convert import device_or_dtype, gpu_named
from gpunn.cpu.blas import single_threaded_blas
from gpunn.differences import refuse
from gpunn.errors import DTypeError, UsageError, module_stack
from gpunn.nn._hooks import Hook, RemovableHandle, after_forward, before_forward, watched_forward
from gpunn.nn._moving import home_of, move
from gpunn.nn._state import LoadReport, load
from gpunn.nn._walking import Walking
from gpunn.nn.parameter import Parameter

Self = TypeVar("Self", bound="Module")

_REGISTRIES = ("_parameters", "_buffers", "_modules")


class Module(Walking):
    """Base class: assign layers and parameters in ``__init__``, compute in ``forward``.

    Attributes
    ----------
    training : bool
        True in training mode (:meth:`train`), False in evaluation (:meth:`eval`).

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = nn.Linear(4, 2)
    ...
    ...     def forward(self, x):
    ...         return self.fc(x)
    >>> Net()(gpunn.ones(3, 4)).shape
    (3, 2)
    >>> [name for name, _ in Net().named_parameters()]
    ['fc.weight', 'fc.bias']
    """

    training: bool
    # What tells another network's weights from this one's, if they are easily confused: see nn/_state_hints.py.
    _mistaken_for: ClassVar[Sequence[tuple[str, tuple[int, ...], str]]] = ()

    def __init__(self) -> None:
        # Straight into __dict__: __setattr__ looks into these.
        self.__dict__.update(training=True, _parameters={}, _buffers={}, _transient=set(), _modules={})
        self.__dict__.update(_forward_pre_hooks={}, _forward_hooks={}, _backward_hooks={})

    # -- calling -----------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run :meth:`forward` and then the forward hooks; errors inside name this module.

        NumPy and CuPy arrays become tensors first, as by :func:`gpunn.as_tensor`: leave them unchanged until backward.
        """
        running = module_stack.modules
        outermost = not running
        if outermost:
            step = watching()
            if step is not None:
                step.note_module(self)
            single_threaded_blas.__enter__()  # once for all ops inside: it takes longer than a small one
        running.append(self)
        try:
            if kwargs:
                kwargs = with_our_names(type(self).forward, kwargs)
            for value in (*args, *kwargs.values()):
                if type(value) is not Tensor and is_array(value):
                    args, kwargs = constants("forward", args, kwargs, home_of(self.parameters(), self.buffers()))
                    break
            if self._forward_pre_hooks:
                args, kwargs = before_forward(self, self._forward_pre_hooks, args, kwargs)
            if self._backward_hooks:
                result = watched_forward(self, self._backward_hooks, args, kwargs)
            else:
                result = self.forward(*args, **kwargs)
            for hook in tuple(self._forward_hooks.values()):
                replaced = after_forward(hook, self, args, kwargs, result)
                if replaced is not None:
                    result = replaced
        except Exception as error:
            if type(self).forward.__module__.startswith("gpunn."):  # others' annotations are not ours to enforce
                failed(error, "forward", type(self).forward, (self, *args), kwargs)
            raise
        finally:
            running.pop()
            if outermost:
                single_threaded_blas.__exit__()
        return result

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before every forward, with the positional arguments as a tuple.

        What it returns, unless None, replaces them: a tuple, or one value for a tuple of one. ``with_kwargs``: it is
        given the keyword arguments too, ``hook(module, args, kwargs)``, and returns None or both. ``prepend``: it is
        called before those that are there.
        """
        return RemovableHandle(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known.

        Both are tuples: of the positional inputs (None where no gradient is wanted), and of the outputs. What it
        returns, unless None, replaces the gradients of the inputs. The module's outputs must be tensors. ``prepend``:
        it is called before those that are there.
        """
        return RemovableHandle(self._backward_hooks, hook, prepend)

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after every forward.

        What it returns, unless None, replaces the output. ``handle.remove()`` removes the hook.
        A captured step runs Python only while it is captured, and so does the hook. ``with_kwargs``: it is given the
        keyword arguments too, ``hook(module, args, kwargs, output)``. ``prepend``: it is called before those that are
        there. ``always_call``: only False.
        """
        refuse("register_forward_hook", always_call=always_call)
        return RemovableHandle(self._forward_hooks, hook, prepend, with_kwargs)

    # -- registration ------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        changes.layers += 1
        kind = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else None
        if kind is None:
            kind = next((r for r in _REGISTRIES if name in self.__dict__.get(r, ())), None)
            if kind is None:
                super().__setattr__(name, value)
                if name == "training":
                    changes.count += 1
                return
            if value is not None and not (kind == "_buffers" and isinstance(value, Tensor)):
                wanted = {"_parameters": "nn.Parameter", "_buffers": "Tensor", "_modules": "nn.Module"}[kind]
                raise UsageError(
                    f"{type(self).__name__}.{name}: expected {wanted} or None; got {type(value).__name__}. "
                    f"Delete the attribute first (del module.{name}) to give the name another meaning."
                )
        if kind not in self.__dict__:
            raise UsageError(f"{type(self).__name__}: call super().__init__() before assigning '{name}'.")
        self.__dict__.pop(name, None)
        for registry in _REGISTRIES:
            if registry != kind:
                self.__dict__[registry].pop(name, None)
        self.__dict__[kind][name] = value
        changes.count += 1

    def __getattr__(self, name: str) -> Any:
        # Only reached when ordinary lookup fails.
        for registry in _REGISTRIES:
            held = self.__dict__.get(registry, {})
            if name in held:
                return held[name]
        missing_init = "; call super().__init__() in its __init__ first" if "_modules" not in self.__dict__ else ""
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{missing_init}")

    def __delattr__(self, name: str) -> None:
        changes.layers += 1
        for registry in _REGISTRIES:
            if name in self.__dict__.get(registry, ()):
                del self.__dict__[registry][name]
                self._transient.discard(name)
                changes.count += 1
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _check_name(self, name: str, registry: str) -> None:
        why = ""
        if not isinstance(name, str) or not name or "." in name:
            why = "must be a string, not empty and without a dot"
        elif hasattr(self, name) and name not in self.__dict__.get(registry, ()):
            why = "is an attribute already"
        if why:
            raise UsageError(f"{type(self).__name__}: the name {name!r} {why}.")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter by name; None keeps the name for one that may come later."""
        self._check_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise UsageError(
                f"{type(self).__name__}.{name}: expected nn.Parameter or None; got {type(param).__name__}."
            )
        self._parameters[name] = param
        changes.count += 1

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module and is not trained.

        Parameters
        ----------
        persistent : bool
            Whether it is part of :meth:`state_dict`.
        """
        self._check_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise UsageError(f"{type(self).__name__}.{name}: expected Tensor or None; got {type(tensor).__name__}.")
        self._buffers[name] = tensor
        changes.count += 1
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add an inner module by name."""
        self._check_name(name, "_modules")
        if module is not None and not isinstance(module, Module):
            raise UsageError(f"{type(self).__name__}.{name}: expected nn.Module or None; got {type(module).__name__}.")
        self._modules[name] = module
        changes.count += 1
        changes.layers += 1

    register_module = add_module

    # -- modes -------------------------------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` with every inner module, then with this one; returns itself."""
        for inner in self.children():
            inner.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode here and in all inner modules; returns itself."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode; returns itself."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Make all parameters trainable, or freeze them; returns itself."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to zero in place."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad.zero_()

    # -- moving ------------------------------------------------------------------------------

    def to(
        self: Self,
        target: Any = None,
        dtype: Any = None,
        non_blocking: bool = False,
        *,
        device: Device | str | None = None,
        tensor: Tensor | None = None,
        memory_format: Any = None,
    ) -> Self:
        """Move parameters, buffers and gradients to a device or convert floating ones; returns itself.

        In place, as in PyTorch: parameters stay the same objects, so an optimiser that holds them
        follows. What an optimiser has stored for them does not: move the model first.

        Parameters
        ----------
        target : Device, str, dtype or Tensor, optional
            A device, a dtype, or a tensor that has both, as the first argument.
        dtype : dtype, optional
            A floating dtype; integer buffers keep theirs.
        non_blocking : bool
            Changes nothing: copies are synchronous.
        device : Device or str, optional
        tensor : Tensor, optional
            Supplies device and dtype.
        memory_format
            Changes nothing: images are always stored channels last.

        Raises
        ------
        DTypeError
            If the dtype is not floating.
        """
        tensor = target if isinstance(target, Tensor) else tensor
        if tensor is not None:
            device, dtype = tensor.device, tensor.dtype
        elif target is not None:
            place, kind = device_or_dtype(f"{type(self).__name__}.to", target)
            device, dtype = (device, kind) if place is None else (place, dtype)
        home = None if device is None else get_device(device)
        goal = None if dtype is None else dtype_of(f"{type(self).__name__}.to", dtype)
        if goal is not None and goal.kind not in FLOATING:
            raise DTypeError(f"{type(self).__name__}.to: expected a floating dtype; got {goal}.")
        refuse_in_capture("moving a module")
        move((*self.parameters(), *self.buffers()), home, goal)
        return self

    def cpu(self: Self) -> Self:
        """Move to the ``cpu`` device; returns itself."""
        return self.to("cpu")

    def cuda(self: Self, device: int | Device | str | None = None) -> Self:
        """Move to a GPU, the first one if none is named; returns itself."""
        return self.to(gpu_named(device))

    def float(self: Self) -> Self:
        """Convert to float32; returns itself."""
        return self.to(np.float32)

    def double(self: Self) -> Self:
        """Convert to float64; returns itself."""
        return self.to(np.float64)

    def half(self: Self) -> Self:
        """Convert to float16; returns itself."""
        return self.to(np.float16)

    def bfloat16(self: Self) -> Self:
        """Convert to bfloat16, which needs ml_dtypes; returns itself."""
        return self.to("bfloat16")

    # -- saving and loading ------------------------------------------------------------------

    def _persistent(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers in PyTorch's order, a shared one under each of its names."""
        state: dict[str, Tensor] = {}
        for place, module in self._walk(""):
            own = {
                **module._parameters,
                **{k: b for k, b in module._buffers.items() if k not in module._transient},
            }
            for name, tensor in own.items():
                if tensor is not None:
                    state[f"{place}.{name}" if place else name] = tensor
        return state

    def state_dict(
        self, *, destination: dict[str, Tensor] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted name, sharing the module's storage.

        Names and shapes are PyTorch's for the same model: ``gpunn.save_file(model.state_dict(), path)``
        writes what PyTorch's ``load_state_dict`` takes, and the other way round.

        Parameters
        ----------
        destination : dict, optional
            Where to put them; a new one if not given.
        prefix : str
            What names begin with.
        keep_vars : bool
            The parameters themselves, instead of detached tensors.
        """
        state = {} if destination is None else destination
        for name, tensor in self._persistent().items():
            state[prefix + name] = tensor if keep_vars else tensor.detach()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadReport:
        """Copy values from ``state_dict`` into this module's storage, converting the dtype.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are errors. Wrong shapes always are.
        assign : bool
            Only False: a module's parameters stay the same objects.

        Returns
        -------
        LoadReport
            ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        StateDictError
            If it does not fit; the message counts missing, unexpected and misshapen keys and names the first ones,
            its attributes have all. Everything is checked first: after an error the module is unchanged.
        """
        refuse("load_state_dict", assign=assign)
        return load(type(self).__name__, self._persistent(), state_dict, strict, self._mistaken_for)

    # -- showing -----------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The arguments shown in the module's repr."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {_indent(repr(inner))}" for name, inner in self._modules.items()]
        arguments = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({arguments})"
        body = "\n  ".join([arguments, *lines] if arguments else lines)
        return f"{type(self).__name__}(\n  {body}\n)"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
