"""Decoding of images, and CUB-200-2011 in its published format with every kind of fault."""

import io
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image
from support.media_files import BIRDS, change, jpeg, write_cub

from gspnl import images
from gspnl.errors import InputError, MissingExtraError
from gspnl.train.data import DATASETS, DataError, decode

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# --- decoding -------------------------------------------------------------------------------------


def test_rgb_is_decoded_exactly_to_a_writable_array():
    pixels = decode(encoded(Image.fromarray(BYTES)), "a.png")
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, BYTES)
    pixels[0, 0, 0] = 1  # torch warns of read-only arrays


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_agree_with_load_photo(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(BYTES), kind, exif=exif))
    pixels = decode(path.read_bytes(), "a")
    assert pixels.shape == ((24, 32, 3) if orientation < 5 else (32, 24, 3))
    np.testing.assert_array_equal(pixels, np.rint(images.load_photo(path) * 255))


def test_grey_palette_and_one_bit_become_rgb():
    grey = np.repeat(BYTES[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(BYTES[:, :, 0])), "a"), grey)
    palette = Image.fromarray(BYTES).convert("P")
    expected = np.array(palette.getpalette()).reshape(-1, 3)[np.asarray(palette)]
    np.testing.assert_array_equal(decode(encoded(palette), "a"), expected)
    bits = BYTES[:, :, 0] > 127
    expected = np.repeat(np.where(bits, 255, 0)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(bits)), "a"), expected)


def test_transparent_parts_become_white():
    alpha = np.full((24, 32, 1), 255, dtype=np.uint8)
    alpha[:12] = 0
    pixels = decode(encoded(Image.fromarray(np.dstack([BYTES, alpha]))), "a")
    assert (pixels[:12] == 255).all()
    np.testing.assert_array_equal(pixels[12:], BYTES[12:])


def test_transparent_palette_entries_become_white():
    palette = Image.fromarray((BYTES[:, :, 0] > 127).astype(np.uint8), mode=None).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    pixels = decode(encoded(palette, transparency=bytes([0, 255])), "a")
    expected = np.where(BYTES[:, :, :1] > 127, [40, 50, 60], 255)
    np.testing.assert_array_equal(pixels, expected)


def test_cmyk_becomes_rgb():
    ink = np.zeros((16, 16, 4), dtype=np.uint8)
    ink[..., 0] = 255  # cyan
    pixels = decode(encoded(Image.fromarray(ink, mode="CMYK"), "JPEG"), "a")
    assert np.abs(pixels.astype(int) - [0, 255, 255]).max() <= 3  # the loss of JPEG


def test_sixteen_bits_are_scaled_to_eight():
    deep = RNG.integers(0, 65536, (24, 32), dtype=np.uint16)
    pixels = decode(encoded(Image.fromarray(deep)), "a")
    np.testing.assert_array_equal(pixels[:, :, 1], np.rint(deep / 257))


def test_colour_profiles_are_ignored():
    photo = Image.fromarray(BYTES)
    plain, profiled = (
        encoded(photo, "JPEG", **more) for more in ({}, {"icc_profile": b"none" * 99})
    )
    np.testing.assert_array_equal(decode(plain, "a"), decode(profiled, "a"))


def test_damaged_metadata_is_ignored_without_warnings(capfd):
    torn = encoded(
        Image.fromarray(BYTES), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x09\x00"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with warnings.catch_warnings(record=True) as seen:
            pixels = decode(torn, "a")
    np.testing.assert_array_equal(pixels, decode(encoded(Image.fromarray(BYTES), "JPEG"), "a"))
    assert not seen
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'birds/a.jpg' is not an image"),
        (b"text", "'birds/a.jpg' is not an image"),
        (encoded(Image.fromarray(BYTES), "EPS"), "'birds/a.jpg' is not an image"),  # PostScript
        (jpeg(9, (200, 200))[:-200], "'birds/a.jpg' is damaged .* truncated"),
        (encoded(Image.fromarray(BYTES))[:-200], "'birds/a.jpg' is damaged"),
        (encoded(Image.fromarray(np.full((4, 4), 7.0, np.float32)), "TIFF"), "values run from 7"),
    ],
)
def test_files_that_do_not_decode_are_named(content, message):
    with pytest.raises(DataError, match=message):
        decode(content, "birds/a.jpg")


@pytest.mark.parametrize("limit", [500, 100])  # Pillow warns above it, raises above twice that
def test_decompression_bombs_are_refused(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="'a' decompresses to more pixels than is safe"):
        decode(encoded(Image.fromarray(BYTES)), "a")


def test_a_missing_pillow_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gspnl\[train\]'"):
        decode(b"", "a")


def test_decoding_in_threads_keeps_the_warning_filters():
    before = list(warnings.filters)
    content = encoded(Image.fromarray(BYTES), "JPEG")
    workers = [
        threading.Thread(target=lambda: [decode(content, "a") for _ in range(50)]) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert warnings.filters == before


# --- CUB-200-2011 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", [False, True])
def test_cub_is_read_as_published(tmp_path, outer):
    folder = write_cub(tmp_path)
    data = DATASETS["cub200"](tmp_path if outer else str(folder))
    assert (data.name, data.classes, data.skipped) == ("cub200", BIRDS, ())
    assert data.mean == (0.485, 0.456, 0.406)
    assert data.train.labels.dtype == np.int64
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [0, 1, 2]
    for split, photos in ((data.train, (1, 2, 4, 5, 7, 8)), (data.test, (3, 6, 9))):
        for index, number in enumerate(photos):
            photo = split.read(index)
            assert tuple(photo.shape) == (3, 9, 10 + number)
            assert (photo.double() - 20 * number).abs().max() <= 1  # the loss of JPEG
            assert f"_{number:04d}_" in split.name(index)
        assert split.take(np.arange(2)) is None


def test_the_order_of_lines_in_the_lists_is_irrelevant(tmp_path):
    folder = write_cub(tmp_path)
    before = DATASETS["cub200"](folder)
    rows = (folder / "image_class_labels.txt").read_text().splitlines()
    (folder / "image_class_labels.txt").write_text("\r\n".join(rows[::-1]))
    after = DATASETS["cub200"](folder)
    assert after.train.labels.tolist() == before.train.labels.tolist()


FIRST = f"{BIRDS[0]}/{BIRDS[0][4:]}_0001_796001.jpg"
FAULTS = [
    ("classes.txt", None, None, r"classes\.txt' is missing"),
    ("image_class_labels.txt", None, None, r"image_class_labels\.txt' is missing"),
    ("train_test_split.txt", None, None, r"train_test_split\.txt' is missing"),
    ("images.txt", None, None, r"'images\.txt' is neither in .* nor in its 'CUB_200_2011'"),
    ("classes.txt", "2 002", "4 002", r"classes\.txt' has no class 2, but has 4"),
    ("classes.txt", "2 002.Laysan", "2 001.Black_footed", "has the class '001.Black.*' twice"),
    ("images.txt", "5 002", "55 002", r"image_class_labels\.txt' has image 5, which images.txt"),
    ("images.txt", "5 002", "4 002", r"line 5 of .*images\.txt' has the number 4 for the second"),
    ("images.txt", "1 001", "one 001", r"line 1 of .*images\.txt' has 'one' where a number ≥ 1"),
    ("images.txt", f"1 {FIRST}", "1", r"line 1 of .* is '1', not a number and a text"),
    ("images.txt", FIRST, "../secret.jpg", r"image 1 in .* names '\.\./secret\.jpg', which is not"),
    ("images.txt", FIRST, "/etc/hosts", "image 1 in .* names '/etc/hosts', which is not a file"),
    ("images.txt", "0002_796002", "0001_796001", r"images 1 and 2 of .*images\.txt' are both '001"),
    ("image_class_labels.txt", "9 3\n", "", r"labels\.txt' has no line for image 9, '003\.Sooty"),
    (
        "image_class_labels.txt",
        "9 3",
        "9 4",
        r"image 9 in .* has the class 4; there are 1 to 3",
    ),
    ("image_class_labels.txt", "9 3", "9 0", r"image 9 in .* has '0' where a number ≥ 1"),
    ("image_class_labels.txt", "9 3", "9 -3", "image 9 in .* has '-3' where a number ≥ 1"),
    ("image_class_labels.txt", "9 3", "9 2", r"has the class 2, '002\.Laysan_.*is of '003\.Sooty"),
    ("train_test_split.txt", "4 1\n", "", r"split\.txt' has no line for image 4"),
    ("train_test_split.txt", "9 0", "9 0\n10 0", r"split\.txt' has image 10, which images.txt has"),
    ("train_test_split.txt", "4 1", "4 2", "image 4 in .* has '2', neither 1 .training. nor 0"),
]


@pytest.mark.parametrize("skip_bad", [False, True])  # lists are never skipped
@pytest.mark.parametrize(("file", "old", "new", "message"), FAULTS)
def test_faults_in_the_lists_of_cub_are_named(tmp_path, file, old, new, message, skip_bad):
    folder = write_cub(tmp_path)
    if old is None:
        (folder / file).unlink()
    else:
        change(folder / file, old, new)
    with pytest.raises(DataError, match=message):
        DATASETS["cub200"](folder, skip_bad=skip_bad)


def test_empty_and_binary_lists_are_errors(tmp_path):
    folder = write_cub(tmp_path)
    (folder / "classes.txt").write_text("\n")
    with pytest.raises(DataError, match=r"classes\.txt' is empty"):
        DATASETS["cub200"](folder)
    (folder / "classes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"classes\.txt' cannot be read as text"):
        DATASETS["cub200"](folder)


def test_a_missing_photo_is_an_error_or_skipped(tmp_path):
    folder = write_cub(tmp_path)
    (folder / "images" / FIRST).unlink()
    with pytest.raises(DataError, match=rf"1 of 9 listed files are missing .*{FIRST}"):
        DATASETS["cub200"](folder)
    data = DATASETS["cub200"](folder, skip_bad=True)
    assert data.skipped == (f"{FIRST}: missing",)
    assert data.train.labels.tolist() == [0, 1, 1, 2, 2]
    assert "_0002_" in data.train.name(0)


def test_a_split_without_photos_is_an_error(tmp_path):
    folder = write_cub(tmp_path)
    path = folder / "train_test_split.txt"
    path.write_text(path.read_text().replace(" 0", " 1"))
    with pytest.raises(DataError, match="has no test photo"):
        DATASETS["cub200"](folder)


def test_unreadable_photos_are_named_when_they_are_read(tmp_path):
    folder = write_cub(tmp_path)
    data = DATASETS["cub200"](folder)
    file = folder / "images" / FIRST
    file.write_bytes(b"not a photo")
    with pytest.raises(DataError, match=r"_0001_796001\.jpg of .*' is not an image"):
        data.train.read(0)
    assert data.train.read(1).shape == (3, 9, 12)  # the others are as they were
    file.unlink()
    with pytest.raises(DataError, match=r"_0001_796001\.jpg' is missing"):
        data.train.read(0)
    file.mkdir()
    with pytest.raises(DataError, match=r"_0001_796001\.jpg' cannot be read"):
        data.train.read(0)


def test_a_wrong_path_of_cub_is_an_error(tmp_path):
    with pytest.raises(InputError, match="'cub200' needs path="):
        DATASETS["cub200"](None)
    with pytest.raises(DataError, match=r"there is no folder '.*nowhere'"):
        DATASETS["cub200"](tmp_path / "nowhere")
