"""Names of PyTorch's that are not here: what an AttributeError says of them.

Python would suggest whatever is spelt alike, such as ``ravel`` for ``save``. Of a name that PyTorch has the error says
what it is called here, or that nothing here does its work. Any other name is left to Python's suggestion.
"""

from __future__ import annotations

from gpunn._tensor_absent import ABSENT
from gpunn.errors import UnknownNameError

# Names that PyTorch has in a module and we do not. One that has come since does no harm: nobody asks for it here.
_PYTORCHS = {
    "gpunn": (
        "BFloat16Tensor Event HalfTensor OutOfMemoryError Stream adaptive_avg_pool1d adjoint alias_copy angle ao "
        "as_strided as_strided_copy as_strided_scatter avg_pool1d bartlett_window bilinear bit bits16 bits1x8 "
        "bits2x4 bits4x2 bits8 bitwise_left_shift bitwise_right_shift blackman_window cdouble celu_ cfloat chalf "
        "channel_shuffle cholesky cholesky_inverse cholesky_solve classes col_indices_copy "
        "compiled_with_cxx11_abi complex complex128 complex32 complex64 cond conj conj_physical conv1d conv2d "
        "conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d corrcoef cosine_similarity cov cpp "
        "crow_indices_copy cumulative_trapezoid dequantize det detach_copy diagonal_copy diagonal_scatter digamma "
        "empty_permuted empty_strided erfc expand_copy export fake_quantize_per_channel_affine "
        "fake_quantize_per_tensor_affine fft float4_e2m1fn_x2 float8_e4m3fn float8_e4m3fnuz float8_e5m2 "
        "float8_e5m2fnuz float8_e8m0fnu fmax fmin fork frexp from_file frombuffer func functional futures gcd "
        "geqrf get_deterministic_debug_mode get_device_module gradient hamming_window hann_window hardshrink "
        "has_lapack has_mkl has_openmp has_spectral hash_tensor histogram histogramdd hspmm i0 igamma igammac "
        "imag import_ir_module import_ir_module_from_buffer index_reduce indices_copy init_num_threads int1 int2 "
        "int3 int4 int5 int6 int7 inverse is_conj is_deterministic_algorithms_warn_only_enabled is_inference "
        "is_inference_mode_enabled is_storage is_warn_always_enabled isin isneginf isposinf isreal istft "
        "kaiser_window lcm ldexp lgamma library linalg lobpcg logcumsumexp logdet logspace lu lu_solve lu_unpack "
        "masked matrix_exp merge_type_from_type_comment monitor mps msort mtia multiprocessing mvlgamma nanmedian "
        "nanquantile narrow_copy native_channel_shuffle nested nextafter nonzero_static orgqr ormqr overrides "
        "package pairwise_distance parse_ir parse_schema parse_type_comment pca_lowrank pdist permute_copy "
        "pinverse pixel_shuffle pixel_unshuffle poisson polar polygamma positive prelu profiler qint32 qint8 qr "
        "quantization quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm "
        "quantized_max_pool1d quantized_max_pool2d quasirandom quint2x4 quint4x2 quint8 range real relu_ renorm "
        "resolve_conj resolve_neg return_types rrelu_ scatter_reduce segment_reduce select_copy select_scatter "
        "selu_ serialization set_default_tensor_type set_deterministic_debug_mode set_flush_denormal "
        "set_warn_always signal slice_copy slice_scatter slogdet smm sparse sparse_bsc_tensor sparse_bsr_tensor "
        "sparse_compressed_tensor sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor special split_copy "
        "split_with_sizes_copy squeeze_copy sspaddmm stft storage svd svd_lowrank sym_float sym_int sym_ite "
        "sym_max sym_min sym_not sym_sum t_copy testing thread_safe_generator threshold_ to_dlpack torch_version "
        "transpose_copy triangular_solve types uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 "
        "unbind_copy unfold_copy unify_type_list unique_consecutive unravel_index unsafe_chunk unsafe_split "
        "unsqueeze_copy values_copy view_as_complex view_as_complex_copy view_as_real view_as_real_copy view_copy "
        "vmap wait while_loop windows xpu"
    ),
    "gpunn.nn": (
        "AdaptiveLogSoftmaxWithLoss Buffer CTCLoss Container CrossMapLRN2d EmbeddingBag FractionalMaxPool2d "
        "FractionalMaxPool3d LinearCrossEntropyLoss LinearCrossEntropyOptions MultiLabelMarginLoss NLLLoss2d "
        "Softmin UninitializedBuffer grad intrinsic qat quantizable quantized"
    ),
    "gpunn.nn.functional": (
        "adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices celu_ "
        "conv_tbc ctc_loss elu_ embedding_bag fractional_max_pool2d fractional_max_pool2d_with_indices "
        "fractional_max_pool3d fractional_max_pool3d_with_indices grad grouped_mm hardtanh_ leaky_relu_ "
        "linear_cross_entropy max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
        "multi_head_attention_forward multilabel_margin_loss native_channel_shuffle relu_ rrelu_ "
        "scaled_grouped_mm scaled_mm selu_ softmin threshold_ upsample upsample_bilinear upsample_nearest"
    ),
    "gpunn.optim": ("ASGD Adafactor Rprop SparseAdam swap_in_optimizer_params_and_state"),
    "gpunn.cuda": (
        "AcceleratorError BFloat16Tensor BoolTensor ByteTensor CUDAGraph CUDAPluggableAllocator CharTensor "
        "CudaError DeferredCudaCallError DoubleTensor ExternalStream FloatTensor GreenContext HalfTensor "
        "IntTensor LongTensor MemPool OutOfMemoryError ShortTensor StreamContext caching_allocator_alloc "
        "caching_allocator_delete caching_allocator_disabled caching_allocator_enable can_device_access_peer "
        "change_current_allocator check_error clock_rate cudart current_blas_handle current_solver_handle "
        "default_generators device_memory_used gds get_allocator_backend get_arch_list get_gencode_flags "
        "get_per_process_memory_fraction get_stream_from_external get_sync_debug_mode graph graph_pool_handle "
        "graphs green_contexts has_half has_magma host_memory_stats host_memory_stats_as_nested_dict initial_seed "
        "is_current_stream_capturing is_tf32_supported jiterator list_gpu_processes make_graphed_callables "
        "max_memory_cached max_memory_reserved memory memory_cached memory_snapshot memory_stats "
        "memory_stats_as_nested_dict memory_summary memory_usage nccl nvtx power_draw profiler random "
        "reset_accumulated_host_memory_stats reset_accumulated_memory_stats reset_max_memory_allocated "
        "reset_max_memory_cached reset_peak_host_memory_stats seed seed_all set_per_process_memory_fraction "
        "set_stream set_sync_debug_mode sparse streams temperature tunable use_mem_pool utilization"
    ),
    "gpunn.autograd": (
        "NestedIOFunction anomaly_mode backward enforce_grad_layout_policy forward_ad function functional "
        "gradgradcheck graph handle_torch_function has_torch_function is_multithreading_enabled is_tensor_like "
        "is_view_replay_enabled kineto_available profiler profiler_legacy profiler_util "
        "set_multithreading_enabled"
    ),
    "gpunn.nn.utils": (
        "clip_grad clip_grads_with_norm_ convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format "
        "convert_parameters fuse_conv_bn_eval fuse_conv_bn_weights fuse_linear_bn_eval fuse_linear_bn_weights "
        "fusion get_total_norm init memory_format parametrizations parametrize skip_init stateless"
    ),
}

# What does the work of a name that has no namesake here.
_INSTEAD = {
    "gpunn": {
        "fft": "numpy.fft on x.numpy(), without gradients",
        "linalg": "gpunn.norm, or numpy.linalg on x.numpy(), without gradients",
        "relu_": "gpunn.nn.functional.relu(x, inplace=True)",
        "special": "gpunn.erf, gpunn.expm1 and the like",
        "vmap": "a batch axis in front, which ops take",
        "Event": "gpunn.cuda.Event",
        "OutOfMemoryError": "gpunn.errors.OutOfMemoryError",
        "Stream": "gpunn.cuda.Stream",
    },
    "gpunn.cuda": {"OutOfMemoryError": "gpunn.errors.OutOfMemoryError"},
    "gpunn.nn": {"NLLLoss2d": "gpunn.nn.NLLLoss"},
    "gpunn.nn.functional": {
        **{
            f"{name}_": f"gpunn.nn.functional.{name}(x, inplace=True)"
            for name in ("celu", "elu", "hardtanh", "leaky_relu", "rrelu", "selu", "threshold")
        },
        **{
            f"{name}_with_indices": f"gpunn.nn.functional.{name}(x, ..., return_indices=True)"
            for name in (f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3))
        },
        "relu_": "gpunn.nn.functional.relu(x, inplace=True)",
    },
    "gpunn.Tensor": {
        "byte": "x.to(gpunn.uint8)",
        "char": "x.to('int8')",
        "index_put_": "x[indices] = values",
        "short": "x.to('int16')",
        "split_with_sizes": "x.split(...)",
        "squeeze_": "x = x.squeeze(...)",
        "t_": "x = x.t()",
        "transpose_": "x = x.transpose(...)",
        "unsqueeze_": "x = x.unsqueeze(...)",
    },
}
# Where else a name may stand, in the order of looking: PyTorch has many in several places.
_ELSEWHERE = {
    "gpunn": ("nn.functional", "nn", "optim", "cuda", "Tensor"),
    "gpunn.Tensor": ("", "nn.functional"),
    "gpunn.nn": ("nn.functional", ""),
    "gpunn.nn.functional": ("", "nn", "Tensor"),
}


def no_such_name(place: str, name: str) -> AttributeError:
    """The error for a name that a public place does not have.

    Parameters
    ----------
    place : str
        ``gpunn``, a public module such as ``gpunn.nn``, or ``gpunn.Tensor``.
    name : str

    Returns
    -------
    UnknownNameError, or AttributeError
        The latter, as Python words it, for a name that is not PyTorch's either.
    """
    begin = f"module {place!r} has no attribute {name!r}"
    if place == "gpunn.Tensor":
        begin = f"'Tensor' object has no attribute {name!r}"
    instead = _INSTEAD.get(place, {}).get(name)
    # Only for names of PyTorch's: looking elsewhere imports the layers.
    if instead is None and name not in (ABSENT if place == "gpunn.Tensor" else _PYTORCHS.get(place, "").split()):
        return AttributeError(begin)
    instead = instead or _namesake(place, name)
    if instead:
        told = f"{begin}. Use {instead}."
    else:
        told = f"{begin}: PyTorch has it, and gpunn has nothing that does its work under another name."
    error = UnknownNameError(told)
    # With an object to look through, Python would add a name that is spelt alike.
    error.name, error.obj = name, None
    return error


def _namesake(place: str, name: str) -> str:
    """Where else the same name stands, in words to put behind "Use"; empty if nowhere."""
    import gpunn
    from gpunn import cuda, nn, optim

    tops = {"": gpunn, "nn": nn, "nn.functional": nn.functional, "optim": optim, "cuda": cuda}
    for other in _ELSEWHERE.get(place, ()):
        if other == "Tensor":
            if hasattr(gpunn.Tensor, name):
                return f"x.{name}, a tensor's"
        elif name in tops[other].__all__:
            return f"{tops[other].__name__}.{name}"
    return ""
