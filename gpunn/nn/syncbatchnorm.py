"""Batch normalisation over the batches of all processes that train together."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.distributed._state import current
from gpunn.errors import UsageError
from gpunn.nn.batchnorm import _BatchNorm
from gpunn.nn.module import Module
from gpunn.ops.sync_batch_norm import sync_batch_norm


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of inputs with any axes, by the mean and variance of all ranks' batches in training.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Ranks may have batches of different sizes, also none; all of them call the layer, and backward through it, in the
    same order, under ``no_grad`` too. Output, gradient of x and running estimates are those of one process that has the
    whole batch. The gradients of weight and bias are of this rank's part, which
    :class:`~gpunn.nn.parallel.DistributedDataParallel` averages. In evaluation, without a group of processes
    (:func:`gpunn.distributed.init_process_group`), or alone in it, this is :class:`BatchNorm2d`, with the same state.

    A rank's mean is rounded to x's dtype before it is merged with the others'. In a captured step on a GPU the group
    needs the backend "nccl".

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the newest batch in the running estimates; None averages all batches equally.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates; without them evaluation uses the statistics of this rank's batch.
    process_group : None
        There is one group, of all processes.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Shape
    -----
    x : (N, C, *) with up to three axes behind C, float32 or float64;  y : like x

    Raises
    ------
    UsageError
        If ``process_group`` is given.
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or a training batch has one value per channel, on all ranks together; the
        message names the layer.
    DistributedError
        If a rank has ended or does not come.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; Chan, Golub, LeVeque 1979, Stanford STAN-CS-79-773; lecture topic L7.
    """

    _ndims = (2, 3, 4, 5)
    _expected = "(N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        refuse("SyncBatchNorm", process_group=process_group)
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def forward(self, x: Tensor, *, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        """Apply the layer; add ``residual`` and apply ``activation`` ("relu") in the same pass."""
        group = current()
        if group is None or group.size == 1 or not self.training or x.ndim not in self._ndims:
            return super().forward(x, residual=residual, activation=activation)
        return sync_batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.momentum,
            self.eps,
            group,
            residual=residual,
            activation=activation,
            num_batches_tracked=self.num_batches_tracked,
        )

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with a SyncBatchNorm in the place of each batch norm; itself converted, if it is one.

        Parameters
        ----------
        module : Module
            Changed in place. The new layers have the parameters, estimates and mode of those before.
        process_group : None
            As above.
        """
        refuse("SyncBatchNorm", process_group=process_group)
        if not isinstance(module, Module):
            raise UsageError(
                f"SyncBatchNorm.convert_sync_batchnorm: module: expected a module; got {type(module).__name__}."
            )
        made = module
        if isinstance(module, _BatchNorm):
            n, tracked = module.num_features, module.track_running_stats
            made = cls(n, module.eps, module.momentum, module.affine, tracked)
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                setattr(made, name, getattr(module, name))
            made.training = module.training
        for name, child in module.named_children():
            made.add_module(name, cls.convert_sync_batchnorm(child))
        return made
