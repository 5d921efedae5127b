"""DataParallel on one device; its relative for several processes, which is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.distributed import refuse
from gpunn.errors import UsageError
from gpunn.nn.module import Module


class DataParallel(Module):
    """A wrapper around a module, for programs and ``state_dict`` files that have it; it runs on one device.

    Parameters
    ----------
    module : Module
        Runs where its parameters are.
    device_ids : sequence of int or Device, optional
        At most one.
    output_device : int or Device, optional
        Changes nothing: outputs are where the module computes them.
    dim : int
        Changes nothing: a batch is not split.

    Attributes
    ----------
    module : Module
        ``state_dict`` keys begin with ``module.``, as in PyTorch.

    Shape
    -----
    as of the module

    Raises
    ------
    UsageError
        If several devices are asked for: ``gpunn.guide`` shows how to use several GPUs.
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        if not isinstance(module, Module):
            raise UsageError(f"DataParallel: module: expected an nn.Module; got {type(module).__name__}.")
        if device_ids is not None and len(device_ids) > 1:
            raise UsageError(
                f"DataParallel: device_ids: expected one device; got {len(device_ids)}. Batches are not split over "
                "GPUs: the guide's page on several GPUs shows what works."
            )
        self.module = module
        self.device_ids, self.output_device, self.dim = list(device_ids or ()), output_device, dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """PyTorch's wrapper for several processes: there is one here, so making one is refused.

    Programs may ask whether a module is one. ``module``, ``args`` and ``kwargs`` are not looked at.

    Raises
    ------
    UsageError
        Always; the module trains as it is.
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        refuse("DistributedDataParallel")
