"""Datasets and the loader that turns them into batches on a device."""

from gpunn._calls import explains_all
from gpunn.data.cifar10 import CIFAR10, CIFAR100
from gpunn.data.dataset import Dataset, TensorDataset
from gpunn.data.device_loader import DeviceLoader
from gpunn.data.digits import Digits
from gpunn.data.idx import read_idx
from gpunn.data.image_folder import ImageFolder
from gpunn.data.loader import DataLoader
from gpunn.data.mnist import MNIST, FashionMNIST
from gpunn.data.npz import NpzDataset
from gpunn.data.subsets import ConcatDataset, Subset, random_split

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DeviceLoader",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "NpzDataset",
    "Subset",
    "TensorDataset",
    "random_split",
    "read_idx",
]

explains_all(globals())
