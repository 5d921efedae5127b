"""Training: the loop, what it reports, and the files it leaves."""

from gpunn.train.callbacks import Callback, DecayLearningRate, EpochRecord, Progress
from gpunn.train.run_folder import RunFolder
from gpunn.train.trainer import Evaluation, Trainer

__all__ = ["Callback", "DecayLearningRate", "EpochRecord", "Evaluation", "Progress", "RunFolder", "Trainer"]
