"""Photos: files of every kind, features against plain loops, pictures from signals."""

import math

import numpy as np
import pytest
from PIL import Image

from gspnl import images
from gspnl.errors import FileError, InputError, MissingExtraError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def saved(tmp_path, image, name="photo.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


# --- reading --------------------------------------------------------------------------------------


def test_rgb_is_read_exactly(tmp_path):
    photo = images.load_photo(saved(tmp_path, Image.fromarray(BYTES)))
    assert photo.dtype == np.float64
    np.testing.assert_array_equal(photo, BYTES / 255)


def test_grey_and_palette_become_rgb(tmp_path):
    grey = Image.fromarray(BYTES[:, :, 0])
    expected = np.repeat(BYTES[:, :, :1] / 255, 3, axis=2)
    np.testing.assert_array_equal(images.load_photo(saved(tmp_path, grey)), expected)
    palette = Image.fromarray(BYTES).convert("P")
    np.testing.assert_array_equal(
        images.load_photo(saved(tmp_path, palette)), np.asarray(palette.convert("RGB")) / 255
    )


def test_sixteen_bits_are_kept(tmp_path):
    deep = RNG.integers(0, 65536, (24, 32), dtype=np.uint16)
    photo = images.load_photo(saved(tmp_path, Image.fromarray(deep)))
    np.testing.assert_allclose(photo, np.repeat(deep[:, :, None] / 65535, 3, axis=2), atol=1e-7)


def test_transparent_parts_become_white(tmp_path):
    alpha = np.full((24, 32, 1), 255, dtype=np.uint8)
    alpha[:12] = 0
    photo = images.load_photo(saved(tmp_path, Image.fromarray(np.dstack([BYTES, alpha]))))
    assert (photo[:12] == 1).all()
    np.testing.assert_array_equal(photo[12:], BYTES[12:] / 255)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, lambda p: p), (3, lambda p: p[::-1, ::-1]), (6, lambda p: np.rot90(p, -1)),
     (8, lambda p: np.rot90(p, 1)), (5, lambda p: p.transpose(1, 0, 2))],
)  # fmt: skip
def test_the_orientation_of_the_camera_is_applied(tmp_path, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(BYTES), exif=exif)
    photo, full = images.read_photo(path)
    np.testing.assert_array_equal(photo, turn(BYTES / 255))
    assert full == photo.shape[:2]


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_photos_are_scaled_down(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    big = np.kron(BYTES, np.ones((10, 10, 1), dtype=np.uint8))  # 240 × 320
    path = saved(tmp_path, Image.fromarray(big), name, exif=exif)
    photo, full = images.read_photo(path, max_pixels=800)
    height, width = photo.shape[:2]
    assert 650 < height * width <= 800
    assert full == ((240, 320) if orientation == 1 else (320, 240))
    assert math.isclose(height / width, full[0] / full[1], rel_tol=0.05)
    assert abs(photo.mean() - BYTES.mean() / 255) < 0.01


def test_a_photo_of_one_row_is_scaled_down(tmp_path):
    thin = Image.fromarray(np.zeros((1, 5000, 3), dtype=np.uint8))
    assert images.load_photo(saved(tmp_path, thin), max_pixels=100).shape == (1, 100, 3)


def test_max_pixels_must_be_positive(tmp_path):
    with pytest.raises(InputError, match="max_pixels=0 must be a whole number"):
        images.load_photo(saved(tmp_path, Image.fromarray(BYTES)), max_pixels=0)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(FileError, match=r"there is no file '.*nowhere\.jpg'; check the path"):
        images.load_photo(tmp_path / "nowhere.jpg")


def test_a_folder_raises(tmp_path):
    with pytest.raises(FileError, match="is a folder; pass a photo in it"):
        images.load_photo(tmp_path)


def test_a_text_file_raises(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("not a photo")
    with pytest.raises(FileError, match=r"notes\.jpg' is not an image that Pillow can read"):
        images.load_photo(path)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_a_truncated_file_raises(tmp_path, name):
    path = saved(tmp_path, Image.fromarray(BYTES), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(FileError, match="is damaged or of an unusual kind"):
        images.load_photo(path)


def test_a_decompression_bomb_raises(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(BYTES))
    for limit in (500, 100):  # Pillow warns above its limit, and raises above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(FileError, match="more pixels than is safe"):
            images.load_photo(path)


def test_float_images_out_of_range_raise(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.full((4, 4), 7, dtype=np.float32)), "heights.tif")
    with pytest.raises(FileError, match="its values run from 7 to 7, beyond 0 to 1"):
        images.load_photo(path)


def test_missing_pillow_raises_with_the_extra_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gspnl\[report\]'"):
        images.load_photo("photo.jpg")


def test_the_default_photo_is_the_one_of_matplotlib(monkeypatch):
    assert images.load_photo(images.default_photo()).shape == (600, 512, 3)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pass a photo"):
        images.default_photo()


# --- features -------------------------------------------------------------------------------------


def lab(rgb):
    """OKLab of one colour, from B. Ottosson's page, with his C++ names; chroma doubled."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    l_ = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    m_ = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    s_ = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return [
        0.2104542553 * l_ + 0.7936177850 * m_ - 0.0040720468 * s_,
        2 * (1.9779984951 * l_ - 2.4285922050 * m_ + 0.4505937099 * s_),
        2 * (0.0259040371 * l_ + 0.7827717662 * m_ - 0.8086757660 * s_),
    ]


def reflected(i, n):
    """Index i of an axis of length n, mirrored at its ends without repeating them."""
    return -i if i < 0 else 2 * (n - 1) - i if i >= n else i


def test_features_equal_plain_loops():
    photo = RNG.random((7, 9, 3))
    found = images.photo_features(photo, colour=0.8, position=0.3, patch=0.6, patch_size=5)
    assert found.shape == (63, 3 + 2 + 75)
    for y in range(7):
        for x in range(9):
            row = found[9 * y + x]
            np.testing.assert_allclose(row[:3], 0.8 * np.array(lab(photo[y, x])), atol=1e-14)
            np.testing.assert_allclose(row[3:5], [0.3 * x / 9, 0.3 * y / 9], atol=1e-15)
            around = [
                lab(photo[reflected(y + j, 7), reflected(x + i, 9)])
                for j in range(-2, 3)
                for i in range(-2, 3)
            ]
            # As a set of colours: their order within the patch is no part of the promise.
            np.testing.assert_allclose(
                np.sort(row[5:]), np.sort(0.6 / 5 * np.ravel(around)), atol=1e-14
            )


def test_a_flat_patch_has_the_weight_of_its_colour():
    flat = np.array([np.full((5, 5, 3), value) for value in (0.2, 0.7)])
    one, other = (images.photo_features(p, colour=0, position=0, patch=1.0)[12] for p in flat)
    by_colour = np.subtract(lab([0.2] * 3), lab([0.7] * 3))
    assert math.isclose(np.linalg.norm(one - other), np.linalg.norm(by_colour), rel_tol=1e-12)


def test_a_scale_of_zero_leaves_a_part_out():
    photo = RNG.random((4, 5, 3))
    assert images.photo_features(photo, position=0).shape == (20, 3)
    assert images.photo_features(photo, colour=0).shape == (20, 2)


def test_red_has_its_published_oklab_colour():
    # From the table of CSS Color 4.
    np.testing.assert_allclose(
        images.oklab(np.array([1.0, 0, 0])), [0.62796, 0.22486, 0.12585], atol=2e-4
    )


@pytest.mark.parametrize(
    ("photo", "options", "message"),
    [
        (np.full((4, 4, 3), np.nan), {}, "48 value.* not finite"),
        (np.zeros((4, 4)), {}, r"photo has shape \(4, 4\); pass RGB"),
        (np.zeros((4, 4, 4)), {}, r"photo has shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3)), {}, r"photo has shape \(0, 4, 3\)"),
        (np.full((4, 4, 3), 255), {}, "values from 255 to 255; bring them to"),
        (np.zeros((4, 4, 3)), {"colour": -1.0}, "colour=-1.0 must be a finite number ≥ 0"),
        (np.zeros((4, 4, 3)), {"position": math.inf}, "position=inf must be a finite number"),
        (np.zeros((4, 4, 3)), {"colour": 0, "position": 0}, "leaves no features; raise one"),
        (np.zeros((4, 4, 3)), {"patch": 1.0, "patch_size": 4}, "patch_size=4 must be an odd"),
    ],
)
def test_invalid_photos_and_scales_raise(photo, options, message):
    with pytest.raises(InputError, match=message):
        images.photo_features(photo, **options)


def test_the_photo_is_not_modified():
    photo = RNG.random((4, 5, 3))
    before = photo.copy()
    images.photo_features(photo, patch=1.0)
    np.testing.assert_array_equal(photo, before)


# --- signals --------------------------------------------------------------------------------------


def test_photo_to_signals_round_trip():
    photo = RNG.random((4, 5, 3))
    signals = images.from_photo(photo)
    assert (signals[2 * 5 + 3] == photo[2, 3]).all()
    np.testing.assert_array_equal(images.to_photo(signals, (4, 5)), photo)
    assert images.to_photo(signals[:, 0], (4, 5)).shape == (4, 5)
    assert images.to_photo(signals[:, :1], (4, 5)).shape == (4, 5, 1)  # no axis is dropped


def test_signals_of_the_wrong_size_raise():
    with pytest.raises(InputError, match=r"shape \(20, 3\) do not fill a photo of shape \(4, 6\)"):
        images.to_photo(np.zeros((20, 3)), (4, 6))
    with pytest.raises(InputError, match=r"photo has shape \(5,\)"):
        images.from_photo(np.zeros(5))
