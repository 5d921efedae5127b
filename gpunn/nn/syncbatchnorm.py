"""PyTorch's batch normalisation over several processes, of which there is one here."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn.differences import refuse
from gpunn.errors import UsageError
from gpunn.nn.batchnorm import _BatchNorm
from gpunn.nn.module import Module


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of inputs with any axes: statistics are this process's, as there is no other one.

    For programs that convert their networks for several processes, or ask which layers are batch norms. Otherwise
    like :class:`BatchNorm2d`, and with the same state.

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
        Whether there are running estimates; without them the batch's are used in evaluation too.
    process_group : None
        There are no groups of processes.
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
        If x has other axes or channels, or a training batch has one value per channel; the message
        names the layer.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
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
