"""Optimisers and learning-rate schedules, with PyTorch's names and defaults."""

import importlib
from typing import TYPE_CHECKING, Any

from gpunn._calls import explains_all
from gpunn.optim import lr_scheduler
from gpunn.optim.adadelta import Adadelta
from gpunn.optim.adagrad import Adagrad
from gpunn.optim.adam import Adam, AdamW
from gpunn.optim.adam_relatives import Adamax, NAdam, RAdam
from gpunn.optim.lamb import LAMB
from gpunn.optim.lbfgs import LBFGS
from gpunn.optim.lookahead import Lookahead
from gpunn.optim.muon import Muon
from gpunn.optim.optimizer import Optimizer
from gpunn.optim.rmsprop import RMSprop
from gpunn.optim.sgd import SGD
from gpunn.optim.weight_decay import decay_groups, l2_penalty

if TYPE_CHECKING:
    from gpunn.optim import swa_utils

__all__ = [
    "LAMB",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lookahead",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "decay_groups",
    "l2_penalty",
    "lr_scheduler",
]

explains_all(globals())
__all__ += ["swa_utils"]  # imported when it is first asked for


if not TYPE_CHECKING:  # or a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name == "swa_utils":  # few programs need it, and the layers that it brings in
            return importlib.import_module("gpunn.optim.swa_utils")
        from gpunn._missing import no_such_name

        raise no_such_name(__name__, name)
