"""MNIST: 70,000 handwritten digits, read from the four files as they are published."""

from __future__ import annotations

import os
from pathlib import Path

from gpunn.data.dataset import ImageDataset
from gpunn.data.idx import read_idx
from gpunn.errors import DataError


class MNIST(ImageDataset):
    """Handwritten digits, 28x28 grey: 60,000 to train on and 10,000 to test on.

    Items are (image, label): a (1, 28, 28) float32 image, standardised with the mean and the
    standard deviation of all training pixels, and an int. :meth:`batch` gives (n, 1, 28, 28)
    float32 and (n,) int64.

    Parameters
    ----------
    root : path-like, optional
        The folder that holds the files, under their published names, with or without ``.gz``
        (``train-images-idx3-ubyte`` and so on). Default: ``$GPUNN_DATA/mnist``.
    train : bool
        The training images, else the test images.

    Attributes
    ----------
    images : numpy.ndarray
        (N, 28, 28) uint8, 0 is paper and 255 is ink.
    labels : numpy.ndarray
        (N,) int64, 0 to 9.
    mean, std : float
        0.1307 and 0.3081, the customary figures. Computed from the published training file,
        dividing by 255, they are 0.130660 and 0.308108; a test repeats that where the data is.
    classes : tuple of str
    input_shape : tuple of int

    Raises
    ------
    DataError
        If a file is missing (the message names the files, the folder and how to point to
        another), damaged, or not MNIST: counts disagree, images are not 28x28 bytes, a label is
        not 0 to 9.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
    recognition", Proc. IEEE 86(11). Files: http://yann.lecun.com/exdb/mnist/, mirrored at
    https://ossci-datasets.s3.amazonaws.com/mnist/.
    """

    folder = "mnist"
    classes = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    input_shape = (1, 28, 28)
    train_mean, train_std = 0.1307, 0.3081

    def __init__(self, root: str | os.PathLike[str] | None = None, train: bool = True) -> None:
        prefix = "train" if train else "t10k"
        names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
        images_path, labels_path = self._find(root, names)
        super().__init__(
            read_idx(images_path),
            read_idx(labels_path),
            self.train_mean,
            self.train_std,
            source=f"{images_path} and {labels_path.name}",
        )
        self.train = train

    @classmethod
    def _find(cls, root: str | os.PathLike[str] | None, names: tuple[str, ...]) -> list[Path]:
        """Where the named files are, each as it is or with ``.gz``."""
        wanted = f"{cls.__name__}: expected {' and '.join(names)} (each as it is or with .gz)"
        advice = (
            f"Give the folder that contains {cls.folder}/ with --data-dir DIR or $GPUNN_DATA, or pass root=, "
            "the folder of the files itself."
        )
        if root is None:
            data_dir = os.environ.get("GPUNN_DATA")
            if not data_dir:
                raise DataError(f"{wanted}; got no folder to look in, and $GPUNN_DATA is not set. {advice}")
            root = Path(data_dir) / cls.folder
        folder = Path(root)
        found = []
        for name in names:
            path = next((p for p in (folder / name, folder / f"{name}.gz") if os.path.isfile(p)), None)
            if path is None:
                state = f"has no {name}" if os.path.isdir(folder) else "does not exist"
                raise DataError(f"{wanted} in {folder.resolve()}, which {state}. {advice}")
            found.append(path)
        return found
