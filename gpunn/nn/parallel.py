"""DataParallel, which runs on one device, and DistributedDataParallel, for several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from gpunn._grad_mode import is_grad_enabled
from gpunn._shared.numbers import real_number
from gpunn.differences import refuse
from gpunn.distributed._reducer import BUCKET_MB, Reducer
from gpunn.distributed._state import needed
from gpunn.errors import UsageError
from gpunn.nn.module import Module

__all__ = ["DataParallel", "DistributedDataParallel"]


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
    """A module that several processes train together: each computes with its part of a batch, gradients are averaged.

    Every rank builds the same module, and wraps it. Parameters and buffers become those of rank 0. ``backward`` then
    leaves the same gradients on every rank, the means of what each computed from its part, so that equal optimisers
    make equal steps. A gradient's sum over the ranks begins while the backward pass is still at work on the others, in
    buckets of parameters.

    Parameters
    ----------
    module : Module
        On this rank's device.
    device_ids, output_device : optional
        At most one device, which changes nothing: the module runs where its parameters are.
    dim : int
        Changes nothing: batches are not split here.
    broadcast_buffers : bool
        Whether each forward in training mode begins with rank 0's buffers, such as the averages of batch norm.
    init_sync : bool
        Whether parameters and buffers become those of rank 0 at the start, and are compared.
    process_group : None
        There is one group, of all processes.
    bucket_cap_mb : float, optional
        Mebibytes of gradients in a bucket, 25 if not given; the first has one.
    find_unused_parameters : bool
        Allow parameters that get no gradient in a backward, at the price of one more call that waits for all ranks, and
        of sums that begin only after the backward pass. It cannot be captured.
    check_reduction, gradient_as_bucket_view, static_graph
        Change nothing.

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
        If there is no group of processes, or no parameter wants a gradient.
    DistributedError
        If the ranks' modules differ; in backward, if a parameter gets no gradient, or a rank does not come.

    References
    ----------
    Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(module, Module):
            raise UsageError(f"DistributedDataParallel: module: expected an nn.Module; got {type(module).__name__}.")
        if device_ids is not None and len(device_ids) > 1:
            raise UsageError(
                f"DistributedDataParallel: device_ids: expected at most one device; got {len(device_ids)}. Start one "
                "process for each GPU."
            )
        refuse("DistributedDataParallel", process_group=process_group)
        megabytes = (
            BUCKET_MB
            if bucket_cap_mb is None
            else real_number("DistributedDataParallel", "bucket_cap_mb", bucket_cap_mb, 0)
        )
        self.module = module
        self.broadcast_buffers = broadcast_buffers
        self.require_backward_grad_sync = True
        self._reducer = Reducer(needed("DistributedDataParallel"), module, megabytes, find_unused_parameters)
        if init_sync:
            self._reducer.share()

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within this block gradients stay this rank's: for adding up those of several batches before the mean.

        The forward whose backward is to average them all comes after the block.
        """
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if is_grad_enabled() and self.require_backward_grad_sync:
            if self.training and self.broadcast_buffers:
                self._reducer.broadcast(self.module.buffers())
            self._reducer.expect()
        return self.module(*inputs, **kwargs)
