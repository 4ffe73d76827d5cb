"""Class folders of images in a folder or a zip, and the errors for damaged ones."""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import data_files
from support.paths import ROOT

from gspnl.errors import InputError
from gspnl.train import data
from gspnl.train.data import Batches, DataError, folders
from gspnl.train.data.images import decode

MINI = ROOT.parent / "shared" / "data" / "cifar10-jpeg-subset.zip"


@pytest.fixture(params=["folder", "zip", "stored zip"])
def write(request, tmp_path):
    def put(files):
        if request.param == "folder":
            return data_files.write_folder(tmp_path / "d", files)
        method = zipfile.ZIP_DEFLATED if request.param == "zip" else zipfile.ZIP_STORED
        return data_files.write_zip(tmp_path / "d.zip", files, method)

    return put


def check(found, truth, tested="test", root=""):
    for split, place in ((found.train, "train"), (found.test, tested)):
        names = sorted(name for name in truth if name.startswith(f"{place}/"))
        assert split.labels.tolist() == [found.classes.index(n.split("/")[1]) for n in names]
        for i, name in enumerate(names):
            assert np.array_equal(split.read(i).permute(1, 2, 0).numpy(), truth[name])
            assert split.name(i).startswith(f"{root}{name} of ")
    pixels = np.stack([truth[n] for n in truth if n.startswith("train/")]) / 255
    # Sums of integers are exact; NumPy's of float64 err by some 1e-16 a term.
    assert np.allclose(found.mean, pixels.mean((0, 1, 2)), rtol=1e-13, atol=0)
    assert np.allclose(found.std, pixels.std((0, 1, 2)), rtol=1e-12, atol=0)


def test_class_folders_are_read_in_the_order_of_names(write):
    files, truth = data_files.pictures(("dog", "cat", "ape"))
    found = data.load("folder", write(files))
    assert found.classes == ("ape", "cat", "dog")
    assert found.skipped == ()
    check(found, truth)
    assert found.train.take(np.array([4, 1])).shape == (2, 3, 8, 8)


def test_an_outer_folder_and_val_are_accepted(write):
    files, truth = data_files.pictures()
    files = {f"mine/{name}".replace("test/", "val/"): c for name, c in files.items()}
    files |= {
        "__MACOSX/mine/._x.png": b"?",
        "mine/.DS_Store": b"?",
        "mine/train/cat/Thumbs.db": b"",
    }
    truth = {name.replace("test/", "val/"): pixels for name, pixels in truth.items()}
    check(data.load("folder", write(files)), truth, "val", "mine/")


def test_nested_folders_belong_to_their_class(write):
    files, truth = data_files.pictures()
    for table in (files, truth):
        table["train/cat/more/5.png"] = table.pop("train/cat/2.png")
    check(data.load("folder", write(files)), truth)


def test_jpeg_and_grey_images_become_rgb(write):
    files, truth = data_files.pictures()
    pixels = truth.pop("train/cat/0.png")
    files["train/cat/0.JPG"] = data_files.png(pixels, "JPEG")
    del files["train/cat/0.png"]
    grey = truth["train/cat/1.png"][..., 0]
    files["train/cat/1.png"] = data_files.png(grey)
    found = data.load("folder", write(files))
    assert np.array_equal(found.train.read(1).numpy(), np.stack([grey] * 3))
    truth = decode(files["train/cat/0.JPG"], "0.JPG").transpose(2, 0, 1)
    assert np.array_equal(found.train.read(0).numpy(), truth)


@pytest.mark.parametrize("case", ["sizes", "large"])
def test_images_of_several_sizes_or_too_many_are_read_lazily(write, case, monkeypatch):
    files, truth = data_files.pictures()
    if case == "large":
        monkeypatch.setattr(folders, "MEMORY", 100)
    else:
        extra, pixels = data_files.pictures(each=1, size=(9, 7), seed=1)
        files |= {name.replace("0.", "9."): content for name, content in extra.items()}
        truth |= {name.replace("0.", "9."): content for name, content in pixels.items()}
    found = data.load("folder", write(files))
    assert found.train.take(np.arange(2)) is None
    assert found.test.take(np.arange(2)) is None
    for split, place in ((found.train, "train/"), (found.test, "test/")):
        for i, name in enumerate(sorted(n for n in truth if n.startswith(place))):
            assert np.array_equal(split.read(i).permute(1, 2, 0).numpy(), truth[name])
    flat = np.concatenate([p.reshape(-1, 3) for n, p in truth.items() if n.startswith("train/")])
    assert np.allclose(found.mean, (flat / 255).mean(0), rtol=1e-13, atol=0)
    assert np.allclose(found.std, (flat / 255).std(0), rtol=1e-12, atol=0)


def test_an_image_damaged_in_a_lazy_split_is_found_by_the_mean(write, monkeypatch):
    monkeypatch.setattr(folders, "MEMORY", 100)
    files, truth = data_files.pictures()
    files["train/cat/1.png"] = b""
    path = write(files)
    with pytest.raises(DataError, match=r"train/cat/1\.png"):
        data.load("folder", path)
    found = data.load("folder", path, skip_bad=True)
    assert len(found.skipped) == 1
    assert found.train.take(np.arange(2)) is None
    del truth["train/cat/1.png"]
    check(found, truth)


def test_the_mean_of_a_lazy_split_is_of_evenly_spaced_images(write, monkeypatch):
    monkeypatch.setattr(folders, "MEMORY", 100)
    monkeypatch.setattr(folders, "SAMPLE", 3)
    files, truth = data_files.pictures(each=4)
    found = data.load("folder", write(files))
    names = sorted(name for name in truth if name.startswith("train/"))
    some = np.stack([truth[names[i]] for i in (0, 3, 7)]) / 255
    assert np.allclose(found.mean, some.mean((0, 1, 2)), rtol=1e-13, atol=0)


def test_the_memory_limit_covers_both_splits(write, monkeypatch):
    """A training split of 1,152 bytes fills the limit."""
    files, truth = data_files.pictures()
    path = write(files)
    for room, held in ((2 * 1152, True), (2 * 1152 - 1, False)):
        monkeypatch.setattr(folders, "MEMORY", room)
        found = data.load("folder", path)
        assert found.train.take(np.arange(2)) is not None
        assert (found.test.take(np.arange(2)) is not None) == held
        check(found, truth)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGES = {
    "cut off": cut(data_files.png(np.arange(4800, dtype=np.uint8).reshape(40, 40, 3))),
    "empty": b"",
    "no picture": b"GIF89a, says a text",
    "a bomb": b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""),
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_damaged_images_are_an_error_or_skipped(write, damage, split):
    files, truth = data_files.pictures()
    name = f"{split}/dog/1.png"
    files[name] = DAMAGES[damage]
    path = write(files)
    with pytest.raises(DataError, match=name):
        data.load("folder", path)
    found = data.load("folder", path, skip_bad=True)
    assert len(found.skipped) == 1
    assert name in found.skipped[0]
    del truth[name]
    check(found, truth)


def test_all_damaged_files_are_listed(write):
    files, truth = data_files.pictures()
    files |= {"train/cat/0.png": b"", "test/dog/2.png": b"", "train/dog/note.txt": b"hello"}
    path = write(files)
    with pytest.raises(DataError, match=r"train/dog/note\.txt.* is no image"):
        data.load("folder", path)
    found = data.load("folder", path, skip_bad=True)
    assert len(found.skipped) == 3
    for name in ("train/cat/0.png", "test/dog/2.png", "train/dog/note.txt"):
        assert sum(name in line for line in found.skipped) == 1
    check(found, {n: p for n, p in truth.items() if n not in ("train/cat/0.png", "test/dog/2.png")})


def test_a_damaged_image_of_a_lazy_split_is_skipped_in_its_batch(write, monkeypatch):
    """Images above the memory limit are decoded when a batch reads them."""
    monkeypatch.setattr(folders, "MEMORY", 100)
    files, truth = data_files.pictures()
    files["test/cat/1.png"] = cut(files["test/cat/1.png"])
    found = data.load("folder", write(files))
    with pytest.raises(DataError, match=r"test/cat/1\.png"):
        list(Batches(found.test, batch_size=2))
    batches = Batches(found.test, batch_size=2, skip_bad=True)
    got = list(batches)
    assert [len(labels) for _, labels in got] == [1, 2, 2]
    assert torch.cat([labels for _, labels in got]).tolist() == [0, 0, 1, 1, 1]
    assert len(batches.skipped) == 1
    assert "test/cat/1.png" in batches.skipped[0]
    names = sorted(n for n in truth if n.startswith("test/") and n != "test/cat/1.png")
    images = torch.cat([images for images, _ in got]).permute(0, 2, 3, 1)
    # Both are x / 255 in float32, correctly rounded.
    assert np.array_equal(
        images.numpy(), np.stack([truth[n] for n in names]).astype(np.float32) / np.float32(255)
    )


@pytest.mark.parametrize("skip", [False, True])
def test_missing_splits_and_classes_are_never_skipped(write, tmp_path, skip):
    files, _ = data_files.pictures()
    cases = {
        r"no folder 'test': it has train;": {n: c for n, c in files.items() if "train/" in n},
        r"no folder 'train': it has test;": {n: c for n, c in files.items() if "test/" in n},
        r"no folder 'train' and no 'test': it has no folder at all": {"note.txt": b""},
        r"'ape' is in train only": files | {"train/ape/0.png": files["train/cat/0.png"]},
        r"'ape' is in test only": files | {"test/ape/0.png": files["train/cat/0.png"]},
        r"class folder 'train/ape' .* has no image": files | {
            "train/ape/note.txt": b"", "test/ape/0.png": files["train/cat/0.png"]},
    }  # fmt: skip
    for problem, some in cases.items():
        path = write(some)
        with pytest.raises(DataError, match=problem):
            data.load("folder", path, skip_bad=skip)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    bad = files | {f"train/cat/{i}.png": b"" for i in range(3)}
    with pytest.raises(
        DataError, match=r"train/cat/0\.png" if not skip else "no image of the class 'cat'"
    ):
        data.load("folder", write(bad), skip_bad=skip)


def test_a_split_of_damaged_images_is_an_error(write):
    files, _ = data_files.pictures()
    path = write({name: b"" if name.startswith("train") else files[name] for name in files})
    with pytest.raises(DataError, match=r"no image of the class 'cat' can be decoded"):
        data.load("folder", path, skip_bad=True)


def test_an_empty_class_folder_is_an_error(tmp_path):
    files, _ = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    (root / "test" / "ape").mkdir()
    with pytest.raises(DataError, match=r"class folder 'test/ape' .* has no image"):
        data.load("folder", root)
    files["test/ape/"] = b""
    with pytest.raises(DataError, match=r"class folder 'test/ape' .* has no image"):
        data.load("folder", data_files.write_zip(tmp_path / "d.zip", files))


def test_a_file_in_no_class_folder_is_an_error(write):
    files, _ = data_files.pictures()
    files["train/7.png"] = files["train/cat/0.png"]
    with pytest.raises(DataError, match=r"'train/7\.png' .* is in no class folder"):
        data.load("folder", write(files))


def test_a_split_without_class_folders_is_an_error(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"'train/' .* has no class folders"):
        data.load("folder", tmp_path)
    with pytest.raises(InputError, match="a path is needed"):
        data.load("folder")


def test_links_are_followed_once(tmp_path):
    files, truth = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    shutil.move(root / "train" / "cat", tmp_path / "cats")
    (root / "train" / "cat").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "back").symlink_to(tmp_path / "cats")
    check(data.load("folder", root), truth)


def test_a_file_removed_after_opening_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MEMORY", 100)
    files, _ = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    found = data.load("folder", root)
    (root / "test" / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match=r"test/cat/0\.png' is missing"):
        found.test.read(0)


# Zips


def test_a_zip_bomb_is_refused_unread(tmp_path):
    """80 MB of zeros in 80 kB: refused by the declared size."""
    files, truth = data_files.pictures()
    files["train/cat/9.png"] = bytes(80 * 2**20)
    path = data_files.write_zip(tmp_path / "d.zip", files)
    assert path.stat().st_size < 10**6
    with pytest.raises(DataError, match=r"'train/cat/9\.png' of .* unpacks to 83,886,080 bytes"):
        data.load("folder", path)
    found = data.load("folder", path, skip_bad=True)
    assert len(found.skipped) == 1
    check(found, truth)


def test_a_zip_bomb_with_a_false_size_is_refused(tmp_path):
    """Only the declared size is read, so the checksum fails."""
    files, truth = data_files.pictures()
    files["train/cat/9.png"] = bytes(80 * 2**20)
    path = data_files.write_zip(tmp_path / "d.zip", files)
    size = struct.pack("<I", 80 * 2**20)
    content = path.read_bytes()
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, struct.pack("<I", 1000)))
    with pytest.raises(DataError, match=r"'train/cat/9\.png' of .* is damaged"):
        data.load("folder", path)
    check(data.load("folder", path, skip_bad=True), truth)


def test_two_zip_members_of_one_name_are_refused(tmp_path):
    files, _ = data_files.pictures()
    path = data_files.write_zip(tmp_path / "d.zip", files)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/cat/0.png", b"other")
    with pytest.raises(DataError, match=r"two members 'train/cat/0\.png'"):
        data.load("folder", path)


def test_an_encrypted_zip_member_is_refused(tmp_path):
    files, _ = data_files.pictures()
    path = data_files.write_zip(tmp_path / "d.zip", files)
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of the first local header, and of the list's first entry
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"'train/cat/0\.png' of .* is damaged .*encrypted"):
        data.load("folder", path)


@pytest.fixture(scope="module")
def zipped(tmp_path_factory):
    files, truth = data_files.pictures()
    path = data_files.write_zip(tmp_path_factory.mktemp("zipped") / "d.zip", files)
    return path.read_bytes(), truth


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 0.999))
def test_a_truncated_zip_is_an_error(zipped, tmp_path_factory, part):
    path = tmp_path_factory.mktemp("cut") / "d.zip"
    path.write_bytes(zipped[0][: int(part * len(zipped[0]))])
    with pytest.raises(DataError, match=r"d\.zip"):
        data.load("folder", path)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_zip_with_one_byte_changed_gives_true_images_or_an_error(
    zipped, tmp_path_factory, place, value
):
    """Checksums detect the changes that matter."""
    content = bytearray(zipped[0])
    content[place % len(content)] = value
    path = tmp_path_factory.mktemp("bad") / "d.zip"
    path.write_bytes(bytes(content))
    try:
        found = data.load("folder", path)
    except DataError:
        return
    truth = {pixels.tobytes() for pixels in zipped[1].values()}
    for split in (found.train, found.test):
        for i in range(len(split.labels)):
            assert split.read(i).permute(1, 2, 0).numpy().tobytes() in truth


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255), st.sampled_from(["PNG", "JPEG"]))
def test_an_image_with_one_byte_changed_decodes_or_is_an_error(place, value, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    content = bytearray(data_files.png(pixels, kind))
    content[place % len(content)] = value
    try:
        assert decode(bytes(content), "x").shape[2] == 3
    except DataError as error:
        assert "'x'" in str(error)


@pytest.mark.skipif(not MINI.exists(), reason=f"the mini protocol's {MINI.name} is not here")
def test_the_zip_of_the_mini_protocol_is_read():
    found = data.load("folder", MINI)
    assert found.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert np.bincount(found.train.labels).tolist() == [1000] * 10
    assert np.bincount(found.test.labels).tolist() == [200] * 10
    assert found.train.take(np.arange(128)).shape == (128, 3, 32, 32)
    # The published numbers of CIFAR-10: a fifth of its images differ from all by some 0.002.
    assert np.allclose(found.mean, data.cifar.CIFAR10.mean, atol=5e-3)
    assert np.allclose(found.std, data.cifar.CIFAR10.std, atol=5e-3)
