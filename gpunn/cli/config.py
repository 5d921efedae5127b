"""``config.json`` of a run, read as what it may be: a file from anybody."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from gpunn._files import file_size, open_file
from gpunn._json import parse
from gpunn.errors import DataError, quoted, shortened

_MOST_BYTES = 16_000_000
_MOST_NAME = 4096  # what a path may have


class Config(NamedTuple):
    """What is read of it: the network's name and shapes, the data, the classes, the images' statistics, the command."""

    name: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    data_name: str
    data_folder: str | None
    image_size: int | None
    mean: list[float]
    std: list[float]
    command: tuple[str, ...]


class _Wrong(Exception):
    """A field is not what it should be; the message says which and how."""


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a run's configuration; nothing in it is believed before its kind and range were checked.

    Raises
    ------
    DataError
        If it cannot be read, or is not what ``gpunn train`` writes; the message names the field.
    """
    try:
        with open_file(path) as file:
            size = file_size(file)
            raw = b"" if size > _MOST_BYTES else file.read(size)
    except OSError as error:
        raise DataError(f"{path}: could not be read: {error.strerror or error}.") from error
    try:
        if size > _MOST_BYTES:
            raise _Wrong(f"it has {size} bytes; at most {_MOST_BYTES} are read")
        return _config(parse(raw))
    except (ValueError, _Wrong) as error:
        raise DataError(
            f"{shortened(path, 200)}: not a configuration that gpunn train wrote: {shortened(error, 180)}."
        ) from error


def _config(text: Any) -> Config:
    whole = _mapping("it", text)
    model, data = _mapping("model", whole.get("model")), _mapping("data", whole.get("data"))
    shape = _list("model.input_shape", model.get("input_shape"))
    if len(shape) != 3:
        raise _Wrong(f"model.input_shape: expected three lengths; got {quoted(shape)}")
    c, h, w = (_whole("model.input_shape", n) for n in shape)
    classes = tuple(_text("data.classes", name) for name in _list("data.classes", data.get("classes")))
    if not classes:
        raise _Wrong("data.classes: expected at least one name; got none")
    folder = data.get("folder")
    size = None if data.get("image_size") is None else _whole("data.image_size", data["image_size"])
    if size is not None and (h, w) != (size, size):
        raise _Wrong(f"data.image_size is {size} where model.input_shape has {h}x{w}")
    mean, std = ([_number(f"data.{key}", v) for v in _list(f"data.{key}", data.get(key))] for key in ("mean", "std"))
    if len(mean) not in (1, c) or len(std) not in (1, c):
        raise _Wrong(f"data.mean and data.std: expected one number or {c} each; got {len(mean)} and {len(std)}")
    if min(std) <= 0:
        raise _Wrong(f"data.std: expected numbers above 0; got {quoted(min(std))}")
    return Config(
        name=_text("model.name", model.get("name")),
        input_shape=(c, h, w),
        classes=classes,
        data_name=_text("data.name", data.get("name")),
        data_folder=None if folder is None else _text("data.folder", folder),
        image_size=size,
        mean=mean,
        std=std,
        command=tuple(_text("command", word) for word in _list("command", whole.get("command", []))),
    )


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{where}: expected an object; got {_kind(value)}")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Wrong(f"{where}: expected a list; got {_kind(value)}")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MOST_NAME:
        raise _Wrong(f"{where}: expected a text of at most {_MOST_NAME} letters; got {_kind(value)}")
    return value


def _whole(where: str, value: Any) -> int:
    # No bound of its own: what they cost is checked where the network is built and where images are read.
    if type(value) is not int or value < 1 or value > 1 << 31:
        raise _Wrong(f"{where}: expected whole numbers from 1; got {_kind(value)}")
    return value


def _number(where: str, value: Any) -> float:
    if type(value) not in (int, float) or abs(value) > 3e38 or not math.isfinite(value):
        raise _Wrong(f"{where}: expected numbers; got {_kind(value)}")
    return float(value)


def _kind(value: Any) -> str:
    """A value in few letters: of lists, objects and texts that may be long, what they are."""
    names = {dict: "an object", list: "a list", type(None): "nothing"}
    if isinstance(value, str):
        return f"{quoted(value, 60)} ({len(value)} letters)"
    return names.get(type(value)) or quoted(value, 60)
