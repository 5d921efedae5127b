"""What ``config.json`` says of a run: enough to run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpunn.random import default_generator
from gpunn.train.run_folder import machine, versions

if TYPE_CHECKING:
    from gpunn.train.trainer import Trainer


def describe(
    trainer: Trainer, loader: Any, epochs: int, max_steps: int | None, more: Mapping[str, Any]
) -> dict[str, Any]:
    """The trainer's settings and the data's, and ``more``, whose mappings are merged in."""
    groups = [
        {**{k: v for k, v in group.items() if k != "params"}, "tensors": len(group["params"])}
        for group in trainer.optimizer.param_groups
    ]
    dataset = getattr(loader, "dataset", None)
    config: dict[str, Any] = {
        "versions": versions(trainer.device),
        "machine": machine(trainer.device),
        "seed": default_generator().seed,
        "model": {
            "class": type(trainer.model).__name__,
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
        },
        "loss": repr(trainer.loss),
        "optimizer": {"class": type(trainer.optimizer).__name__, "groups": groups},
        "scheduler": None
        if trainer.scheduler is None
        else {"class": type(trainer.scheduler).__name__, "every": trainer.scheduler_every},
        "data": {
            "class": type(dataset).__name__,
            "items": None if dataset is None else len(dataset),
            "batch_size": getattr(loader, "batch_size", None),
            "shuffle": getattr(loader, "shuffle", None),
            "drop_last": getattr(loader, "drop_last", None),
        },
        "epochs": epochs,
        "max_steps": max_steps,
        "capture": trainer.capture,
        "accumulate": trainer.accumulate,
        "autocast": None if trainer.autocast is None else trainer.autocast.name,
        "not_finite": trainer.not_finite,
        "ranks": trainer.ranks.size,
    }
    for key, value in more.items():
        known = config.get(key)
        config[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, Mapping) else value
    return config
