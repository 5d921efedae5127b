"""Digits: the enlargement is bilinear, the split is the documented one, and both are the same everywhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunn.data import Digits
from gpunn.data.digits import _enlarge, _interpolation_matrix
from gpunn.errors import DataError

# sha256 of images and labels, made with NumPy 2.4 and scikit-learn 1.9 and checked by the tests below
# against other implementations. A change here changes every published accuracy.
DIGESTS = {
    True: "0b3c112fda525ed11fe00901d8d1b8a8dcff7ffd4426b6c538c991b9636af6e5",
    False: "f2a0f5939c2bfb904c7d8d03d1e4647560aea84f9750c36fc3fc9c1439c16841",
}


@pytest.fixture(scope="module")
def parts():
    pytest.importorskip("sklearn")
    return {True: Digits(train=True), False: Digits(train=False)}


@pytest.mark.parametrize("train", [True, False])
def test_same_bytes_everywhere(parts, train):
    data = parts[train]
    digest = hashlib.sha256(data.images.tobytes() + data.labels.astype("<i8").tobytes()).hexdigest()
    assert digest == DIGESTS[train]


def test_split_is_the_documented_one(parts):
    from sklearn.datasets import load_digits

    target = load_digits().target
    stream = np.random.Philox(key=1797)
    raw = [int(stream.random_raw()) for _ in range(1797)]
    test = sorted(sorted(range(1797), key=raw.__getitem__)[:360])
    np.testing.assert_array_equal(parts[False].labels, target[test])
    np.testing.assert_array_equal(parts[True].labels, np.delete(target, test))
    assert len(parts[True]) == 1437


def test_parts_are_all_the_images_once(parts):
    from sklearn.datasets import load_digits

    def rows(images):
        return sorted(image.tobytes() for image in images)

    everything = _enlarge(load_digits().images.astype(np.int64), 28)
    assert rows([*parts[True].images, *parts[False].images]) == rows(everything)


def test_every_class_is_in_both_parts(parts):
    for part in parts.values():
        assert np.bincount(part.labels, minlength=10).min() >= 20


def test_batches_are_like_mnists(parts):
    x, y = parts[False].batch(np.array([3, 1, 3]))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((3, 1, 28, 28), np.float32, (3,), np.int64)
    assert (parts[True].input_shape, parts[True].classes) == ((1, 28, 28), tuple("0123456789"))
    np.testing.assert_array_equal(x[0], parts[False][3][0])


def test_standardised_by_the_training_part(parts):
    train, test = parts[True], parts[False]
    assert (train.mean, train.std) == (test.mean, test.std)
    x, _ = train.batch(np.arange(len(train)))
    # float32 rounding of a million values of size 1, averaged.
    assert abs(x.mean(dtype=np.float64)) < 1e-6
    assert abs(x.std(dtype=np.float64) - 1) < 1e-6
    assert abs(test.batch(np.arange(len(test)))[0].mean(dtype=np.float64)) > 1e-6  # not by its own


def bilinear(small: np.ndarray, size: int) -> np.ndarray:
    """One image, pixel by pixel from the definition, in floating point."""
    h, w = small.shape
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y = min(max((i + 0.5) * h / size - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / size - 0.5, 0), w - 1)
            top, left = min(int(y), h - 2), min(int(x), w - 2)
            dy, dx = y - top, x - left
            upper = (1 - dx) * small[top, left] + dx * small[top, left + 1]
            lower = (1 - dx) * small[top + 1, left] + dx * small[top + 1, left + 1]
            out[i, j] = (1 - dy) * upper + dy * lower
    return out


def test_enlarging_is_bilinear():
    small = np.random.default_rng(1).integers(0, 17, (3, 8, 8))
    for image, enlarged in zip(small, _enlarge(small, 28), strict=True):
        # Rounded to the nearest byte: half a byte, and the reference's own rounding.
        np.testing.assert_allclose(enlarged, bilinear(image, 28) * 255 / 16, rtol=0, atol=0.5 + 1e-9)


def test_enlarging_equals_torch(parts):
    torch = pytest.importorskip("torch")
    from sklearn.datasets import load_digits

    small = load_digits().images
    reference = torch.nn.functional.interpolate(
        torch.from_numpy(small)[:, None], size=(28, 28), mode="bilinear", align_corners=False
    )[:, 0].numpy()
    enlarged = _enlarge(small.astype(np.int64), 28)
    np.testing.assert_allclose(enlarged, reference * 255 / 16, rtol=0, atol=0.5 + 1e-9)


def test_black_and_white_stay_so():
    assert (_enlarge(np.full((1, 8, 8), 16), 28) == 255).all()
    assert (_enlarge(np.zeros((1, 8, 8), np.int64), 28) == 0).all()


@settings(deadline=None)
@given(n_in=st.integers(1, 20), n_out=st.integers(1, 40))
def test_interpolation_weights(n_in, n_out):
    """They are an average of at most two neighbours, and reproduce a ramp away from the edges."""
    matrix = _interpolation_matrix(n_in, n_out)
    unit = 2 * n_out
    assert (matrix >= 0).all()
    assert (matrix.sum(axis=1) == unit).all()
    assert ((matrix > 0).sum(axis=1) <= 2).all()
    centres = (2 * np.arange(n_out) + 1) * n_in - n_out
    np.testing.assert_array_equal(matrix @ np.arange(n_in), centres.clip(0, (n_in - 1) * unit))


@pytest.mark.parametrize("module", ["sklearn", "sklearn.datasets"])
def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch, module):
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"pip install 'gpunn\[demo\]'"):
        Digits()


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1796, 8, 8)),
        np.full((1797, 8, 8), 17.0),
        np.full((1797, 8, 8), -1.0),
        np.full((1797, 8, 8), 0.5),
    ],
)
def test_other_data_under_that_name_is_refused(monkeypatch, images):
    stand_in: Any = types.ModuleType("sklearn.datasets")
    stand_in.load_digits = lambda: types.SimpleNamespace(images=images, target=np.zeros(len(images), int))
    monkeypatch.setitem(sys.modules, "sklearn", types.ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", stand_in)
    with pytest.raises(DataError, match="expected 1797 images of 8x8 whole numbers"):
        Digits()


def test_importing_the_data_package_is_light():
    """What only some programs need is imported where it is used: packages, and the modules of the network."""
    heavy = {"sklearn", "scipy", "cupy", "safetensors", "PIL", "urllib.request", "http.client", "ssl"}
    code = f"import sys, gpunn.data; print({heavy} & set(sys.modules))"
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "set()"
