"""COVERAGE L16: flatten, reshape and zero-pad, up to what LeNet, residual networks and vision transformers need."""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
import gpunn.nn.functional as F
from gpunn import nn
from gpunn._gradcheck import gradcheck


def _random(*shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(0)).standard_normal(shape)


def test_L16_lenet_zero_pads_to_32_and_flattens_to_400() -> None:
    image = _random(2, 1, 28, 28)
    x = nn.ZeroPad2d(2)(gpunn.tensor(image))
    assert x.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(x.numpy(), np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2))))
    maps = _random(2, 16, 5, 5)
    rows = nn.Flatten()(gpunn.tensor(maps))
    assert rows.shape == (2, 400)
    # Logical order, channel by channel: weights of the next layer agree with those of other libraries.
    np.testing.assert_array_equal(rows.numpy(), maps.reshape(2, 400))
    assert rows.reshape(2, 16, 5, -1).tolist() == rows.view(-1, 16, 5, 5).tolist() == maps.tolist()


def _shortcut(x: gpunn.Tensor) -> gpunn.Tensor:
    """CIFAR ResNet's option A: every other row and column, and zero channels for those that are new."""
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))


def test_L16_identity_shortcut_with_stride_and_zero_channels() -> None:
    x = _random(2, 16, 8, 8)
    y = _shortcut(gpunn.tensor(x))
    assert y.shape == (2, 32, 4, 4)
    expected = np.zeros((2, 32, 4, 4))
    expected[:, 8:24] = x[:, :, ::2, ::2]
    np.testing.assert_array_equal(y.numpy(), expected)
    joined = gpunn.cat([gpunn.zeros(2, 8, 4, 4, dtype=np.float64), gpunn.tensor(x)[:, :, ::2, ::2]], 1)
    np.testing.assert_array_equal(joined.numpy(), expected[:, :24])


def test_L16_gradient_of_the_shortcut() -> None:
    assert gradcheck(lambda x: _shortcut(x) ** 2, gpunn.tensor(_random(1, 2, 3, 4), requires_grad=True))


def _tokens(images: gpunn.Tensor, token: gpunn.Tensor, patch: int) -> gpunn.Tensor:
    """Patches of images as rows, with a class token before them."""
    n, c, h, w = images.shape
    p = images.reshape(n, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    return gpunn.cat([token.expand(n, -1, -1), p], dim=1)


def test_L16_patches_and_class_token_of_a_vision_transformer() -> None:
    images, token = _random(2, 3, 8, 4), _random(1, 1, 48)
    x = _tokens(gpunn.tensor(images), gpunn.tensor(token), 4)
    assert x.shape == (2, 3, 48)
    for n in range(2):
        np.testing.assert_array_equal(x[n, 0].numpy(), token[0, 0])
        np.testing.assert_array_equal(x[n, 1].numpy(), images[n, :, :4].ravel())
        np.testing.assert_array_equal(x[n, 2].numpy(), images[n, :, 4:].ravel())
    small = gpunn.tensor(_random(2, 1, 4, 2), requires_grad=True), gpunn.tensor(_random(1, 1, 4), requires_grad=True)
    assert gradcheck(lambda images, token: _tokens(images, token, 2) ** 2, small)


def test_L16_maps_become_rows_and_rows_become_heads() -> None:
    """As after a patch embedding by a convolution, and within multi-head attention."""
    torch = pytest.importorskip("torch")
    maps = _random(2, 6, 2, 3)
    mine, other = gpunn.tensor(maps, requires_grad=True), torch.tensor(maps, requires_grad=True)
    results = []
    for x in (mine, other):
        rows = x.flatten(2).transpose(1, 2)
        q, k = rows.unflatten(2, (2, 3)).permute(2, 0, 1, 3).unbind(0)
        results.append(q * k.flip(1))
        results[-1].sum().backward()
    np.testing.assert_array_equal(results[0].detach().numpy(), results[1].detach().numpy())
    np.testing.assert_array_equal(mine.grad.numpy(), other.grad.numpy())
