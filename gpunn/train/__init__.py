"""Training: the loop, its reports, and the files it writes."""

from gpunn._calls import explains_all
from gpunn.train.callbacks import Callback, EpochRecord, Progress
from gpunn.train.early_stopping import EarlyStopping
from gpunn.train.evaluation import Evaluation, evaluate
from gpunn.train.health import layer_health
from gpunn.train.health_check import HealthCheck
from gpunn.train.health_report import HealthReport, LayerHealth
from gpunn.train.metrics import Metrics, read_metrics
from gpunn.train.run_folder import RunFolder
from gpunn.train.tensorboard import TensorBoard
from gpunn.train.trainer import Trainer

__all__ = [
    "Callback",
    "EarlyStopping",
    "EpochRecord",
    "Evaluation",
    "HealthCheck",
    "HealthReport",
    "LayerHealth",
    "Metrics",
    "Progress",
    "RunFolder",
    "TensorBoard",
    "Trainer",
    "evaluate",
    "layer_health",
    "read_metrics",
]

explains_all(globals())
