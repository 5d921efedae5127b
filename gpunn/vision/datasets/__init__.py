"""Datasets under torchvision's names: items are (Pillow's image, label).

``transform`` changes the image, ``target_transform`` the label. The files are those that :mod:`gpunn.data` reads and
downloads.
"""

from gpunn._calls import explains_all
from gpunn.vision.datasets._folder import DatasetFolder, ImageFolder
from gpunn.vision.datasets._labelled import CIFAR10, CIFAR100, MNIST, FakeData, FashionMNIST, VisionDataset

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "DatasetFolder",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
    "VisionDataset",
]

explains_all(globals())
