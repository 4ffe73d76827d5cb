"""Display matrices, pixel aspects and colour labels of videos against formulas."""

import io
import itertools
import struct
from fractions import Fraction

import numpy as np
import pytest

from gspnl.train.data import DataError, read_clip, video

av = pytest.importorskip("av")

ONE = 65536
FRAME = np.random.default_rng(5).integers(0, 256, (32, 48, 3), dtype=np.uint8)
IDENTITY = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
LOSSLESS = {"mp4": "png", "mov": "png", "matroska": "ffv1"}


def lossless(container, *, aspect=None, matrix=None, alpha=None, frame=FRAME):
    """A video of three equal frames without loss."""
    file = io.BytesIO()
    pixels = frame if alpha is None else np.dstack([frame, alpha])
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(LOSSLESS[container], rate=25)
        stream.height, stream.width = frame.shape[:2]
        four = "rgba" if LOSSLESS[container] == "png" else "bgra"
        three = "rgb24" if LOSSLESS[container] == "png" else "bgr0"
        stream.pix_fmt = three if alpha is None else four
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None and container == "matroska":
            if not hasattr(stream, "set_display_matrix"):
                pytest.skip("this PyAV writes no display matrix into Matroska")
            stream.set_display_matrix(list(matrix))
        for _ in range(3):
            form = "rgb24" if alpha is None else "rgba"
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format=form)))
        output.mux(stream.encode())
    content = bytearray(file.getvalue())
    if matrix is not None and container != "matroska":
        at = content.index(IDENTITY, content.index(b"tkhd"))
        content[at : at + 36] = struct.pack(">9i", *matrix)
    if aspect is not None and container == "matroska":  # PyAV writes "no aspect" instead
        size = bytes.fromhex("b08130ba8120")  # the width and height of pixels
        old = b"\xe0\x8a" + size + bytes.fromhex("54b2810455ee8100")
        shown = b"\x54\xb0\x81" + bytes([round(48 * aspect)]) + b"\x54\xba\x81\x20"
        assert content.count(old) == 1
        content = content.replace(old, b"\xe0\x8e" + size + shown)
    return bytes(content)


def first(content):
    return read_clip(content, "v", frames=2, stride=1, place=0.0)[0]


def displayed(frame, a, b, c, d):
    """Move each pixel to (a x + c y, b x + d y), then the whole to the origin."""
    places, colours = [], []
    for y, x in itertools.product(range(frame.shape[0]), range(frame.shape[1])):
        places.append((b * x + d * y, a * x + c * y))
        colours.append(frame[y, x])
    rows, columns = np.array(places).T
    rows, columns = rows - rows.min(), columns - columns.min()
    shown = np.zeros((rows.max() + 1, columns.max() + 1, 3), np.uint8)
    shown[rows, columns] = colours
    return shown


SQUARE = [m for m in itertools.product((-1, 0, 1), repeat=4) if m[0] * m[3] - m[1] * m[2] != 0
          and abs(m[0]) + abs(m[1]) == 1 and abs(m[2]) + abs(m[3]) == 1]  # fmt: skip


def matrix_of(a, b, c, d, x=0, y=0):
    return (a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, x, y, 1 << 30)


def test_all_eight_turns_and_flips_are_tested():
    assert len(SQUARE) == 8


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("parts", SQUARE)
def test_the_display_matrix_is_applied(container, parts):
    found = first(lossless(container, matrix=matrix_of(*parts, 32 * ONE, 7)))
    np.testing.assert_array_equal(found, displayed(FRAME, *parts))


@pytest.mark.parametrize("parts", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1)])
def test_the_display_matrix_of_matroska_is_applied(parts):
    content = lossless("matroska", matrix=matrix_of(*parts))
    np.testing.assert_array_equal(first(content), displayed(FRAME, *parts))


def test_a_quarter_turn_is_clockwise():
    """A phone that is held upright writes (0, 1, -1, 0): what was left comes to the top."""
    found = first(lossless("mp4", matrix=matrix_of(0, 1, -1, 0)))
    np.testing.assert_array_equal(found, np.rot90(FRAME, -1))


@pytest.mark.parametrize("matrix", [(0,) * 9, (ONE, 0, 0, 0, 0, 0, 0, 0, 1 << 30)])
def test_a_singular_display_matrix_is_ignored(matrix):
    np.testing.assert_array_equal(first(lossless("mp4", matrix=matrix)), FRAME)


def test_small_slants_are_ignored():
    matrix = (100, ONE, 0, -ONE, -100, 0, 0, 0, 1 << 30)
    np.testing.assert_array_equal(first(lossless("mp4", matrix=matrix)), np.rot90(FRAME, -1))


@pytest.mark.parametrize("degrees", [45, 30, -60, 100])
def test_other_angles_are_refused(degrees):
    c, s = (round(ONE * f(np.radians(degrees))) for f in (np.cos, np.sin))
    content = lossless("mp4", matrix=(c, s, 0, -s, c, 0, 0, 0, 1 << 30))
    with pytest.raises(DataError, match=f"'v' is to be shown turned by {degrees}°, which is no"):
        first(content)


@pytest.mark.parametrize("container", LOSSLESS)
@pytest.mark.parametrize(
    "aspect", [Fraction(1), Fraction(2), Fraction(1, 2), Fraction(8, 9), Fraction(16, 15)]
)
def test_pixels_become_square(container, aspect):
    flat = np.zeros_like(FRAME)
    flat[:, 24:] = [200, 40, 90]
    found = first(lossless(container, aspect=aspect, frame=flat))
    width = round(48 * aspect)
    assert found.shape == (32, width, 3)
    assert (found[:, : width // 2 - 3] == 0).all()
    np.testing.assert_array_equal(
        found[:, width // 2 + 3 :], np.broadcast_to([200, 40, 90], (32, width - width // 2 - 3, 3))
    )


@pytest.mark.parametrize("parts", SQUARE)
def test_pixels_become_square_before_they_are_turned(parts):
    matrix = matrix_of(*parts)
    plain = first(lossless("mp4", aspect=Fraction(2)))
    found = first(lossless("mp4", aspect=Fraction(2), matrix=matrix))
    assert plain.shape == (32, 96, 3)
    np.testing.assert_array_equal(found, displayed(plain, *parts))


def test_the_size_of_a_clip_is_that_of_square_pixels(monkeypatch):
    content = lossless("mp4", aspect=Fraction(2))
    monkeypatch.setattr(video, "LARGEST", 2 * 3 * 96 * 32)
    first(content)
    monkeypatch.setattr(video, "LARGEST", 2 * 3 * 96 * 32 - 1)
    with pytest.raises(DataError, match="frames of 96 × 32; a clip of 2 would take more than"):
        first(content)


@pytest.mark.parametrize("container", ["mov", "matroska"])
def test_transparent_parts_are_laid_on_white(container):
    alpha = np.tile(np.array([0, 255, 128, 7], np.uint8), (32, 12))
    found = first(lossless(container, alpha=alpha))
    share = alpha[:, :, None] / 255
    np.testing.assert_allclose(found, FRAME * share + 255 * (1 - share), atol=0.51)


def labelled(space, limits, samples):
    """Raw frames of one colour in Y'CbCr with labels."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv444p"
        frame = av.VideoFrame(48, 32, "yuv444p")
        for plane, value in zip(frame.planes, samples, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        for target in (stream.codec_context, frame):
            target.color_range, target.colorspace = limits, space
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize("limits", [0, 1, 2])  # unlabelled, limited, full
@pytest.mark.parametrize(("space", "red", "blue"), [(1, 0.2126, 0.0722), (2, 0.299, 0.114),
                                                     (5, 0.299, 0.114), (6, 0.299, 0.114),
                                                     (9, 0.2627, 0.0593)])  # fmt: skip
@pytest.mark.parametrize("samples", [(120, 110, 150), (40, 128, 128), (200, 120, 125)])
def test_colour_space_and_range_are_those_of_the_labels(space, red, blue, limits, samples):
    y, cb, cr = (float(value) for value in samples)
    if limits == 2:
        y, cb, cr = y / 255, (cb - 128) / 255, (cr - 128) / 255
    else:
        y, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    found = first(labelled(space, limits, samples))
    np.testing.assert_allclose(found[9, 9], np.clip([r, g, b], 0, 1) * 255, atol=2)
