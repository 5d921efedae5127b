"""Learning-rate schedules, with PyTorch's names and defaults.

A schedule changes ``param_groups[i]["lr"]`` of its optimiser when its ``step()`` is called, after the optimiser's
own. A captured step sees the new number in its next replay.
"""

from typing import TYPE_CHECKING, Any

from gpunn._calls import explains_all
from gpunn.optim.lr_scheduler.base import LRScheduler
from gpunn.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from gpunn.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from gpunn.optim.lr_scheduler.cyclic import CyclicLR
from gpunn.optim.lr_scheduler.functions import LambdaLR, MultiplicativeLR
from gpunn.optim.lr_scheduler.one_cycle import OneCycleLR
from gpunn.optim.lr_scheduler.plateau import ReduceLROnPlateau
from gpunn.optim.lr_scheduler.ramps import ConstantLR, LinearLR, PolynomialLR
from gpunn.optim.lr_scheduler.steps import ExponentialLR, MultiStepLR, StepLR

_LRScheduler = LRScheduler  # its name before PyTorch 2, from which programs derive their own

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]

explains_all(globals())


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
