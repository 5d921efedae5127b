"""Training: the loop, its reports, and the files it writes."""

from gpunn._calls import explains_all
from gpunn.train.callbacks import Callback, EpochRecord, Progress
from gpunn.train.evaluation import Evaluation, evaluate
from gpunn.train.run_folder import RunFolder
from gpunn.train.trainer import Trainer

__all__ = ["Callback", "EpochRecord", "Evaluation", "Progress", "RunFolder", "Trainer", "evaluate"]

explains_all(globals())
