"""Augmentations against loops that cut, mirror and resize one image at a time."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from gspnl.errors import InputError
from gspnl.train.data import AUGMENTATIONS, chain, normalise
from gspnl.train.data.transforms import random_boxes

SHAPES = [(5, 3, 8, 8), (4, 1, 7, 10), (3, 2, 4, 6, 9)]  # square, oblong, video
NONE = torch.empty


def images(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator)


def uniforms(b, draws, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((b, draws), generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixels", [0, 1, 4])
def test_pad_crop_is_zero_padding_and_a_crop(shape, pixels):
    x, u = images(shape), uniforms(shape[0], 2)
    before = x.clone()
    found = chain(f"pad_crop({pixels})")(x, u)
    for image, (a, b), got in zip(x, u.tolist(), found, strict=True):
        top, left = (math.floor(v * (2 * pixels + 1)) for v in (a, b))
        padded = functional.pad(image, (pixels,) * 4)
        height, width = shape[-2:]
        assert torch.equal(got, padded[..., top : top + height, left : left + width])
    assert torch.equal(x, before)


def test_pad_crop_reaches_every_offset_equally_often():
    """Uniforms at the ends of [0, 1) give the first and last offsets; 1/2 gives none."""
    last = float(np.nextafter(np.float32(1), np.float32(0)))
    x = images((3, 1, 4, 4))
    u = torch.tensor([[0.0, 0.0], [0.5, 0.5], [last, last]])
    found = chain("pad_crop(1)")(x, u)
    assert torch.equal(found[0, 0, 1:, 1:], x[0, 0, :3, :3])
    assert not found[0, 0, 0].any()
    assert torch.equal(found[1], x[1])
    assert torch.equal(found[2, 0, :3, :3], x[2, 0, 1:, 1:])
    grid = (torch.arange(900) + 0.5) / 900
    moved = chain("pad_crop(4)")(torch.ones(900, 1, 9, 9), torch.stack([grid, grid * 0 + 0.5], 1))
    rows = moved[:, 0, :, 4].sum(1)
    assert torch.bincount(rows.long()).tolist() == [0] * 5 + [200] * 4 + [100]


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_mirrors_where_the_uniform_is_below_one_half(shape):
    x, u = images(shape), uniforms(shape[0], 1)
    found = chain("flip")(x, u)
    for image, v, got in zip(x, u[:, 0].tolist(), found, strict=True):
        assert torch.equal(got, image.flip(-1) if v < 0.5 else image)
    assert 0 < (u < 0.5).sum() < shape[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_centre_crop_cuts_the_middle(shape):
    found = chain("centre_crop(5)")(images(shape), NONE(shape[0], 0))
    top, left = (shape[-2] - 5) // 2, (shape[-1] - 5) // 2
    assert torch.equal(found, images(shape)[..., top : top + 5, left : left + 5])
    with pytest.raises(InputError, match=r"centre_crop\(99\) of images .*resize\(99\)"):
        chain("centre_crop(99)")(images(shape), NONE(shape[0], 0))


def by_pillow(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize one channel in floats by Pillow's bilinear filter with antialiasing."""
    picture = Image.fromarray(image.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [4, 8, 13])
@pytest.mark.parametrize("shape", SHAPES)
def test_resize_agrees_with_pillow(shape, size):
    x = images(shape)
    found = chain(f"resize({size})")(x, NONE(shape[0], 0))
    height, width = shape[-2:]
    short = min(height, width)
    goal = (int(size * height / short), int(size * width / short))
    assert found.shape == (*shape[:-2], *goal)
    for plane, got in zip(x.flatten(0, -3), found.flatten(0, -3), strict=True):
        # Weights of float32 against Pillow's of float64: 1e-6 of values in [0, 1].
        assert np.allclose(got, by_pillow(plane.numpy(), *goal), atol=2e-6)


def one_box(height, width, u, smallest=0.08):
    """Choose the box by trying the candidates in a loop."""
    for part, ratio in zip(u[:10], u[10:20], strict=True):
        area = height * width * (smallest + (1 - smallest) * part)
        aspect = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * ratio)
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return math.floor(u[20] * (height - h + 1)), math.floor(u[21] * (width - w + 1)), h, w
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * 4 / 3)
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    "size", [(32, 32), (40, 90), (90, 40), (10, 200), (200, 10), (1, 1), (1, 9)]
)
@pytest.mark.parametrize("smallest", [0.08, 1.0])
def test_boxes_agree_with_trying_one_at_a_time(size, smallest):
    u = uniforms(200, 22).double()
    found = random_boxes(*size, smallest, u)
    truth = [one_box(*size, row, smallest) for row in u.tolist()]
    assert found.tolist() == [list(box) for box in truth]
    top, left, tall, wide = found.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= size[0]).all()
    assert (left + wide <= size[1]).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_random_resized_crop_agrees_with_pillow(shape):
    x, u = images(shape), uniforms(shape[0], 22)
    found = chain("random_resized_crop(5)")(x, u)
    assert found.shape == (*shape[:-2], 5, 5)
    for image, row, got in zip(x, u.double().tolist(), found, strict=True):
        top, left, tall, wide = one_box(*shape[-2:], row)
        cut = image[..., top : top + tall, left : left + wide].flatten(0, -3)
        for plane, mine in zip(cut, got.flatten(0, -3), strict=True):
            assert np.allclose(mine, by_pillow(plane.numpy(), 5, 5), atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_normalise_gives_mean_0_and_deviation_1(shape):
    x = images(shape)
    mean, std = np.arange(shape[1]) / 7, 0.2 + np.arange(shape[1]) / 5
    found = normalise(x, mean.tolist(), std.tolist())
    for c in range(shape[1]):
        truth = (x[:, c].double().numpy() - mean[c]) / std[c]
        # Three roundings of float32, of numbers up to 5.
        assert np.allclose(found[:, c], truth, atol=2e-6)


@pytest.mark.parametrize(
    ("mean", "std", "problem"),
    [
        ([0.5], [0.5], "one number for each of 3 channels"),
        ([0.5] * 3, [0.5] * 2, "one number for each of 3 channels"),
        ([0.5] * 3, [0.5, 0.0, 0.5], "> 0"),
        ([math.nan] * 3, [0.5] * 3, "finite"),
        ([0.5] * 3, [math.inf] * 3, "finite"),
    ],
)
def test_normalise_refuses_wrong_lengths_and_ranges(mean, std, problem):
    with pytest.raises(InputError, match=problem):
        normalise(images((2, 3, 4, 4)), mean, std)


def test_a_chain_gives_each_part_its_own_uniforms():
    x, u = images((6, 3, 8, 8)), uniforms(6, 3)
    both = chain(("pad_crop(2)", "flip"))
    assert both.draws == 3
    one = chain("flip")(chain("pad_crop(2)")(x, u[:, :2]), u[:, 2:])
    assert torch.equal(both(x, u), one)
    assert torch.equal(chain(())(x, NONE(6, 0)), x)


@pytest.mark.parametrize("text", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("b", [1, 4])
def test_each_sample_is_augmented_independently_of_its_batch(text, b):
    """A sample's result depends on the sample and its uniforms alone."""
    call = chain(text if text == "flip" else f"{text}(6)")
    x, u = images((4, 3, 8, 8)), uniforms(4, call.draws)
    together = call(x, u)
    for first in range(0, 4, b):
        part = call(x[first : first + b], u[first : first + b])
        assert torch.equal(part, together[first : first + b])
    assert call(x[:0], u[:0]).shape == (0, *together.shape[1:])
    assert torch.equal(call(x, u), together)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("padcrop(4)", "did you mean 'pad_crop'"),
        ("pad_crop", r"'pad_crop' does not fit pad_crop\(pixels\): missing"),
        ("pad_crop(4, 4)", "too many"),
        ("flip(1)", r"does not fit flip\(\): too many"),
        ("pad_crop(four)", "'four' in 'pad_crop\\(four\\)' is no number"),
        ("pad_crop(4", "is no augmentation; write"),
        ("pad_crop(__import__('os'))", "is no augmentation; write"),
        ("", "is no augmentation; write"),
        ("pad_crop(-1)", "pixels=-1 must be a whole number ≥ 0"),
        ("pad_crop(1.5)", "pixels=1.5 must be a whole number"),
        ("pad_crop(nan)", "pixels=nan must be a whole number"),
        ("resize(0)", "size=0 must be a whole number ≥ 1"),
        ("centre_crop(0)", "whole number ≥ 1"),
        ("random_resized_crop(0)", "whole number ≥ 1"),
        ("random_resized_crop(8, 0)", "smallest=0 must be a finite number > 0 and ≤ 1"),
        ("random_resized_crop(8, 1.5)", "smallest=1.5"),
        ("random_resized_crop(8, nan)", "smallest=nan"),
        (4, "4 is no augmentation"),
    ],
)
def test_wrong_text_is_refused(text, problem):
    with pytest.raises(InputError, match=problem):
        chain([text])


def test_wrong_images_and_uniforms_are_refused():
    with pytest.raises(InputError, match=r"images must be floats"):
        chain("flip")(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), NONE(2, 1))
    with pytest.raises(InputError, match=r"images must be floats"):
        chain("flip")(torch.zeros(2, 4, 4), NONE(2, 1))
    with pytest.raises(InputError, match=r"u has shape \(2, 2\); 2 images need \(2, 1\)"):
        chain("flip")(images((2, 3, 4, 4)), NONE(2, 2))


def test_a_user_defined_augmentation_works_in_a_chain():
    class Darker:
        draws = 1

        def __call__(self, images, u):
            return images * u.view(-1, 1, 1, 1)

    x, u = images((2, 3, 4, 4)), uniforms(2, 2)
    found = chain(["flip", Darker()])(x, u)
    assert torch.equal(found, chain("flip")(x, u[:, :1]) * u[:, 1].view(-1, 1, 1, 1))


def test_a_batch_of_cifar_is_augmented_in_milliseconds():
    """A batch of CIFAR takes 2 ms on one thread; the bound leaves room for a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x, call = images((128, 3, 32, 32)), chain(("pad_crop(4)", "flip"))
        u = uniforms(128, 3)
        times = []
        for _ in range(10):
            start = time.perf_counter()
            normalise(call(x, u), [0.5] * 3, [0.2] * 3)
            times.append(time.perf_counter() - start)
        assert min(times) < 5e-3
    finally:
        torch.set_num_threads(threads)
