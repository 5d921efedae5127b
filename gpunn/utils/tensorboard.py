"""``SummaryWriter`` as programs for ``torch.utils.tensorboard`` use it, on the tensorboard package's own writer.

It needs ``pip install 'gpunn[tensorboard]'``, and pillow for images. :class:`gpunn.train.TensorBoard` writes what a
Trainer measures without a call.
"""

from __future__ import annotations

import datetime
import io
import os
import platform
import time
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn._calls import explains_all
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, ShapeError, UsageError

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

__all__ = ["SummaryWriter"]

_EDGES = 30  # of a histogram whose number of bins is not given


class SummaryWriter:
    """Writes numbers, histograms, images and texts to a folder that ``tensorboard --logdir`` shows.

    Parameters
    ----------
    log_dir : path-like, optional
        Where the file goes; ``runs/DATE_HOST`` if not given.
    comment : str
        Behind that default name.
    purge_step : int, optional
        Steps from this one on that earlier files of the folder have are not shown any more.
    max_queue : int
        How many things wait at most to be written.
    flush_secs : int
        Seconds after which they are written.
    filename_suffix : str
        Behind the file's name.

    Raises
    ------
    UsageError
        If the tensorboard package is missing.
    DataError
        If the folder cannot be written.

    Examples
    --------
    >>> import os, tempfile
    >>> from gpunn.utils.tensorboard import SummaryWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with SummaryWriter(folder) as writer:
    ...         writer.add_scalar("loss", 0.5, 1)
    ...     len(os.listdir(folder))
    1
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise UsageError(
                f"SummaryWriter needs the tensorboard package ({error}): pip install 'gpunn[tensorboard]'."
            ) from error
        if log_dir is None:
            now = datetime.datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{platform.node() or 'host'}{comment}")
        self.log_dir = os.fspath(log_dir)
        try:
            self._file = EventFileWriter(self.log_dir, max_queue, flush_secs, filename_suffix)
        except OSError as error:
            raise DataError(
                f"SummaryWriter: {self.log_dir}: could not be written: {error.strerror or error}. "
                "Choose another folder."
            ) from error
        self._others: dict[str, SummaryWriter] = {}
        self._event: Any = Event
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._file.add_event(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def get_logdir(self) -> str:
        """The folder."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """One number.

        Parameters
        ----------
        tag : str
            Its name; "loss/train" and "loss/test" are shown together.
        scalar_value : Tensor of one element, or number
        global_step : int, optional
        walltime : float, optional
            Seconds since 1970; now if not given.
        new_style, double_precision : bool
            Change nothing.

        Raises
        ------
        ShapeError
            If there is more than one element.
        """
        value = _array("add_scalar", scalar_value)
        if value.size != 1:
            raise ShapeError(f"add_scalar: {tag}: expected one number; got shape {value.shape}.")
        self._write(tag, global_step, walltime, simple_value=float(value.reshape(())))

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Several numbers in one diagram: each in a folder of its own, as in PyTorch.

        Parameters
        ----------
        main_tag : str
        tag_scalar_dict : mapping from str to number
        global_step : int, optional
        walltime : float, optional
        """
        for name, value in tag_scalar_dict.items():
            key = f"{main_tag.replace('/', '_')}_{name}"
            if key not in self._others:
                self._others[key] = SummaryWriter(os.path.join(self.log_dir, key))
            self._others[key].add_scalar(main_tag, value, global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: str | int = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """How often which values occur.

        Parameters
        ----------
        tag : str
        values : Tensor or array
            Any shape, not empty; what is not finite is left out.
        global_step : int, optional
        bins : int or str
            How many, or a rule of ``numpy.histogram``; else 30.
        walltime : float, optional
        max_bins : int, optional
            Changes nothing.

        Raises
        ------
        ShapeError
            If there are no finite values.
        """
        from tensorboard.compat.proto.summary_pb2 import HistogramProto

        flat = _array("add_histogram", values).astype(np.float64).ravel()
        flat = flat[np.isfinite(flat)]
        if not flat.size:
            raise ShapeError(f"add_histogram: {tag}: expected at least one finite value; got none.")
        counts, edges = np.histogram(flat, _EDGES if bins == "tensorflow" else bins)
        made = HistogramProto(
            min=flat.min(),
            max=flat.max(),
            num=flat.size,
            sum=flat.sum(),
            sum_squares=flat @ flat,
            bucket_limit=edges[1:].tolist(),
            bucket=counts.tolist(),
        )
        self._write(tag, global_step, walltime, histo=made)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """One image, such as :func:`gpunn.vision.utils.make_grid` returns.

        Parameters
        ----------
        tag : str
        img_tensor : Tensor or array
            With 1 or 3 channels; floats from 0 to 1, or uint8.
        global_step : int, optional
        walltime : float, optional
        dataformats : str
            The order of its axes: "CHW", "HWC" or "HW".

        Raises
        ------
        ShapeError
            If the axes are not these.
        """
        pixels = _array("add_image", img_tensor)
        order = dataformats.upper()
        if order not in ("CHW", "HWC", "HW") or pixels.ndim != len(order):
            raise ShapeError(f"add_image: {tag}: expected axes CHW, HWC or HW; got {dataformats!r}, {pixels.shape}.")
        if order == "CHW":
            pixels = pixels.transpose(1, 2, 0)
        elif order == "HW":
            pixels = pixels[:, :, None]
        self._write(tag, global_step, walltime, image=_png(tag, pixels))

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Several images of one size, side by side.

        Parameters
        ----------
        tag : str
        img_tensor : Tensor or array
            As for :meth:`add_image`, with an axis of images in front.
        global_step : int, optional
        walltime : float, optional
        dataformats : str
            "NCHW" or "NHWC".

        Raises
        ------
        ShapeError
            If the axes are not these.
        """
        pixels = _array("add_images", img_tensor)
        order = dataformats.upper()
        if order not in ("NCHW", "NHWC") or pixels.ndim != 4:
            raise ShapeError(f"add_images: {tag}: expected axes NCHW or NHWC; got {dataformats!r}, {pixels.shape}.")
        if order == "NCHW":
            pixels = pixels.transpose(0, 2, 3, 1)
        self.add_image(tag, np.concatenate(list(pixels), axis=1), global_step, walltime, "HWC")

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """A picture of matplotlib's.

        Parameters
        ----------
        tag : str
        figure : matplotlib.figure.Figure
        global_step : int, optional
        close : bool
            Whether it is closed then.
        walltime : float, optional
        """
        from matplotlib import pyplot
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
        if close:
            pyplot.close(figure)
        self.add_image(tag, pixels, global_step, walltime, "HWC")

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """A text, in Markdown.

        Parameters
        ----------
        tag : str
        text_string : str
        global_step : int, optional
        walltime : float, optional
        """
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        content = TensorProto(dtype="DT_STRING", string_val=[text_string.encode()], tensor_shape=shape)
        self._write(f"{tag}/text_summary", global_step, walltime, plugin="text", tensor=content)

    def add_graph(
        self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True
    ) -> None:
        """Nothing, with a warning: the graph of a network is drawn by ``gpunn summary --graph``.

        Parameters
        ----------
        model, input_to_model, verbose, use_strict_trace
            Not used.
        """
        warnings.warn(
            "SummaryWriter.add_graph writes nothing; gpunn summary --graph draws a network, and gpunn.onnx.export "
            "writes it for viewers.",
            UserWarning,
            stacklevel=2,
        )

    def flush(self) -> None:
        """Have everything written now."""
        for writer in (self, *self._others.values()):
            writer._file.flush()

    def close(self) -> None:
        """Write everything, and close the file."""
        for writer in (self, *self._others.values()):
            writer._file.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, tag: str, step: Any, walltime: float | None, plugin: str | None = None, **what: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

        if plugin is not None:
            what["metadata"] = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
        summary = Summary(value=[Summary.Value(tag=str(tag), **what)])
        when = time.time() if walltime is None else walltime
        number = None if step is None else int(step)
        self._file.add_event(self._event(wall_time=when, step=number, summary=summary))


def _array(op: str, value: Any) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{op}: expected a Tensor, an array or numbers; got {type(value).__name__}.")
    return array


def _png(tag: str, pixels: np.ndarray) -> Summary.Image:
    """(H, W, C) as TensorBoard keeps images."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(f"SummaryWriter needs pillow for images ({error}): pip install 'gpunn[vision]'.") from error
    height, width, channels = pixels.shape
    if channels not in (1, 3) or 0 in pixels.shape:
        raise ShapeError(f"SummaryWriter: {tag}: expected an image with 1 or 3 channels; got {pixels.shape}.")
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels).save(file, "PNG")
    return Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=file.getvalue())


explains_all(globals())
