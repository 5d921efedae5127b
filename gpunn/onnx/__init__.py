"""Models as ONNX files, which onnxruntime and other runtimes run without gpunn or Python.

:func:`export` runs the model on an example and writes what it computed. Needs the package onnx:
``pip install 'gpunn[onnx]'``.
"""

from gpunn._calls import explains_all
from gpunn.onnx._export import export

__all__ = ["export", "is_in_onnx_export"]


def is_in_onnx_export() -> bool:
    """False: :func:`export` watches the model run as it always does."""
    return False


explains_all(globals())
