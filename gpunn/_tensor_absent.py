"""Methods of PyTorch's tensors that ours do not have: each raises an AttributeError that says so.

They are descriptors, and stand behind all other bases of Tensor: a method that is there hides its entry here. A
``__getattr__`` would slow down every look at any tensor, also for what is there.
"""

from __future__ import annotations

from typing import Any

_NAMES = (
    "H absolute absolute_ acos acos_ acosh acosh_ addbmm addbmm_ addcdiv addcdiv_ addcmul addcmul_ addmm "
    "addmm_ addmv addmv_ addr addr_ adjoint allclose aminmax angle apply_ arccos arccos_ arccosh arccosh_ "
    "arcsin arcsin_ arcsinh arcsinh_ arctan arctan2 arctan2_ arctan_ arctanh arctanh_ argsort argwhere "
    "as_strided as_strided_ as_strided_scatter as_subclass asin asin_ asinh asinh_ atan atan2 atan2_ atan_ "
    "atanh atanh_ baddbmm baddbmm_ bernoulli bfloat16 bincount bitwise_and_ bitwise_left_shift "
    "bitwise_left_shift_ bitwise_not_ bitwise_or_ bitwise_right_shift bitwise_right_shift_ bitwise_xor_ byte "
    "cauchy_ ccol_indices cdouble cfloat chalf char cholesky cholesky_inverse cholesky_solve clamp_max "
    "clamp_max_ clamp_min clamp_min_ coalesce col_indices conj conj_physical conj_physical_ const_data_ptr "
    "copysign copysign_ corrcoef cosh cosh_ count_nonzero cov cross crow_indices cummax cummin cumprod "
    "cumprod_ cumsum cumsum_ data_ptr deg2rad deg2rad_ dense_dim dequantize det diag diag_embed diagflat "
    "diagonal diagonal_scatter diff digamma digamma_ dim_order dist divide dsplit eig element_size eq_ erfc "
    "erfc_ erfinv erfinv_ exp2 exp2_ exponential_ fill_diagonal_ fix fix_ fliplr flipud float_power "
    "float_power_ fmax fmin fmod fmod_ frac frac_ frexp gcd gcd_ ge_ geometric_ geqrf ger get_device "
    "grad_dtype greater greater_ greater_equal greater_equal_ gt_ hardshrink hash_tensor heaviside heaviside_ "
    "histc histogram hsplit hypot hypot_ i0 i0_ igamma igamma_ igammac igammac_ imag index index_add "
    "index_add_ index_copy index_copy_ index_fill index_fill_ index_put index_put_ index_reduce index_reduce_ "
    "indices inner int_repr inverse ipu is_coalesced is_complex is_conj is_cpu is_cuda is_distributed "
    "is_floating_point is_inference is_ipu is_maia is_meta is_mkldnn is_mps is_mtia is_neg is_nested "
    "is_nonzero is_pinned is_quantized is_same_size is_set_to is_shared is_signed is_sparse is_sparse_csr "
    "is_vulkan is_xla is_xpu isclose isneginf isposinf isreal istft itemsize kron kthvalue layout lcm lcm_ "
    "ldexp ldexp_ le_ lerp lerp_ less less_ less_equal less_equal_ lgamma lgamma_ log10 log10_ log2 log2_ "
    "log_normal_ logaddexp logaddexp2 logcumsumexp logdet logical_and_ logical_or_ logical_xor_ logit logit_ "
    "logsumexp lstsq lt_ lu lu_solve mH map2_ map_ masked_scatter masked_scatter_ matrix_exp matrix_power "
    "median mode module_load moveaxis msort mtia multinomial multiply mv mvlgamma mvlgamma_ name nan_to_num "
    "nan_to_num_ nanmean nanmedian nanquantile nansum narrow_copy nbytes ne_ negative new new_empty_strided "
    "nextafter nextafter_ nonzero_static not_equal not_equal_ orgqr ormqr outer output_nr pin_memory pinverse "
    "polygamma polygamma_ positive prelu put put_ q_per_channel_axis q_per_channel_scales "
    "q_per_channel_zero_points q_scale q_zero_point qr qscheme quantile rad2deg rad2deg_ random_ real "
    "record_stream register_post_accumulate_grad_hook reinforce renorm renorm_ repeat_interleave resize "
    "resize_ resize_as resize_as_ resize_as_sparse_ resolve_conj resolve_neg retains_grad roll rot90 "
    "row_indices scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ select_scatter set_ "
    "sgn sgn_ share_memory_ short signbit sinc sinc_ sinh sinh_ slice_inverse slice_scatter slogdet smm solve "
    "sort sparse_dim sparse_mask sparse_resize_ sparse_resize_and_clear_ split_with_sizes squeeze_ sspaddmm "
    "stft storage storage_offset storage_type stride subtract sum_to_size svd swapaxes swapaxes_ swapdims "
    "swapdims_ symeig t_ take tan tan_ tensor_split tile to_dense to_mkldnn to_padded_tensor to_sparse "
    "to_sparse_bsc to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr topk trace transpose_ "
    "triangular_solve true_divide trunc trunc_ unfold unique unique_consecutive unsafe_chunk unsafe_split "
    "unsafe_split_with_sizes unsqueeze_ untyped_storage values vdot volatile vsplit xlogy xlogy_ xpu"
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
