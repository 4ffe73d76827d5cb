"""Images of every container, mode, depth and orientation against formulas, in both readers."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from gspnl import images
from gspnl.errors import FileError
from gspnl.train.data import decode

RNG = np.random.default_rng(3)
BYTES = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = BYTES[:, :, 0]
TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}


def read(content, tmp_path):
    """Pixels in [0, 1] of both readers, which agree to half a step of 8 bits."""
    path = tmp_path / "photo"
    path.write_bytes(content)
    photo, full = images.read_photo(path)
    assert full == photo.shape[:2]
    np.testing.assert_allclose(decode(content, "photo"), photo * 255, atol=0.501)
    return photo


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def xmp(orientation):
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description '
        b'tiff:Orientation="%d"/></x:xmpmeta>' % orientation
    )


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples, depth, kind, *extra):
    """A PNG of integer samples (H, W, channels) with ``depth`` bits each, byte by byte."""
    height, width = samples.shape[:2]
    bits = (samples.reshape(height, -1, 1) >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(samples, bits, tags=(), order="<"):
    """A TIFF of grey samples, one strip, uncompressed; ``tags`` are of SHORT."""
    height, width = samples.shape
    if bits == 12:
        flat = (samples.reshape(-1, 1) >> np.arange(12)[::-1]) & 1
        body = np.packbits(flat.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    else:
        body = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    found = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 277: 1, 278: height}
    found |= {273: 8, 279: len(body), **dict(tags)}
    offset = 8 + len(body) + len(body) % 2
    ifd = struct.pack(order + "H", len(found))
    for tag, value in sorted(found.items()):
        ifd += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, offset)
    return head + body.ljust(offset - 8, b"\0") + ifd + bytes(4)


# --- orientation ----------------------------------------------------------------------------------

CONTAINERS = {
    "PNG": {},
    "JPEG": {},
    "TIFF": {},
    "TIFF, deflate": {"compression": "tiff_adobe_deflate"},
    "TIFF, LZW": {"compression": "tiff_lzw"},
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"subsampling": "4:4:4", "quality": 100},
    "MPO": {},
}


def container(name):
    kind = name.partition(",")[0]
    if kind not in Image.SAVE:
        Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    return kind, CONTAINERS[name]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("orientation", TURNED)
def test_the_orientation_is_applied_once_in_every_container(tmp_path, name, orientation):
    kind, options = container(name)
    plain = read(encoded(Image.fromarray(BYTES), kind, **options), tmp_path)
    if kind not in ("JPEG", "MPO", "AVIF"):  # which are lossy
        np.testing.assert_array_equal(plain, BYTES / 255)
    found = read(encoded(Image.fromarray(BYTES), kind, exif=exif(orientation), **options), tmp_path)
    np.testing.assert_array_equal(found, TURNED[orientation](plain))


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "WEBP", "MPO"])
@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(tmp_path, name, orientation):
    kind, options = container(name)
    plain = read(encoded(Image.fromarray(BYTES), kind, **options), tmp_path)
    content = encoded(Image.fromarray(BYTES), kind, exif=exif(orientation), **options)
    np.testing.assert_array_equal(read(content, tmp_path), plain)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\0x\0\0\0\0\0\0\0",  # the text 'x'
        b"II*\0\x08\0\0\0\x05\0",  # cut off
        b"no TIFF header at all",
        b"II*\0\xff\xff\xff\x7f",  # beyond the end
    ],
)
def test_damaged_exif_leaves_the_pixels_as_they_are(tmp_path, kind, block):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    plain = read(encoded(Image.fromarray(BYTES), kind, **options), tmp_path)
    content = encoded(Image.fromarray(BYTES), kind, exif=b"Exif\0\0" + block, **options)
    np.testing.assert_array_equal(read(content, tmp_path), plain)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_of_two_values_of_the_orientation_the_first_is_applied(tmp_path, kind):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x02\0\0\0\x06\0\x03\0\0\0\0\0"
    plain = read(encoded(Image.fromarray(BYTES), kind, **options), tmp_path)
    found = read(encoded(Image.fromarray(BYTES), kind, exif=block, **options), tmp_path)
    np.testing.assert_array_equal(found, TURNED[6](plain))


@pytest.mark.parametrize(("in_exif", "in_xmp"), [(None, 6), (6, 6), (6, 3), (8, 1), (1, 6), (1, 1)])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF"])
def test_of_two_orientations_that_of_exif_is_applied(tmp_path, kind, in_exif, in_xmp):
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    plain = read(encoded(Image.fromarray(BYTES), kind, **options), tmp_path)
    if kind == "TIFF":
        options["tiffinfo"] = {700: xmp(in_xmp)} | ({274: in_exif} if in_exif else {})
    else:
        options["xmp"] = xmp(in_xmp)
        if in_exif:
            options["exif"] = exif(in_exif)
    found = read(encoded(Image.fromarray(BYTES), kind, **options), tmp_path)
    np.testing.assert_array_equal(found, TURNED[in_exif or in_xmp](plain))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_turned_photos_are_scaled_down_with_their_proportions(tmp_path, kind, orientation):
    big = np.kron(BYTES, np.ones((40, 40, 1), dtype=np.uint8))  # 200 × 280
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(big), kind, exif=exif(orientation)))
    photo, full = images.read_photo(path, max_pixels=600)
    assert full == TURNED[orientation](big).shape[:2]
    height, width = photo.shape[:2]
    assert height * width <= 600
    assert abs(height / width - full[0] / full[1]) < 0.06
    assert np.abs(photo.mean((0, 1)) - big.mean((0, 1)) / 255).max() < 0.02


# --- modes of TIFF --------------------------------------------------------------------------------

ALPHA = np.array([0, 255, 128, 1, 254, 77, 200], np.uint8) * np.ones((5, 1), np.uint8)
INK = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)


def on_white(colours, alpha):
    alpha = alpha[:, :, None] / 255
    return colours / 255 * alpha + 1 - alpha


def from_cmyk(ink):
    return (1 - ink[:, :, :3] / 255) * (1 - ink[:, :, 3:] / 255)


def from_ycbcr(samples):
    y, cb, cr = np.moveaxis(samples.astype(float), 2, 0)
    cb, cr = cb - 128, cr - 128
    rgb = np.dstack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
    return np.clip(rgb, 0, 255) / 255


def grey3(values):
    return np.repeat(np.asarray(values, float)[:, :, None], 3, axis=2)


DEEP = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
SWAPPED = DEEP.astype(">u2")
PALETTE = Image.frombytes("P", (7, 5), (GREY % 4).tobytes())
PALETTE.putpalette([9, 50, 90, 200, 10, 5, 0, 255, 0, 7, 7, 250])
COLOURS = np.array([[9, 50, 90], [200, 10, 5], [0, 255, 0], [7, 7, 250]])
MODES = {  # an image, and its pixels; the tolerance in steps of 8 bits
    "1": (Image.fromarray(GREY > 99), grey3(GREY > 99), 0),
    "L": (Image.fromarray(GREY), grey3(GREY / 255), 0),
    "LA": (Image.fromarray(np.dstack([GREY, ALPHA])), on_white(grey3(GREY), ALPHA), 1),
    "P": (PALETTE, COLOURS[GREY % 4] / 255, 0),
    "RGB": (Image.fromarray(BYTES), BYTES / 255, 0),
    "RGBA": (Image.fromarray(np.dstack([BYTES, ALPHA])), on_white(BYTES, ALPHA), 1),
    "CMYK": (Image.frombytes("CMYK", (7, 5), INK.tobytes()), from_cmyk(INK), 1),
    "YCbCr": (Image.frombytes("YCbCr", (7, 5), BYTES.tobytes()), from_ycbcr(BYTES), 1.5),
    "I;16": (Image.fromarray(DEEP), grey3(DEEP / 65535), 1e-4),
    "I;16B": (Image.frombytes("I;16B", (7, 5), SWAPPED.tobytes()), grey3(DEEP / 65535), 1e-4),
    "I, 8 bits": (Image.fromarray(GREY.astype(np.int32)), grey3(GREY / 255), 1e-4),
    "I, 16 bits": (Image.fromarray(DEEP.astype(np.int32)), grey3(DEEP / 65535), 1e-4),
    "F": (Image.fromarray(DEEP.astype(np.float32) / 65535), grey3(DEEP / 65535), 1e-4),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("orientation", [1, 2, 5, 6, 7])
def test_every_mode_of_tiff_in_every_orientation(tmp_path, mode, orientation):
    image, expected, steps = MODES[mode]
    content = encoded(image, "TIFF", exif=exif(orientation))
    assert Image.open(io.BytesIO(content)).mode == mode.partition(",")[0]
    found = read(content, tmp_path)
    np.testing.assert_allclose(found, TURNED[orientation](expected), atol=steps / 255 + 1e-12)


def test_lab_is_converted_by_its_formula(tmp_path):
    """CIELAB of white D50, adapted to D65 by Bradford, in gamut. Steps of 8 bits in a and b
    are up to six of blue."""
    rgb = np.array([[[128, 128, 128], [200, 40, 60], [60, 90, 160], [255, 255, 255], [0, 0, 0]]])
    lab, srgb = (ImageCms.createProfile(space) for space in ("LAB", "sRGB"))
    there = ImageCms.profileToProfile(
        Image.fromarray(rgb.astype(np.uint8)), srgb, lab, outputMode="LAB"
    )
    y = ((128 / 255 + 0.055) / 1.055) ** 2.4
    assert abs(np.asarray(there)[0, 0, 0] / 2.55 - (116 * y ** (1 / 3) - 16)) < 0.5
    found = read(encoded(there, "TIFF"), tmp_path)
    np.testing.assert_allclose(found, rgb / 255, atol=6 / 255)


# --- deep images ----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [0, 1])
def test_white_is_zero_in_sixteen_bits(tmp_path, order, photometric):
    content = tiff(DEEP, 16, {262: photometric}, order)
    try:
        found = read(content, tmp_path)
    except FileError as error:  # of Pillow, for the big-endian one
        assert photometric == 0
        assert "not an image that Pillow can read" in str(error)
        return
    expected = DEEP / 65535 if photometric else 1 - DEEP / 65535
    np.testing.assert_allclose(found, grey3(expected), atol=1e-6)


def test_twelve_bits_fill_the_range(tmp_path):
    samples = RNG.integers(0, 4096, (4, 6), dtype=np.uint16)
    np.testing.assert_allclose(read(tiff(samples, 12), tmp_path), grey3(samples / 4095), atol=1e-6)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["i4", "u4"])
@pytest.mark.parametrize(
    ("high", "top"), [(255, 255), (1, 255), (0, 255), (256, 65535), (65535, 65535)]
)
def test_integers_of_32_bits_have_the_range_they_fit_in(tmp_path, order, kind, high, top):
    samples = (np.arange(12).reshape(3, 4) * high // 11).astype(kind)
    content = tiff(samples, 32, {339: 2 if kind == "i4" else 1}, order)
    try:
        found = read(content, tmp_path)
    except FileError as error:
        assert (kind, order) == ("u4", ">")
        assert "not an image that Pillow can read" in str(error)
        return
    np.testing.assert_allclose(found, grey3(samples / top), atol=1e-6)


@pytest.mark.parametrize(
    "samples",
    [
        np.full((2, 3), 65536, np.int32),
        np.array([[-1, 4]], np.int32),
        np.array([[np.nan, 0.5]], np.float32),
        np.array([[np.inf, 0.5]], np.float32),
        np.array([[0, 255]], np.float32),
        np.array([[-0.1, 0.5]], np.float32),
    ],
)
def test_values_of_unknown_range_are_refused(tmp_path, samples):
    content = encoded(Image.fromarray(samples), "TIFF")
    (tmp_path / "x.tif").write_bytes(content)
    for reader in (lambda: images.load_photo(tmp_path / "x.tif"), lambda: decode(content, "x")):
        with pytest.raises(FileError, match=r"its values run from .* save it with 8 or 16 bits"):
            reader()


@pytest.mark.parametrize(
    ("maximum", "high"), [(255, 255), (1, 1), (100, 100), (4095, 4095), (65535, 9)]
)
def test_grey_maps_have_the_range_of_their_header(tmp_path, maximum, high):
    samples = np.arange(12).reshape(3, 4) * high // 11
    body = samples.astype(np.uint8 if maximum < 256 else ">u2").tobytes()
    content = b"P5 4 3 %d\n" % maximum + body
    found = read(content, tmp_path)
    np.testing.assert_allclose(
        found, grey3(samples / maximum), atol=0.51 / 255 if maximum < 256 else 1e-4
    )


# --- declared transparency ------------------------------------------------------------------------

DEPTHS = [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("depth", "kind"), DEPTHS)
def test_a_declared_colour_is_transparent_at_every_depth(tmp_path, depth, kind, orientation):
    channels = 3 if kind == 2 else 1
    samples = RNG.integers(0, 2**depth, (4, 6, channels))
    samples[1:3] = samples[0, 0]
    samples[2, :, 0] ^= 1  # differs in the lowest bit
    declared = samples[0, 0]
    extra = [(b"tRNS", struct.pack(f">{channels}H", *declared))]
    if orientation != 1:
        extra.append((b"eXIf", exif(orientation).tobytes()[6:]))
    found = read(png(samples, depth, kind, *extra), tmp_path)
    clear = (samples == declared).all(axis=2)
    shown = samples / (2**depth - 1)
    expected = np.where(clear[:, :, None], 1, np.broadcast_to(shown, (4, 6, 3)))
    exact = depth < 16 or kind == 0
    np.testing.assert_allclose(
        found, TURNED[orientation](expected), atol=1e-6 if exact else 1 / 255
    )
    assert (found == 1).all(axis=2).sum() >= clear.sum()


@pytest.mark.parametrize(("depth", "kind"), [(2, 0), (4, 0), (8, 0), (8, 2)])
def test_bits_above_the_depth_of_a_declared_colour_do_not_count(tmp_path, depth, kind):
    channels = 3 if kind == 2 else 1
    samples = np.full((2, 3, channels), 1)
    samples[0] = 2
    extra = (b"tRNS", struct.pack(f">{channels}H", *[(0xFFFF << depth) & 0xFFFF | 2] * channels))
    found = read(png(samples, depth, kind, extra), tmp_path)
    assert (found[0] == 1).all()
    np.testing.assert_allclose(found[1], 1 / (2**depth - 1))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("alphas", [[0], [255, 0], [128, 255, 0, 7], [255] * 4])
def test_palettes_with_alpha_at_every_depth(tmp_path, depth, alphas, interlaced):
    count = min(4, 2**depth)
    samples = RNG.integers(0, count, (4, 6, 1))
    alphas = alphas[:count]
    palette = COLOURS[:count].astype(np.uint8)
    content = png(samples, depth, 3, (b"PLTE", palette.tobytes()), (b"tRNS", bytes(alphas)))
    alpha = np.array([*alphas, *[255] * (count - len(alphas))])[samples[:, :, 0]]
    expected = on_white(palette[samples[:, :, 0]], alpha)
    np.testing.assert_allclose(read(content, tmp_path), expected, atol=1 / 255)


@pytest.mark.parametrize(("depth", "kind"), [(8, 4), (16, 4), (8, 6), (16, 6)])
def test_alpha_channels_of_png(tmp_path, depth, kind):
    channels = 4 if kind == 6 else 2
    samples = RNG.integers(0, 2**depth, (4, 6, channels))
    samples[0, :, -1], samples[1, :, -1] = 0, 2**depth - 1
    colour, alpha = samples[:, :, :-1] / (2**depth - 1), samples[:, :, -1:] / (2**depth - 1)
    found = read(png(samples, depth, kind), tmp_path)
    np.testing.assert_allclose(found, colour * alpha + (1 - alpha) * np.ones(3), atol=2.5 / 255)
    assert (found[0] == 1).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "AVIF", "ICO", "TGA", "JPEG2000"])
def test_alpha_of_other_containers(tmp_path, kind):
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    colours = np.full((16, 16, 4), [200, 30, 60, 255], np.uint8)
    colours[:8, :, 3] = 0
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(Image.fromarray(colours), kind, **options)
    path = tmp_path / "photo"
    path.write_bytes(content)
    found = images.load_photo(path)
    assert (found[:7] == 1).all()
    np.testing.assert_allclose(
        found[9:], np.broadcast_to([200, 30, 60], (7, 16, 3)) / 255, atol=0.02
    )


@pytest.mark.parametrize("premultiplied", [False, True])
def test_grey_with_alpha_in_tiff(tmp_path, premultiplied):
    """Extra samples of kind 1 are multiplied with alpha already."""
    grey = (GREY // 2).astype(np.uint8)
    alpha = np.full_like(grey, 200)
    stored = np.rint(grey * (alpha / 255)).astype(np.uint8) if premultiplied else grey
    body = np.dstack([stored, alpha]).tobytes()
    tags = {256: 7, 257: 5, 259: 1, 262: 1, 273: 8, 277: 2, 278: 5, 279: len(body),
            258: (8 << 16) | 8, 338: 1 if premultiplied else 2}  # fmt: skip
    ifd = struct.pack("<H", len(tags))
    for tag, value in sorted(tags.items()):
        ifd += struct.pack("<HHII", tag, 3, 2 if tag == 258 else 1, value)
    content = b"II*\0" + struct.pack("<I", 8 + len(body)) + body + ifd + bytes(4)
    np.testing.assert_allclose(
        read(content, tmp_path), on_white(grey3(grey), alpha), atol=2.5 / 255
    )


def test_the_transparent_index_of_a_gif(tmp_path):
    content = encoded(PALETTE, "GIF", transparency=2)
    expected = np.where((GREY % 4 == 2)[:, :, None], 1, COLOURS[GREY % 4] / 255)
    np.testing.assert_allclose(read(content, tmp_path), expected, atol=1e-12)
    grey = encoded(Image.fromarray(GREY), "GIF", transparency=int(GREY[2, 3]))
    expected = np.where(GREY[2, 3] == GREY, 1, GREY / 255)
    np.testing.assert_allclose(read(grey, tmp_path), grey3(expected), atol=1e-12)


# --- first frames, inks ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_the_first_frame_of_an_animation_is_read(tmp_path, kind):
    Image.init()
    if kind not in Image.SAVE_ALL:
        pytest.skip(f"this Pillow writes no {kind}")
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    expected = np.broadcast_to(np.array([200, 0, 0]) / 255, (16, 16, 3))
    np.testing.assert_allclose(read(content, tmp_path), expected, atol=0.02)


def test_inverted_inks_of_adobe(tmp_path):
    ink = np.kron(INK[:2, :2], np.ones((16, 16, 1), np.uint8))
    content = encoded(
        Image.frombytes("CMYK", (32, 32), ink.tobytes()), "JPEG", quality=100, subsampling=0
    )
    np.testing.assert_allclose(read(content, tmp_path), from_cmyk(ink), atol=4 / 255)


# --- hostile headers ------------------------------------------------------------------------------

SIZES = list(itertools.product([(1, 89_000_000), (89_000_000, 1), (300, 290_000), (9000, 9000)],
                               ["PNG", "GIF", "BMP", "PPM", "TIFF"]))  # fmt: skip


def declared(kind, width, height):
    """A file of a few bytes whose header declares a size, or None where it cannot."""
    if kind == "PNG":
        return png(np.zeros((1, 1, 3), int), 8, 2).replace(
            chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        )
    if kind == "PPM":
        return b"P6 %d %d 255\n" % (width, height)
    if kind == "BMP":
        content = bytearray(encoded(Image.new("RGB", (1, 1)), "BMP"))
        content[18:26] = struct.pack("<ii", width, height)
        return bytes(content)
    if kind == "GIF" and max(width, height) < 65536:
        content = bytearray(encoded(Image.new("L", (1, 1)), "GIF"))
        content[6:10] = struct.pack("<HH", width, height)
        return bytes(content)
    if kind == "TIFF":
        content = bytearray(tiff(np.zeros((1, 1), np.uint8), 8))
        for tag, value in ((256, width), (257, height), (278, height)):
            at = content.index(struct.pack("<HH", tag, 3), 8)
            content[at : at + 12] = struct.pack("<HHII", tag, 4, 1, value)
        return bytes(content)
    return None


@pytest.mark.parametrize(("size", "kind"), SIZES)
def test_declared_sizes_that_the_bytes_cannot_hold_are_refused(tmp_path, size, kind):
    content = declared(kind, *size)
    if content is None:
        return
    (tmp_path / "x").write_bytes(content)
    for reader in (
        lambda: images.load_photo(tmp_path / "x"),
        lambda: images.load_photo(tmp_path / "x", max_pixels=100),
        lambda: decode(content, "x"),
    ):
        with pytest.raises(FileError) as caught:
            reader()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(300_000, 1, 1), (1, 300_000, 1)])
def test_sides_that_no_photo_has_are_refused(tmp_path, shape):
    content = png(np.ones(shape, int), 8, 0)
    (tmp_path / "x").write_bytes(content)
    for reader in (lambda: images.load_photo(tmp_path / "x"), lambda: decode(content, "x")):
        with pytest.raises(FileError, match=r"no side may be longer than 262,144; cut it"):
            reader()


def interlaced(samples, depth, kind):
    """A PNG in the seven passes of Adam7."""
    raw = b""
    for left, top, across, down in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4),
                                    (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):  # fmt: skip
        part = samples[top::down, left::across]
        if part.size:
            packed = png(part, depth, kind)
            at = packed.index(b"IDAT")
            length = int.from_bytes(packed[at - 4 : at], "big")
            raw += zlib.decompress(packed[at + 4 : at + 4 + length])
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 1)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return raw, b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize("adam7", [False, True])
@pytest.mark.parametrize(("depth", "kind"), [(1, 0), (4, 0), (8, 0), (16, 0), (8, 2), (8, 6)])
@pytest.mark.parametrize("shape", [(11, 9), (2, 3), (1, 1), (8, 8)])
def test_a_png_whose_stream_ends_between_two_rows_is_refused(tmp_path, adam7, depth, kind, shape):
    channels = {0: 1, 2: 3, 6: 4}[kind]
    for samples in (np.zeros((*shape, channels), int), np.ones((*shape, channels), int)):
        if adam7:
            raw, whole = interlaced(samples, depth, kind)
        else:
            whole = png(samples, depth, kind)
            at = whole.index(b"IDAT")
            raw = zlib.decompress(whole[at + 4 : -16])
        read(whole, tmp_path)
        row = len(raw) if 1 in shape else -(-shape[1] * depth * channels // 8) + 1
        short = chunk(b"IDAT", zlib.compress(raw[:-row]))
        content = whole[: whole.index(b"IDAT") - 4] + short + chunk(b"IEND", b"")
        (tmp_path / "x").write_bytes(content)
        for reader in (lambda: images.load_photo(tmp_path / "x"), lambda c=content: decode(c, "x")):
            with pytest.raises(FileError, match="damaged"):
                reader()


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_images_without_pixels_are_refused(tmp_path, size, kind):
    content = declared(kind, *size)
    (tmp_path / "x").write_bytes(content)
    for reader in (lambda: images.load_photo(tmp_path / "x"), lambda: decode(content, "x")):
        with pytest.raises(FileError):
            reader()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_texts_that_unpack_to_many_megabytes_are_refused(tmp_path, kind):
    packed = zlib.compress(bytes(20 * 2**20), 9)
    head = b"Comment\0\x01\0\0\0" if kind == b"iTXt" else b"Comment\0\0"
    content = png(np.zeros((2, 2, 3), int), 8, 2, (kind, head + packed))
    (tmp_path / "x").write_bytes(content)
    for reader in (lambda: images.load_photo(tmp_path / "x"), lambda: decode(content, "x")):
        with pytest.raises(FileError, match="too large"):
            reader()
