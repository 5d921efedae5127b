"""The main kernels at customary sizes: inner loops without bank conflicts, sectors near the fewest possible.

``python -m tests.emulator.kernel_counts --lines`` shows what is counted.
"""

from __future__ import annotations

import functools
import shutil

import pytest

from gpunn.emulator import KernelCount, LineCount, available
from gpunn.gpu.launcher import kernel_folder
from tests.emulator.kernel_counts import CASES, measure

pytestmark = [
    pytest.mark.emulator,
    pytest.mark.skipif(available() is not None, reason=str(available())),
    pytest.mark.skipif(shutil.which("addr2line") is None, reason="lines need addr2line: apt install binutils"),
]

# Sectors as a share of the fewest possible, which each kernel must reach. Below 95 %: what group_norm has of each group
# beside few positions.
SECTORS = {
    "Conv2d(64, 64, 3)": {"conv2d_forward": 0.99, "conv2d_backward": 0.99},
    "Conv2d(64, 64, 3) by Winograd": {
        "winograd_filters": 0.99, "winograd_input": 0.99, "gemm_batched_nt": 0.99, "winograd_output": 0.99,
        "bias_backward": 0.99, "winograd_gradient": 0.99, "gemm_batched_tn": 0.99, "winograd_weight_gradient": 0.99,
        "gemm_batched_nn": 0.99,
    },
    "Conv2d(64, 64, 1)": {"gemm_nt": 0.99, "gemm_backward": 0.99},
    "Conv2d(3, 32, 3)": {
        "conv2d_first_forward": 0.98, "conv2d_first_backward_weight": 0.97, "conv2d_first_backward_data": 0.95,
    },
    "Conv2d(64, 64, 3, groups=64)": {
        "conv2d_narrow_3x3_forward": 0.95, "conv2d_narrow_3x3_backward_weight": 0.96,
        "conv2d_narrow_3x3_backward_data": 0.95,
    },
    "Conv2d(64, 64, 3, groups=16)": {
        "conv2d_narrow_3x3_forward": 0.97, "conv2d_narrow_3x3_backward_weight": 0.98,
        "conv2d_narrow_3x3_backward_data": 0.97,
    },
    "Conv2d(64, 64, 5, groups=64)": {
        "conv2d_narrow_forward": 0.95, "conv2d_narrow_backward_weight": 0.97, "conv2d_narrow_backward_data": 0.95,
    },
    "Linear(512, 128)": {"gemm_nt": 0.99, "gemm_backward": 0.99},
    "bmm": {"gemm_batched_nn": 0.99, "gemm_batched_nt": 0.99, "gemm_batched_tn": 0.99},
    "attention": {
        "attention_forward": 0.99, "attention_backward_queries": 0.99, "attention_backward_keys": 0.99, "copy": 0.99,
    },
    "BatchNorm2d(64)": {
        "batch_norm_statistics": 0.99, "batch_norm_normalise": 0.99, "batch_norm_backward_sums": 0.99,
        "batch_norm_backward": 0.99,
    },
    "GroupNorm(8, 64)": {
        "group_norm_moments": 0.99, "group_norm_statistics": 0.99, "group_norm_normalise": 0.99,
        "group_norm_backward_sums": 0.99, "group_norm_backward_means": 0.99, "group_norm_backward": 0.99,
        "group_norm_parameters": 0.99,
    },
    "LayerNorm(256)": {"layer_norm_forward": 0.99, "layer_norm_backward": 0.99, "layer_norm_merge": 0.99},
    "ReLU": {"relu_forward": 0.99, "relu_backward": 0.99},
    "GELU": {"gelu_forward": 0.99, "gelu_backward": 0.99},
    "Dropout": {"dropout": 0.99},
    "MaxPool2d(2)": {"max_pool2d_forward": 0.99, "max_pool2d_backward_pairs": 0.99},
    "MaxPool2d(3, 2, 1)": {"max_pool2d_forward": 0.99, "max_pool2d_backward_pairs": 0.99},
    "MaxPool2d(3)": {"max_pool2d_forward": 0.99, "max_pool2d_backward": 0.99},
    "AvgPool2d(2)": {"avg_pool2d_forward": 0.99, "avg_pool2d_backward": 0.99},
    "Softmax": {"softmax_forward": 0.99, "softmax_backward": 0.99},
    "CrossEntropyLoss": {"cross_entropy_forward": 0.99, "copy": 0.99},
    "SGD": {"write_words": 0.99, "sgd_step": 0.99},
    "Adam": {"write_words": 0.99, "adam_step": 0.99},
    "transpose": {"transpose": 0.99},
}  # fmt: skip

# Lines of inner loops, by what stands in them: their accesses to shared memory take no more passes than they must.
_PRODUCT = ("found = load<4>(first + place(k + ahead) + i)",)
_TAKE = ("f[i] = filters[(tap * FILTERS + i) * blockDim.x]",)
INNER = {
    ("Conv2d(64, 64, 3)", "conv2d_forward"): ("gemm_panels.cuh", *_PRODUCT),
    ("Conv2d(64, 64, 3)", "conv2d_backward"): ("gemm_panels.cuh", *_PRODUCT),
    ("Linear(512, 128)", "gemm_nt"): ("gemm_panels.cuh", *_PRODUCT),
    ("Linear(512, 128)", "gemm_backward"): ("gemm_panels.cuh", *_PRODUCT),
    ("bmm", "gemm_batched_nn"): ("gemm_panels.cuh", *_PRODUCT),
    ("bmm", "gemm_batched_nt"): ("gemm_panels.cuh", *_PRODUCT),
    ("bmm", "gemm_batched_tn"): ("gemm_panels.cuh", *_PRODUCT),
    ("Conv2d(3, 32, 3)", "conv2d_first_forward"): (
        "conv2d_first.cu", "f[quad] = load<4>(filter + ", "= load<4>(from + i * BYTES)",
    ),
    ("Conv2d(3, 32, 3)", "conv2d_first_backward_weight"): (
        "conv2d_first.cu", "d[quad] = load<4>(from + ", "= load<4>(from + i * BYTES)",
    ),
    ("Conv2d(3, 32, 3)", "conv2d_first_backward_data"): (
        "conv2d_first_data.cu", "d[i] = load<4>(seen + ", "f = load<4>(filter + ", "shared[threadIdx.x * APART + i] =",
    ),
    ("Conv2d(64, 64, 3, groups=64)", "conv2d_narrow_3x3_forward"): ("conv2d_narrow_3x3.cu", *_TAKE),
    ("Conv2d(64, 64, 3, groups=64)", "conv2d_narrow_3x3_backward_data"): ("conv2d_narrow_3x3.cu", *_TAKE),
    ("Conv2d(64, 64, 3, groups=16)", "conv2d_narrow_3x3_forward"): ("conv2d_narrow_3x3.cu", *_TAKE),
    ("Conv2d(64, 64, 3, groups=16)", "conv2d_narrow_3x3_backward_data"): ("conv2d_narrow_3x3.cu", *_TAKE),
    ("Conv2d(64, 64, 5, groups=64)", "conv2d_narrow_forward"): ("conv2d_depthwise.cu", "const In f = *filter"),
    ("Conv2d(64, 64, 5, groups=64)", "conv2d_narrow_backward_data"): ("conv2d_depthwise.cu", "const In f = *filter"),
    ("transpose", "transpose"): ("transpose.cu", "tile[i][threadIdx.x] =", "= tile[threadIdx.x][i]"),
}  # fmt: skip

counted = functools.cache(measure)


def test_every_case_has_its_row() -> None:
    assert set(SECTORS) == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_sectors_are_near_the_fewest(case: str) -> None:
    found = {kernel: count.sector_efficiency for kernel, count in counted(case).items()}
    assert set(found) == set(SECTORS[case])
    for kernel, least in SECTORS[case].items():
        efficiency = found[kernel]
        assert efficiency is not None
        # Not far above either: a row that has become too modest says nothing.
        assert least <= efficiency < least + 0.06, (kernel, efficiency)


@pytest.mark.parametrize(("case", "kernel"), INNER)
def test_inner_loops_have_no_bank_conflicts(case: str, kernel: str) -> None:
    file, *texts = INNER[case, kernel]
    lines = (kernel_folder() / file).read_text(encoding="utf-8").splitlines()
    count = counted(case)[kernel]
    for text in texts:
        at = {number for number, line in enumerate(lines, 1) if text in line}
        assert at, f"{file} has no line with {text!r} any more"
        shared = [one for one in count.lines if one.kind.startswith("shared") and one.file == file and one.line in at]
        assert shared, f"{kernel} does not touch shared memory in {text!r}"
        for one in shared:
            assert one.executions > 0
            assert one.asked == one.least, one


@pytest.mark.parametrize("case", ["Conv2d(64, 64, 3)", "Linear(512, 128)"])
def test_panels_are_put_into_shared_memory_without_bank_conflicts(case: str) -> None:
    for kernel, count in counted(case).items():
        assert _panels(count), kernel
        for one in _panels(count):
            assert one.asked == one.least, (kernel, one)


def _panels(count: KernelCount) -> list[LineCount]:
    lines = (kernel_folder() / "gemm_panels.cuh").read_text(encoding="utf-8").splitlines()
    return [
        one
        for one in count.lines
        if one.kind == "shared store"
        and one.file == "gemm_panels.cuh"
        and one.line
        and ("panel[" in lines[one.line - 1] or "store(panel" in lines[one.line - 1])
    ]


@pytest.mark.parametrize("case", ["transpose", "CrossEntropyLoss", "attention"])
def test_kernels_without_any_bank_conflict(case: str) -> None:
    for kernel, count in counted(case).items():
        assert count.bank_conflicts == 0, kernel
