"""What a run's state is made of: what a checkpoint holds, and how it is put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn._version import __version__
from gpunn.errors import DataError, GpunnError, UsageError
from gpunn.nn.module import Module
from gpunn.random import Generator, default_generator
from gpunn.train.callbacks import EpochRecord
from gpunn.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer

_DEEP = 6  # how many objects may lie between a loader and a generator that it uses
_GENERATORS = Generator | np.random.Generator | np.random.RandomState
_NO_HOLDERS = type | ModuleType | FunctionType | Tensor | np.ndarray | Device


def collect(
    trainer: Trainer, totals: Sequence[float], data: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint's arrays and state; ``totals`` are those of all ranks, ``data`` says where the loaders are."""
    arrays: dict[str, Any] = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    optimizer = trainer.optimizer.state_dict()
    for number, buffers in optimizer["state"].items():
        arrays.update({f"optimizer.{number}.{name}": buffer for name, buffer in buffers.items()})
    arrays["totals"] = np.array(totals, np.float64)
    state = {
        "gpunn": __version__,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "history": [record.as_dict() for record in trainer.history],
        "optimizer": {"class": type(trainer.optimizer).__name__, "groups": optimizer["param_groups"]},
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "scaler": trainer._train_step.scaler.state_dict(),
        "callbacks": [[type(c).__name__, c.state_dict()] for c in trainer.callbacks],
        "generators": {
            "default": default_generator().get_state(),
            "model": {name: _state_of(g) for name, g in generators_of(trainer.model)},
            "python": _listed(random.getstate()),
            "numpy": _legacy_state(),
        },
        "data": dict(data),
    }
    return arrays, state


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state back into a trainer that was built as the one that wrote it.

    Raises
    ------
    UsageError
        If model, optimiser, schedule or callbacks are not those it was written with.
    DataError
        If it is not made as :func:`collect` makes it.
    """
    state = checkpoint.state
    try:
        kind = state["optimizer"]["class"]
        if kind != type(trainer.optimizer).__name__:
            raise UsageError(
                f"{checkpoint.path}: it was written with the optimiser {kind}; got {type(trainer.optimizer).__name__}."
            )
        if (state["scheduler"] is None) is not (trainer.scheduler is None):
            had, got = ("none", "one") if state["scheduler"] is None else ("a learning-rate schedule", "none")
            raise UsageError(
                f"{checkpoint.path}: it was written with {had}; got {got}. Build the trainer as it was built."
            )
        history = [EpochRecord(**record) for record in state["history"]]
        buffers: dict[int, dict[str, np.ndarray]] = {}
        for name, array in checkpoint.part("optimizer").items():
            number, _, buffer = name.partition(".")
            buffers.setdefault(int(number), {})[buffer] = array
        groups = state["optimizer"]["groups"]
        for group, own in zip(groups, trainer.optimizer.param_groups, strict=False):  # others the optimiser refuses
            # JSON made lists of tuples.
            group.update({k: tuple(v) for k, v in group.items() if isinstance(own.get(k), tuple)})
        totals = checkpoint.arrays["totals"].astype(np.float64).reshape(trainer._totals.array.shape)
        trainer.model.load_state_dict({name: Tensor(array) for name, array in checkpoint.part("model").items()})
        trainer.optimizer.load_state_dict({"state": buffers, "param_groups": groups})
        if trainer.scheduler is not None:
            trainer.scheduler.load_state_dict(state["scheduler"])
        if state.get("scaler"):  # older checkpoints have none
            trainer._train_step.scaler.load_state_dict(state["scaler"])
        _restore_callbacks(trainer, state["callbacks"])
        generators = state["generators"]
        default_generator().set_state(generators["default"])
        random.setstate(_tupled(generators["python"]))
        np.random.set_state(generators["numpy"])
        layers = dict(generators_of(trainer.model))
        known = sorted(layers.keys() & generators["model"].keys())
        for name in known:
            _set_state(layers[name], generators["model"][name])
        trainer.ranks.draw_apart((name, layers[name]) for name in known)
        trainer.epoch, trainer.step = int(state["epoch"]), int(state["step"])
        data = dict(state["data"])
        trainer._position.restore(data)
        trainer._train_step.skipped, trainer.stop_reason = int(data["skipped"]), data["stop_reason"]
        trainer._norms = {str(name): float(norm) for name, norm in data["gradient_norms"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        if isinstance(error, GpunnError):
            raise
        raise DataError(
            f"{checkpoint.path}: not a checkpoint of a Trainer: {type(error).__name__}: {str(error)[:200]}"
        ) from error
    trainer.history[:] = history
    if trainer.ranks.first:  # the sums of all ranks
        with trainer.device.active():
            trainer._totals.array[...] = trainer.device.array(totals)


def _restore_callbacks(trainer: Trainer, saved: list[Any]) -> None:
    """Each callback takes the state of the next saved one of its class: others may have been added or left out."""
    waiting = list(saved)
    for callback in trainer.callbacks:
        for entry in waiting:
            if entry[0] == type(callback).__name__:
                waiting.remove(entry)
                callback.load_state_dict(entry[1])
                break


# -- generators ------------------------------------------------------------------------------------


def places_of(loader: Any) -> dict[str, Any]:
    """The states of all generators that a loader, its sampler, its data set and its transforms hold."""
    return {name: _state_of(generator) for name, generator in _walk(loader, "", _DEEP, set())}


def move_to(loader: Any, places: Mapping[str, Any]) -> None:
    """Set a loader's generators to what :func:`places_of` returned."""
    for name, generator in list(_walk(loader, "", _DEEP, set())):
        if name in places:
            _set_state(generator, places[name])


def _state_of(generator: Any) -> Any:
    if isinstance(generator, Generator):
        return generator.get_state()
    return (
        _listed(generator.get_state())
        if isinstance(generator, np.random.RandomState)
        else generator.bit_generator.state
    )


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)


def _walk(thing: Any, path: str, deep: int, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(thing) in seen or deep < 0:
        return
    seen.add(id(thing))
    if isinstance(thing, _GENERATORS):
        yield path, thing
    elif isinstance(thing, list | tuple) and len(thing) <= 1000:  # transforms, not data
        for i, part in enumerate(thing):
            yield from _walk(part, f"{path}[{i}]", deep - 1, seen)
    elif isinstance(thing, dict) and len(thing) <= 1000:
        for key, part in thing.items():
            yield from _walk(part, f"{path}[{key!r}]", deep - 1, seen)
    elif not isinstance(thing, _NO_HOLDERS) and hasattr(thing, "__dict__"):
        for name, part in list(vars(thing).items()):
            yield from _walk(part, f"{path}.{name}", deep - 1, seen)


def generators_of(model: Module) -> Iterator[tuple[str, Any]]:
    """What a model's layers draw from, by name."""
    for name, module in model.named_modules():
        for attribute, value in list(vars(module).items()):
            if isinstance(value, _GENERATORS):
                yield f"{name}.{attribute}", value


def _legacy_state() -> list[Any]:
    """What ``np.random.rand`` and the like draw from."""
    return _listed(np.random.get_state())


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
