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
        "BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor Event FloatTensor GradScaler HalfTensor "
        "IntTensor LongTensor OutOfMemoryError ShortTensor Size Stream absolute accelerator acos acosh "
        "adaptive_avg_pool1d addbmm addcdiv addcmul addmm addmv addr adjoint alias_copy aminmax amp angle ao "
        "arccos arccosh arcsin arcsinh arctan arctan2 arctanh are_deterministic_algorithms_enabled argsort "
        "argwhere as_strided as_strided_copy as_strided_scatter asin asinh atan atan2 atanh atleast_1d atleast_2d "
        "atleast_3d autocast avg_pool1d backends baddbmm bartlett_window bernoulli bfloat16 bilinear bincount bit "
        "bits16 bits1x8 bits2x4 bits4x2 bits8 bitwise_left_shift bitwise_right_shift blackman_window block_diag "
        "broadcast_shapes broadcast_tensors bucketize can_cast cartesian_prod cdist cdouble celu_ cfloat "
        "chain_matmul chalf channel_shuffle cholesky cholesky_inverse cholesky_solve classes col_indices_copy "
        "column_stack combinations compile compiled_with_cxx11_abi compiler complex complex128 complex32 "
        "complex64 cond conj conj_physical conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d "
        "conv_transpose3d copysign corrcoef cosh cosine_similarity count_nonzero cov cpp cross crow_indices_copy "
        "cummax cummin cumprod cumsum cumulative_trapezoid deg2rad dequantize det detach_copy diag diag_embed "
        "diagflat diagonal diagonal_copy diagonal_scatter diff digamma dist distributed distributions divide dot "
        "dsplit dstack e einsum empty_permuted empty_strided eq erfc erfinv exp2 expand_copy export "
        "fake_quantize_per_channel_affine fake_quantize_per_tensor_affine fft fix fliplr flipud float16 "
        "float4_e2m1fn_x2 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float_power "
        "fmax fmin fmod fork frac frexp from_file frombuffer func functional futures fx gcd ge geqrf ger "
        "get_default_device get_default_dtype get_deterministic_debug_mode get_device_module "
        "get_float32_matmul_precision get_num_interop_threads get_rng_state gradient greater greater_equal gt "
        "half hamming_window hann_window hardshrink has_lapack has_mkl has_openmp has_spectral hash_tensor "
        "heaviside histc histogram histogramdd hsplit hspmm hstack hub hypot i0 igamma igammac imag "
        "import_ir_module import_ir_module_from_buffer index_add index_copy index_reduce indices_copy inf "
        "inference_mode init_num_threads initial_seed inner int1 int16 int2 int3 int4 int5 int6 int7 int8 inverse "
        "is_complex is_conj is_deterministic_algorithms_warn_only_enabled is_floating_point is_inference "
        "is_inference_mode_enabled is_nonzero is_storage is_warn_always_enabled isclose isin isneginf isposinf "
        "isreal istft jit kaiser_window kron kthvalue lcm ldexp le lerp less less_equal lgamma library linalg "
        "lobpcg log10 log2 logaddexp logaddexp2 logcumsumexp logdet logit logspace logsumexp lt lu lu_solve "
        "lu_unpack masked matrix_exp matrix_power median merge_type_from_type_comment meshgrid mode monitor "
        "moveaxis mps msort mtia multinomial multiply multiprocessing mv mvlgamma nan nan_to_num nanmean "
        "nanmedian nanquantile nansum narrow_copy native_channel_shuffle ne negative nested nextafter "
        "nonzero_static normal not_equal numel orgqr ormqr outer overrides package pairwise_distance parse_ir "
        "parse_schema parse_type_comment pca_lowrank pdist permute_copy pi pinverse pixel_shuffle pixel_unshuffle "
        "poisson polar polygamma positive prelu profiler promote_types qint32 qint8 qr quantile quantization "
        "quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm "
        "quantized_max_pool1d quantized_max_pool2d quasirandom quint2x4 quint4x2 quint8 rad2deg range real relu_ "
        "renorm repeat_interleave resolve_conj resolve_neg result_type return_types roll rot90 row_stack rrelu_ "
        "scatter scatter_add scatter_reduce searchsorted seed segment_reduce select_copy select_scatter selu_ "
        "serialization set_default_device set_default_dtype set_default_tensor_type set_deterministic_debug_mode "
        "set_float32_matmul_precision set_flush_denormal set_num_interop_threads set_printoptions set_rng_state "
        "set_warn_always sgn short signal signbit sinc sinh slice_copy slice_scatter slogdet smm sort sparse "
        "sparse_bsc_tensor sparse_bsr_tensor sparse_compressed_tensor sparse_coo_tensor sparse_csc_tensor "
        "sparse_csr_tensor special split_copy split_with_sizes_copy squeeze_copy sspaddmm std_mean stft storage "
        "subtract svd svd_lowrank swapaxes swapdims sym_float sym_int sym_ite sym_max sym_min sym_not sym_sum "
        "t_copy take tan tensor_split tensordot testing thread_safe_generator threshold_ tile to_dlpack topk "
        "torch_version trace transpose_copy trapezoid trapz triangular_solve tril_indices triu_indices "
        "true_divide trunc typename types uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 "
        "unbind_copy unfold_copy unify_type_list unique unique_consecutive unravel_index unsafe_chunk "
        "unsafe_split unsqueeze_copy use_deterministic_algorithms utils values_copy vander var_mean vdot version "
        "view_as_complex view_as_complex_copy view_as_real view_as_real_copy view_copy vmap vsplit vstack wait "
        "while_loop windows xlogy xpu"
    ),
    "gpunn.nn": (
        "CELU LSTM SELU "
        "AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool1d AdaptiveMaxPool3d AlphaDropout AvgPool3d "
        "BatchNorm3d Bilinear Buffer CTCLoss ChannelShuffle CircularPad1d CircularPad2d CircularPad3d "
        "ConstantPad3d Container Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineEmbeddingLoss "
        "CosineSimilarity CrossMapLRN2d DataParallel Dropout1d Dropout2d Dropout3d EmbeddingBag "
        "FeatureAlphaDropout Fold FractionalMaxPool2d FractionalMaxPool3d GLU GRU GRUCell GaussianNLLLoss "
        "Hardshrink Hardsigmoid Hardswish HingeEmbeddingLoss InstanceNorm1d InstanceNorm2d InstanceNorm3d "
        "KLDivLoss LPPool1d LPPool2d LPPool3d LSTMCell LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d "
        "LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d "
        "LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear LinearCrossEntropyLoss LinearCrossEntropyOptions "
        "LocalResponseNorm MarginRankingLoss MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish "
        "MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss2d PairwiseDistance ParameterDict "
        "PixelShuffle PixelUnshuffle PoissonNLLLoss RMSNorm RNN RNNBase RNNCell RNNCellBase RReLU ReflectionPad1d "
        "ReflectionPad3d ReplicationPad1d ReplicationPad3d SoftMarginLoss Softmax2d Softmin Softshrink Softsign "
        "SyncBatchNorm Tanhshrink Threshold Transformer TransformerDecoder TransformerDecoderLayer "
        "TransformerEncoder TransformerEncoderLayer TripletMarginLoss TripletMarginWithDistanceLoss Unfold "
        "UninitializedBuffer UninitializedParameter Upsample UpsamplingBilinear2d UpsamplingNearest2d ZeroPad3d "
        "grad intrinsic modules parallel qat quantizable quantized"
    ),
    "gpunn.nn.functional": (
        "adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool1d_with_indices "
        "adaptive_max_pool2d_with_indices adaptive_max_pool3d adaptive_max_pool3d_with_indices affine_grid "
        "alpha_dropout avg_pool3d bilinear celu celu_ channel_shuffle conv3d conv_tbc conv_transpose1d "
        "conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity ctc_loss dropout1d dropout2d "
        "dropout3d elu_ embedding_bag feature_alpha_dropout fold fractional_max_pool2d "
        "fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices "
        "gaussian_nll_loss glu grad grid_sample grouped_mm gumbel_softmax hardshrink hardsigmoid hardswish "
        "hardtanh_ hinge_embedding_loss instance_norm interpolate kl_div leaky_relu_ linear_cross_entropy "
        "local_response_norm lp_pool1d lp_pool2d lp_pool3d margin_ranking_loss max_pool1d_with_indices "
        "max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d mish "
        "multi_head_attention_forward multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss "
        "native_channel_shuffle normalize one_hot pairwise_distance pdist pixel_shuffle pixel_unshuffle "
        "poisson_nll_loss relu_ rms_norm rrelu rrelu_ scaled_grouped_mm scaled_mm selu selu_ soft_margin_loss "
        "softmin softshrink softsign tanhshrink threshold threshold_ triplet_margin_loss "
        "triplet_margin_with_distance_loss unfold upsample upsample_bilinear upsample_nearest"
    ),
    "gpunn.optim": (
        "ASGD LBFGS "
        "Adadelta Adafactor Adamax Muon NAdam RAdam Rprop SparseAdam swa_utils swap_in_optimizer_params_and_state"
    ),
    "gpunn.cuda": (
        "AcceleratorError BFloat16Tensor BoolTensor ByteTensor CUDAGraph CUDAPluggableAllocator CharTensor "
        "CudaError DeferredCudaCallError DoubleTensor ExternalStream FloatTensor GreenContext HalfTensor "
        "IntTensor LongTensor MemPool OutOfMemoryError ShortTensor StreamContext amp caching_allocator_alloc "
        "caching_allocator_delete caching_allocator_disabled caching_allocator_enable can_device_access_peer "
        "change_current_allocator check_error clock_rate cudart current_blas_handle current_solver_handle "
        "default_generators device_memory_used device_of gds get_allocator_backend get_arch_list "
        "get_device_properties get_gencode_flags get_per_process_memory_fraction get_rng_state get_rng_state_all "
        "get_stream_from_external get_sync_debug_mode graph graph_pool_handle graphs green_contexts has_half "
        "has_magma host_memory_stats host_memory_stats_as_nested_dict init initial_seed ipc_collect "
        "is_bf16_supported is_current_stream_capturing is_initialized is_tf32_supported jiterator "
        "list_gpu_processes make_graphed_callables manual_seed manual_seed_all max_memory_cached "
        "max_memory_reserved mem_get_info memory memory_cached memory_snapshot memory_stats "
        "memory_stats_as_nested_dict memory_summary memory_usage nccl nvtx power_draw profiler random "
        "reset_accumulated_host_memory_stats reset_accumulated_memory_stats reset_max_memory_allocated "
        "reset_max_memory_cached reset_peak_host_memory_stats seed seed_all set_device "
        "set_per_process_memory_fraction set_rng_state set_rng_state_all set_stream set_sync_debug_mode sparse "
        "streams temperature tunable use_mem_pool utilization"
    ),
    "gpunn.autograd": (
        "NestedIOFunction anomaly_mode backward detect_anomaly enforce_grad_layout_policy forward_ad function "
        "functional grad_mode gradgradcheck graph handle_torch_function has_torch_function inference_mode "
        "is_multithreading_enabled is_tensor_like is_view_replay_enabled kineto_available profiler "
        "profiler_legacy profiler_util set_detect_anomaly set_multithreading_enabled"
    ),
    "gpunn.nn.init": (
        "constant dirac dirac_ eye eye_ kaiming_normal kaiming_uniform normal orthogonal sparse sparse_ uniform "
        "xavier_normal xavier_uniform"
    ),
    "gpunn.nn.utils": (
        "clip_grad clip_grad_norm clip_grads_with_norm_ convert_conv2d_weight_memory_format "
        "convert_conv3d_weight_memory_format convert_parameters fuse_conv_bn_eval fuse_conv_bn_weights "
        "fuse_linear_bn_eval fuse_linear_bn_weights fusion get_total_norm init memory_format parameters_to_vector "
        "parametrizations parametrize remove_spectral_norm remove_weight_norm rnn skip_init spectral_norm "
        "stateless vector_to_parameters weight_norm"
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
