"""Methods of PyTorch's tensors that ours do not have: each raises an AttributeError that says so.

They are descriptors, and stand behind all other bases of Tensor: a method that is there hides its entry here. A
``__getattr__`` would slow down every look at any tensor, also for what is there.
"""

from __future__ import annotations

from typing import Any

_NAMES = (
    "adjoint allclose angle apply_ as_strided as_strided_ as_strided_scatter as_subclass bitwise_and_ "
    "bitwise_left_shift bitwise_left_shift_ bitwise_not_ bitwise_or_ bitwise_right_shift bitwise_right_shift_ "
    "bitwise_xor_ byte cauchy_ ccol_indices cdouble cfloat chalf char cholesky cholesky_inverse cholesky_solve "
    "coalesce col_indices conj conj_physical conj_physical_ const_data_ptr corrcoef cov crow_indices dense_dim "
    "dequantize det diagonal_scatter digamma digamma_ dim_order eig erfc erfc_ exponential_ fill_diagonal_ fmax "
    "fmin frexp gcd gcd_ geometric_ geqrf grad_dtype hardshrink hash_tensor histogram i0 i0_ igamma igamma_ "
    "igammac igammac_ imag index index_put index_put_ index_reduce index_reduce_ indices int_repr inverse ipu "
    "is_coalesced is_conj is_distributed is_ipu is_maia is_mkldnn is_mtia is_neg is_set_to is_sparse_csr "
    "is_vulkan is_xla isneginf isposinf isreal istft lcm lcm_ ldexp ldexp_ lgamma lgamma_ log_normal_ "
    "logcumsumexp logdet logical_and_ logical_or_ logical_xor_ lstsq lu lu_solve mH map2_ map_ matrix_exp "
    "module_load msort mtia mvlgamma mvlgamma_ name nanmedian nanquantile narrow_copy new_empty_strided nextafter "
    "nextafter_ nonzero_static orgqr ormqr output_nr pinverse polygamma polygamma_ positive prelu put put_ "
    "q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qr qscheme random_ "
    "record_stream register_post_accumulate_grad_hook reinforce renorm renorm_ resize resize_ resize_as "
    "resize_as_ resize_as_sparse_ resolve_conj resolve_neg row_indices scatter_reduce scatter_reduce_ "
    "select_scatter set_ short slice_inverse slice_scatter slogdet smm solve sparse_dim sparse_mask "
    "sparse_resize_ sparse_resize_and_clear_ split_with_sizes squeeze_ sspaddmm stft storage storage_offset "
    "storage_type stride sum_to_size svd swapaxes_ swapdims_ symeig t_ to_dense to_mkldnn to_padded_tensor "
    "to_sparse to_sparse_bsc to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr transpose_ triangular_solve "
    "unique_consecutive unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze_ untyped_storage values "
    "volatile xpu"
)
ABSENT = frozenset(_NAMES.split())


class _Absent(str):
    """The name of such a method: no attribute, neither of the class nor of a tensor."""

    __slots__ = ()

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        from gpunn._missing import no_such_name

        raise no_such_name("gpunn.Tensor", str(self))


class AbsentMethods:
    """Mixed into :class:`gpunn.Tensor`, as the last one."""

    __slots__ = ()

    def __dir__(self) -> list[str]:
        kind = type(self)
        return [name for name in super().__dir__() if name not in ABSENT or hasattr(kind, name)]


for _name in ABSENT:
    setattr(AbsentMethods, _name, _Absent(_name))
