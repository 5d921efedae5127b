"""Datasets and the loader that turns them into batches on a device."""

from gpunn.data.dataset import Dataset, TensorDataset
from gpunn.data.digits import Digits
from gpunn.data.idx import read_idx
from gpunn.data.loader import DataLoader
from gpunn.data.mnist import MNIST

__all__ = ["MNIST", "DataLoader", "Dataset", "Digits", "TensorDataset", "read_idx"]
