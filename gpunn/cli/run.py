"""A finished run's folder, reopened: its network, its weights, and what they were trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._files import is_file, is_folder, most_unpacked
from gpunn.cli.arguments import why_no_folder
from gpunn.cli.config import read_config
from gpunn.cli.datasets import check_classes
from gpunn.cli.models import resolve_saved
from gpunn.errors import DataError, UsageError, shortened

if TYPE_CHECKING:
    from gpunn.models import ModelEntry
    from gpunn.nn.module import Module

RUN_HELP = "a folder that gpunn train --out wrote"


def add_trust_arguments(add: Callable[..., Any]) -> None:
    """``--model`` and ``--trust``."""
    add("--model", metavar="FILE.py:NAME", help="the run's network, where it is a class or function in a Python file")
    add("--trust", action="store_true", help="run the Python file that the run names, wherever the run is from")


class Run:
    """What ``config.json`` and ``model.safetensors`` in a folder contain.

    Parameters
    ----------
    folder : path-like
    model : str, optional
        The network as the user names it, which is built in place of the one that the run names.
    trust : bool
        Whether a Python file that the run names may be run.

    Raises
    ------
    UsageError
        If it is not the folder of a run, or its network is in a Python file that the user has neither named nor
        trusted.
    DataError
        If its files are damaged or not written by ``gpunn train``.
    """

    def __init__(self, folder: str | Path, model: str | None = None, trust: bool = False) -> None:
        self.folder = Path(folder)
        missing = [name for name in ("config.json", "model.safetensors") if not is_file(self.folder / name)]
        if missing:
            state = f"has no {' and no '.join(missing)}" if is_folder(self.folder) else why_no_folder(self.folder)
            raise UsageError(f"expected {RUN_HELP}; {shortened(self.folder, 300)} {state}.")
        config = read_config(self.folder / "config.json")
        self.name, self.input_shape, self.classes = config.name, config.input_shape, list(config.classes)
        self.data_name, self.image_size = config.data_name, config.image_size
        self.data_folder = None if config.data_folder is None else Path(config.data_folder)
        self.statistics = config.mean, config.std
        self._mean, self._std = (np.array(v, np.float32).reshape(-1, 1, 1) for v in self.statistics)
        # The weights are what the folder is worth: an image and a network beyond that are made up.
        self._size = (self.folder / "model.safetensors").stat().st_size
        if 4 * math.prod(self.input_shape) > most_unpacked(self._size) and not trust:
            raise DataError(
                f"{shortened(self.folder, 160)}: config.json states images {self.input_shape}, which are larger than "
                f"its weights make likely. If the run is yours, give --trust."
            )
        self._network: ModelEntry = resolve_saved(self.name, model, trust)
        self.name = self.name if model is None else model
        from gpunn.serialize import read_metadata

        self.epoch = shortened(read_metadata(self.folder / "model.safetensors").get("epoch", "?"), 20)

    def model(self) -> Module:
        """The network with the run's weights.

        Raises
        ------
        DataError
            If it cannot be built for images of this shape, is much larger than the weights, or they are damaged.
        StateDictError
            If the weights are another network's.
        """
        from gpunn.nn._arguments import parameters_within
        from gpunn.serialize import load_file

        try:
            with parameters_within(2 * self._size + 1_000_000):  # twice: saved weights may be float16
                model = self._network.build(self.input_shape, len(self.classes))
        except UsageError as error:
            raise DataError(
                f"{shortened(self.folder, 160)}: the network that config.json states cannot be built: "
                f"{shortened(error, 200)}"
            ) from error
        model.load_state_dict(load_file(self.folder / "model.safetensors"))
        return model

    def standardise(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 pixels (C, H, W) standardised like the training images: float32."""
        return (pixels.astype(np.float32) / np.float32(255) - self._mean) / self._std

    def check_fits(self, dataset: Any) -> None:
        """Refuse data with images of another shape, or with classes that are not the run's."""
        where = shortened(self.folder, 160)
        if tuple(dataset.input_shape) != self.input_shape or len(dataset.classes) > len(self.classes):
            raise UsageError(
                f"{where}: its network takes images {self.input_shape} and tells {len(self.classes)} classes; "
                f"the data has {tuple(dataset.input_shape)} and {len(dataset.classes)}."
            )
        check_classes(f"{where}: it was trained on", self.classes, "the data", dataset)
