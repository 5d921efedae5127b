"""Transforms of one image: torchvision's where it is installed, and known answers where it is not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import GpunnError, ShapeError, UsageError
from gpunn.vision import transforms as typed
from tests.parity_vision import torchvision

Image = pytest.importorskip("PIL.Image")
transforms: Any = typed  # so that wrong arguments pass the type checker
F: Any = typed.functional


def pixels(height: int = 7, width: int = 10, channels: int = 3, seed: int = 0) -> np.ndarray:
    drawn = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (height, width, channels), np.uint8)
    return drawn[:, :, 0] if channels == 1 else drawn


def image(*shape: int) -> Any:
    return Image.fromarray(pixels(*shape))


def array(value: Any) -> np.ndarray:
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


# -- the same as torchvision ----------------------------------------------------------------------

# What is not random, as a function of a library's transforms.
FIXED: dict[str, Any] = {
    "resize": lambda t: t.Resize((5, 8)),
    "resize of the shorter edge": lambda t: t.Resize(5),
    "resize larger": lambda t: t.Resize([12, 15], t.InterpolationMode.BICUBIC),
    "resize with a longest edge": lambda t: t.Resize(6, max_size=7),
    "resize to the nearest": lambda t: t.Resize((4, 13), interpolation=t.InterpolationMode.NEAREST),
    "resize to the same": lambda t: t.Resize((7, 10)),
    "centre": lambda t: t.CenterCrop((4, 5)),
    "centre of odd rest": lambda t: t.CenterCrop(4),
    "centre larger than the image": lambda t: t.CenterCrop((9, 13)),
    "pad": lambda t: t.Pad(2),
    "pad sides": lambda t: t.Pad((1, 3), fill=7),
    "pad four": lambda t: t.Pad((1, 0, 2, 3)),
    "pad edge": lambda t: t.Pad(2, padding_mode="edge"),
    "pad reflect": lambda t: t.Pad((2, 1), padding_mode="reflect"),
    "pad symmetric": lambda t: t.Pad((1, 2, 3, 4), padding_mode="symmetric"),
    "flip": lambda t: t.RandomHorizontalFlip(1),
    "flip upside down": lambda t: t.RandomVerticalFlip(1.0),
    "never flip": lambda t: t.RandomHorizontalFlip(0.0),
    "grey": lambda t: t.Grayscale(),
    "three greys": lambda t: t.Grayscale(3),
    "always grey": lambda t: t.RandomGrayscale(1.0),
    "whole crop": lambda t: t.RandomCrop((7, 10)),
    "crop of the padded": lambda t: t.RandomCrop((9, 12), padding=1),
    "brighter": lambda t: t.ColorJitter(brightness=(1.5, 1.5)),
    "more contrast": lambda t: t.ColorJitter(contrast=(0.5, 0.5)),
    "more colour": lambda t: t.ColorJitter(saturation=(1.75, 1.75)),
    "no colour": lambda t: t.ColorJitter(saturation=(0, 0)),
    "several": lambda t: t.Compose([t.Resize(6), t.CenterCrop(4), t.Lambda(lambda x: x)]),
    "applied": lambda t: t.RandomApply([t.Pad(1)], p=1.0),
    "negative": lambda t: t.RandomInvert(1.0),
    "never negative": lambda t: t.RandomInvert(0.0),
    "light colours inverted": lambda t: t.RandomSolarize(0.5, p=1.0),
    "blurred": lambda t: t.GaussianBlur(3, 1.5),
    "blurred differently": lambda t: t.GaussianBlur((5, 3), (0.7, 0.7)),
    "five": lambda t: t.Compose([t.FiveCrop((4, 5)), t.Lambda(lambda five: five[3])]),
    "ten": lambda t: t.Compose([t.TenCrop(4, vertical_flip=True), t.Lambda(lambda ten: ten[7])]),
    "not applied": lambda t: t.RandomApply([t.Pad(1)], p=0),
}
OF_PILLOW: dict[str, Any] = {
    "turn": lambda t: t.RandomRotation((30, 30)),
    "turn and expand": lambda t: t.RandomRotation((-45, -45), t.InterpolationMode.BILINEAR, expand=True, fill=9),
    "turn around a corner": lambda t: t.RandomRotation((90, 90), center=(0, 0), fill=(1, 2, 3)),
    "light bytes inverted": lambda t: t.RandomSolarize(128, p=1.0),
    "fewer bits": lambda t: t.RandomPosterize(3, p=1.0),
    "sharper": lambda t: t.RandomAdjustSharpness(2, p=1.0),
    "stretched colours": lambda t: t.RandomAutocontrast(1.0),
    "even histogram": lambda t: t.RandomEqualize(1.0),
    "gamma": lambda t: t.Lambda(lambda x: t.functional.adjust_gamma(x, 0.5, 0.9)),
    "turned": lambda t: t.RandomAffine((30, 30)),
    "turned and sheared": lambda t: t.RandomAffine((-20, -20), shear=(10, 10, -7, -7), fill=9),
    "sheared": lambda t: t.RandomAffine(0, shear=(15, 15), interpolation=t.InterpolationMode.BILINEAR),
    "scaled around a corner": lambda t: t.RandomAffine((5, 5), scale=(1.5, 1.5), center=(0, 0), fill=(1, 2, 3)),
    "moved": lambda t: t.Lambda(lambda x: t.functional.affine(x, 0.0, [2, -1], 1.0, [0.0, 0.0])),
    "tilted": lambda t: t.Lambda(
        lambda x: t.functional.perspective(x, [[0, 0], [9, 0], [9, 6], [0, 6]], [[1, 0], [8, 2], [9, 5], [2, 6]])
    ),
    "hue": lambda t: t.ColorJitter(hue=(0.25, 0.25)),
    "hue backwards": lambda t: t.ColorJitter(hue=(-0.1, -0.1)),
    "tensor": lambda t: t.ToTensor(),
    "bytes": lambda t: t.PILToTensor(),
    "standardised": lambda t: t.Compose([t.ToTensor(), t.Normalize((0.5, 0.25, 0.1), (0.5, 2, 3))]),
    "there and back": lambda t: t.Compose([t.ToTensor(), t.ToPILImage()]),
}


@pytest.mark.parametrize("what", [*FIXED, *OF_PILLOW])
def test_pillows_images_as_torchvision_has_them(what: str) -> None:
    make = (FIXED | OF_PILLOW)[what]
    theirs = make(torchvision("transforms"))(image())
    mine = make(transforms)(image())
    if not isinstance(mine, gpunn.Tensor):
        assert mine.mode == theirs.mode
    np.testing.assert_array_equal(array(mine), array(theirs))
    assert array(mine).dtype == array(theirs).dtype


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("what", FIXED)
def test_tensors_as_torchvision_has_them(what: str, dtype: str) -> None:
    library, torch = torchvision("transforms"), pytest.importorskip("torch")
    x = pixels().transpose(2, 0, 1)
    x = np.ascontiguousarray(x if dtype == "uint8" else x / np.float32(255))
    theirs = FIXED[what](library)(torch.from_numpy(x.copy()))
    mine = FIXED[what](transforms)(gpunn.from_numpy(x.copy()))
    assert (str(mine.dtype), tuple(mine.shape)) == (dtype, tuple(theirs.shape))
    # float32's rounding in sums of up to 12 products; bytes are rounded from such numbers, one off at a half.
    tolerance = 2e-6 if dtype == "float32" else 1
    np.testing.assert_allclose(array(mine).astype(float), array(theirs).astype(float), rtol=0, atol=tolerance)


def test_they_show_themselves_as_torchvisions_do() -> None:
    theirs = torchvision("transforms")
    more = {
        "erasing": lambda t: t.RandomErasing(),
        "resized crop": lambda t: t.RandomResizedCrop(224),
        "choice": lambda t: t.RandomChoice([t.Pad(1), t.Grayscale()]),
        "order": lambda t: t.RandomOrder([t.Pad(1)]),
        "to an image": lambda t: t.ToPILImage("L"),
        "jitter": lambda t: t.ColorJitter(0.5, 0.25, (0.5, 2), 0.1),
        "rotation": lambda t: t.RandomRotation(10),
    }
    for what, make in (FIXED | OF_PILLOW | more).items():
        if what != "turn":  # (30, 30) is shown as integers there
            assert _spoken(repr(make(transforms))) == _spoken(repr(make(theirs))), what


def _spoken(text: str) -> list[str]:
    """Words and numbers, whole ones as others."""
    return [word.removesuffix(".0") for word in text.replace("(", " ").replace(")", " ").replace(",", " ").split()]


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_become_torchvisions_tensors(channels: int) -> None:
    theirs = torchvision("transforms")
    for x in (
        pixels(4, 5, channels),
        pixels(4, 5, channels).astype(np.float32),
        pixels(3, 3, channels).astype(np.int32),
    ):
        mine, other = transforms.ToTensor()(x), theirs.ToTensor()(x)
        np.testing.assert_array_equal(array(mine), array(other))
        assert array(mine).dtype == array(other).dtype


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "HSV"])
def test_every_mode_of_pillow_becomes_torchvisions_tensor(mode: str) -> None:
    theirs = torchvision("transforms")
    picture = image().convert("RGB").convert(mode) if mode != "HSV" else image().convert("HSV")
    for name in ("ToTensor", "PILToTensor"):
        mine, other = getattr(transforms, name)()(picture), getattr(theirs, name)()(picture)
        np.testing.assert_array_equal(array(mine), array(other), err_msg=name)
        if mode != "1":  # of which torchvision's PILToTensor makes bools
            assert array(mine).dtype == array(other).dtype


# -- without torchvision --------------------------------------------------------------------------


def test_bytes_become_numbers_from_0_to_1() -> None:
    x = transforms.ToTensor()(image())
    assert (x.shape, x.dtype) == ((3, 7, 10), np.float32)
    np.testing.assert_array_equal(x.numpy(), pixels().transpose(2, 0, 1) / np.float32(255))
    y = transforms.Normalize([0.5], [0.25])(x)
    np.testing.assert_array_equal(y.numpy(), (x.numpy() - np.float32(0.5)) / np.float32(0.25))
    assert transforms.Normalize([0.5], [0.25], inplace=True)(x) is x
    np.testing.assert_array_equal(x.numpy(), y.numpy())
    assert transforms.ToTensor()(image(4, 5, 1)).shape == (1, 4, 5)


def test_a_tensor_becomes_an_image_again() -> None:
    for channels in (1, 3, 4):
        there = transforms.ToTensor()(image(4, 5, channels))
        back = transforms.ToPILImage()(there)
        assert back.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        np.testing.assert_array_equal(np.asarray(back), pixels(4, 5, channels))
    assert transforms.ToPILImage("F")(gpunn.ones(1, 2, 3)).mode == "F"
    assert transforms.ToPILImage("HSV")(pixels()).mode == "HSV"


def test_a_random_crop_is_a_part_and_all_parts_come() -> None:
    gpunn.manual_seed(0)
    x = np.arange(12, dtype=np.uint8).reshape(3, 4)
    seen = set()
    for _ in range(200):
        part = np.asarray(transforms.RandomCrop((2, 3))(Image.fromarray(x)))
        top, left = divmod(int(part[0, 0]), 4)
        np.testing.assert_array_equal(part, x[top : top + 2, left : left + 3])
        seen.add((top, left))
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}  # each is missed with a probability of 0.75^200


def test_smaller_images_are_padded_as_needed() -> None:
    for x in (image(), transforms.ToTensor()(image())):
        part = array(transforms.RandomCrop((9, 12), pad_if_needed=True, fill=255)(x))
        part = part if isinstance(x, gpunn.Tensor) else part.transpose(2, 0, 1)
        assert part.shape == (3, 9, 12)
        assert (part == 255).all((0, 2)).sum() == 2  # rows of nothing but border


def test_a_random_resized_crop_stays_within_its_ranges() -> None:
    gpunn.manual_seed(1)
    for _ in range(200):
        top, left, height, width = transforms.RandomResizedCrop.get_params(image(40, 60), (0.2, 0.8), (0.5, 2))
        assert top >= 0 <= left
        assert top + height <= 40 >= height
        assert left + width <= 60
        assert 0.15 < height * width / 2400 < 0.85  # sides are rounded to pixels
        assert 0.45 < width / height < 2.2
    # No part of such sides fits: the largest one in the middle.
    assert transforms.RandomResizedCrop.get_params(image(10, 1000), (0.9, 1), (0.5, 2)) == (0, 490, 10, 20)
    assert transforms.RandomResizedCrop.get_params(image(1000, 10), (0.9, 1), (0.5, 2)) == (490, 0, 20, 10)
    assert transforms.RandomResizedCrop(6)(image()).size == (6, 6)


@pytest.mark.parametrize("name", ["RandomHorizontalFlip", "RandomVerticalFlip", "RandomGrayscale"])
def test_probabilities(name: str) -> None:
    gpunn.manual_seed(2)
    change = getattr(transforms, name)(0.25)
    changed = sum(change(image()) != image() for _ in range(400))
    assert 57 < changed < 143  # 100, and five deviations of 8.7


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("given", ["uint8", "int16", "int32", "float32", "float64"])
def test_dtypes_are_converted_with_their_ranges(given: str, dtype: str) -> None:
    library, torch = torchvision("transforms"), pytest.importorskip("torch")
    top = 1 if given.startswith("float") else np.iinfo(given).max
    values = (np.linspace(0, 1, 24).reshape(1, 4, 6) * top).astype(given)
    mine, theirs = transforms.ConvertImageDtype(dtype), library.ConvertImageDtype(getattr(torch, dtype))
    try:
        expected = theirs(torch.from_numpy(values))
    except RuntimeError:
        with pytest.raises(GpunnError, match="not have all numbers"):
            mine(gpunn.from_numpy(values))
        return
    found = mine(gpunn.from_numpy(values))
    assert str(found.dtype) == dtype
    np.testing.assert_allclose(array(found), array(expected), rtol=2e-7)  # a product or quotient of float32


def test_what_is_drawn_for_moves_and_tilts_stays_within_its_ranges() -> None:
    change = transforms.RandomAffine((-10, 20), (0.5, 0.25), (0.5, 2), (-5, 5, 0, 9))
    drawn = [change.get_params(change.degrees, (0.5, 0.25), change.scale, change.shear, (10, 8)) for _ in range(200)]
    angles, moves, scales, shears = (np.array(part) for part in zip(*drawn, strict=True))
    assert -10 <= angles.min() < -5 < 15 < angles.max() <= 20
    assert set(moves[:, 0]) == set(range(-5, 6))
    assert set(moves[:, 1]) == {-2, -1, 0, 1, 2}
    assert 0.5 <= scales.min() < 0.7 < 1.8 < scales.max() <= 2
    assert -5 <= shears[:, 0].min() < -3 < 3 < shears[:, 0].max() <= 5
    assert 0 <= shears[:, 1].min() < 2 < 7 < shears[:, 1].max() <= 9
    ends = [transforms.RandomPerspective.get_params(10, 8, 0.5)[1] for _ in range(200)]
    assert transforms.RandomPerspective.get_params(10, 8, 0.5)[0] == [[0, 0], [9, 0], [9, 7], [0, 7]]
    (left, top), (right, _), _, (_, bottom) = np.array(ends).transpose(1, 2, 0)
    assert (set(left), set(top)) == ({0, 1, 2}, {0, 1, 2})
    assert (set(right), set(bottom)) == ({7, 8, 9}, {5, 6, 7})
    blurs = [transforms.GaussianBlur.get_params(0.1, 2.0) for _ in range(100)]
    assert 0.1 <= min(blurs) < 0.4 < 1.7 < max(blurs) <= 2.0
    assert transforms.RandomPerspective(p=1.0)(image()).size == image().size


def test_choices_and_orders() -> None:
    gpunn.manual_seed(3)
    names = [transforms.Lambda(lambda x, name=name: f"{x}{name}") for name in "abc"]
    counts = Counter(transforms.RandomChoice(names)("") for _ in range(600))
    assert set(counts) == {"a", "b", "c"}
    assert min(counts.values()) > 142  # five deviations of 11.5 below 200
    assert {transforms.RandomChoice(names, p=[0, 2, 0])("") for _ in range(20)} == {"b"}
    weighted = Counter(transforms.RandomChoice(names, p=[0.5, 0, 1.5])("") for _ in range(400))
    assert set(weighted) == {"a", "c"}
    assert 57 < weighted["a"] < 143  # 100, and five deviations of 8.7
    assert len({transforms.RandomOrder(names)("") for _ in range(100)}) == 6
    assert {transforms.RandomApply(names, p=0.5)("") for _ in range(30)} == {"", "abc"}


def test_colours_are_jittered_within_their_range() -> None:
    gpunn.manual_seed(4)
    jitter = transforms.ColorJitter(0.5, (0.5, 2), 0, 0.25)
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (
        (0.5, 1.5),
        (0.5, 2),
        None,
        (-0.25, 0.25),
    )
    orders = set()
    for _ in range(200):
        places, b, c, s, h = jitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        assert 0.5 <= b <= 1.5
        assert 0.5 <= c <= 2
        assert -0.25 <= h <= 0.25
        assert s is None
        orders.add(tuple(places))
    assert len(orders) == 24  # each is missed with a probability of 2e-4
    assert np.asarray(jitter(image())).shape == (7, 10, 3)


def test_erasing_writes_one_rectangle() -> None:
    gpunn.manual_seed(5)
    x = gpunn.ones(3, 20, 30)
    for _ in range(50):
        y = transforms.RandomErasing(1.0, value=(2, 3, 4))(x).numpy()
        rows, columns = np.nonzero(y[0] == 2)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert len(rows) == height * width
        assert 0.01 < len(rows) / 600 < 0.36  # sides are rounded to pixels
        assert (y[1] == 3).sum() == (y[2] == 4).sum() == len(rows)
    assert transforms.RandomErasing(0.0)(x) is x
    assert (x.numpy() == 1).all()
    erased = transforms.RandomErasing(1.0, value="random", inplace=True)(x)
    assert erased is x
    assert len(np.unique(x.numpy())) > 10


def test_a_seed_repeats_what_is_drawn() -> None:
    change = transforms.Compose([transforms.RandomResizedCrop(5), transforms.RandomRotation(40), transforms.ToTensor()])

    def drawn() -> Any:
        gpunn.manual_seed(6)
        return [change(image()).tolist() for _ in range(3)]

    assert drawn() == drawn()
    assert drawn()[0] != drawn()[1]


def test_gradients_go_through_normalize() -> None:
    x = gpunn.ones(2, 3, 3, requires_grad=True)
    transforms.Normalize([1.0, 2.0], [2.0, 4.0])(x).sum().backward()
    assert x.grad.tolist() == [[[0.5] * 3] * 3, [[0.25] * 3] * 3]


def test_tensors_on_other_devices_stay_there() -> None:
    x = gpunn.ones(3, 4, 5).to("emulator")
    for change in (transforms.RandomHorizontalFlip(1.0), transforms.Pad(1), transforms.Normalize([0.5], [0.5])):
        assert change(x).device == x.device


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: transforms.RandomCrop(8)(image()), ShapeError, "at least 8x8 .*got 7x10.*pad_if_needed"),
        (lambda: transforms.Resize(5)(pixels()), UsageError, "Pillow or a tensor.*got ndarray.*ToPILImage"),
        (lambda: transforms.Resize((1, 2, 3)), UsageError, "size: expected one length"),
        (lambda: transforms.Resize(0), UsageError, "size: .*at least 1"),
        (lambda: transforms.Resize(5, max_size=5)(image()), UsageError, "max_size: expected more than size, 5"),
        (lambda: transforms.Resize((5, 5), max_size=9)(image()), UsageError, "max_size goes with one length"),
        (lambda: transforms.Resize(5, 77)(image()), UsageError, "interpolation: expected an InterpolationMode; got 77"),
        (lambda: transforms.Pad((1, 2, 3)), UsageError, "padding: expected 1, 2 or 4 numbers"),
        (lambda: transforms.Pad(1, padding_mode="wrap")(image()), UsageError, "padding_mode: expected 'constant'"),
        (lambda: transforms.Pad(1, fill=(1, 2))(image()), UsageError, "fill: expected one number or 3"),
        (lambda: transforms.RandomRotation(-1), UsageError, "degrees"),
        (lambda: transforms.RandomRotation(9)(gpunn.ones(3, 4, 4)), UsageError, "an image of Pillow.*before ToTensor"),
        (lambda: transforms.ColorJitter(hue=0.6), UsageError, "hue"),
        (
            lambda: transforms.ColorJitter(brightness=(2, 1)),
            UsageError,
            "brightness: expected the smaller number first",
        ),
        (lambda: transforms.RandomErasing()(image()), UsageError, "expected a tensor; got Image.*ToTensor"),
        (lambda: transforms.RandomErasing(value="black"), UsageError, "'random'; got 'black'"),
        (lambda: transforms.RandomErasing(1.0, value=(1, 2))(gpunn.ones(3, 9, 9)), ShapeError, "one number or 3"),
        (lambda: transforms.Normalize([0.5], [0.0])(gpunn.ones(1, 2, 2)), UsageError, "std: .*other than 0"),
        (lambda: transforms.Normalize([0.5, 1], [1.0])(gpunn.ones(3, 2, 2)), ShapeError, "each of 3 channels; got 2"),
        (
            lambda: transforms.Normalize([0.5], [1.0])(image()),
            UsageError,
            r"expected a tensor; got Image.*ToTensor\(\)",
        ),
        (lambda: transforms.Normalize([1], [1])(gpunn.ones(1, 2, 2).long()), GpunnError, "floating tensor; got int64"),
        (lambda: transforms.ToTensor()([1]), UsageError, "Pillow or an array; got list"),
        (lambda: transforms.ToPILImage()(gpunn.ones(5, 2, 2)), ShapeError, "1 to 4 channels; got 5"),
        (lambda: transforms.ToPILImage("RGB")(gpunn.ones(1, 2, 2)), UsageError, "for 1 channels; got 'RGB'"),
        (lambda: transforms.Compose([transforms.ToTensor]), UsageError, "called with an image; got <class"),
        (lambda: transforms.Compose(transforms.ToTensor()), UsageError, "a sequence; got ToTensor"),
        (lambda: transforms.Lambda(3), UsageError, "a function; got int"),
        (lambda: transforms.RandomHorizontalFlip(2), UsageError, "p: expected a number from 0 to 1"),
        (lambda: transforms.RandomChoice([]), UsageError, "at least one transform"),
        (lambda: transforms.RandomChoice([transforms.Pad(1)], p=[0]), UsageError, "1 weights, not all of them 0"),
        (lambda: transforms.GaussianBlur(4), UsageError, "kernel_size: expected odd sizes; got 4"),
        (lambda: transforms.GaussianBlur(3, (2, 1)), UsageError, "sigma: expected the smaller number first"),
        (lambda: transforms.GaussianBlur(21)(image()), ShapeError, "larger than half of the filter, 21x21.*got 7x10"),
        (lambda: transforms.FiveCrop(8)(image()), UsageError, "at most 7x10.*got 8x8"),
        (lambda: transforms.RandomAffine(9, translate=(2, 0)), UsageError, "translate: expected a number from 0 to 1"),
        (lambda: transforms.RandomAffine(9, scale=(0, 1)), UsageError, "scale"),
        (lambda: transforms.RandomAffine(9, shear=(1, 2, 3)), UsageError, "shear: expected two numbers"),
        (lambda: transforms.RandomAffine(9)(gpunn.ones(3, 4, 4)), UsageError, "an image of Pillow.*before ToTensor"),
        (lambda: transforms.RandomPerspective(2), UsageError, "distortion_scale: expected a number from 0 to 1"),
        (lambda: transforms.functional.perspective(image(), [], []), UsageError, "four startpoints"),
        (lambda: transforms.RandomPosterize(9, 1.0)(image()), UsageError, "bits: expected 0 to 8; got 9"),
        (lambda: transforms.RandomPosterize(2, 1.0)(gpunn.ones(3, 4, 4)), UsageError, "tensor of uint8; got float32"),
        (lambda: transforms.ConvertImageDtype("uint8")(image()), UsageError, "a tensor; got Image"),
        (lambda: transforms.ConvertImageDtype("int64")(gpunn.ones(1)), GpunnError, "not have all numbers of int64"),
        (lambda: transforms.Grayscale(2), UsageError, "expected 1 or 3; got 2"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert len(str(caught.value)) < 500
