"""Datasets, samplers and the loader under PyTorch's names, with PyTorch's meaning.

What differs from :mod:`gpunn.data`: items are whatever a program makes them, and :func:`default_collate` makes batches
of them. A batch of pairs is a list of two tensors, of dicts a dict, of single tensors a tensor. Batches stay on the
CPU. Workers are threads. :mod:`gpunn.data` puts batches on a device, and goes on in the middle of an epoch.
"""

from gpunn._calls import explains_all
from gpunn.utils.data._workers import WorkerInfo, get_worker_info
from gpunn.utils.data.collate import default_collate, default_convert
from gpunn.utils.data.dataloader import DataLoader
from gpunn.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from gpunn.utils.data.distributed import DistributedSampler
from gpunn.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]

explains_all(globals())
