"""The CIFAR sets, in tiny files of the published formats."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import data_files

from gspnl.errors import InputError
from gspnl.train import data
from gspnl.train.data import DataError, archives
from gspnl.train.data.cifar import CIFAR10, CIFAR100, CIFAR100_COARSE, open_cifar

TINY = replace(CIFAR10, records=(4, 4))
LABELS, PIXELS = data_files.cifar10()
WRITERS = {
    "cifar-10-batches-bin": data_files.write_binary10,
    "cifar-10-batches-py": data_files.write_python10,
}


@pytest.fixture(params=WRITERS)
def root(request, tmp_path):
    WRITERS[request.param](tmp_path / request.param, LABELS, PIXELS)
    return tmp_path / request.param


@pytest.fixture
def binary(tmp_path):
    data_files.write_binary10(tmp_path / "b", LABELS, PIXELS)
    return tmp_path / "b"


def check_tiny(found):
    assert found.classes == tuple(data_files.NAMES10)
    assert found.train.labels.dtype == np.int64
    assert np.array_equal(found.train.labels, LABELS[:5].reshape(-1))
    assert np.array_equal(found.test.labels, LABELS[5])
    truth = PIXELS[:5].reshape(20, 3, 32, 32)
    assert np.array_equal(found.train.take(np.arange(20)).numpy(), truth)
    for i in (0, 7, 19):
        assert np.array_equal(found.train.read(i).numpy(), truth[i])
    assert np.array_equal(found.test.take(np.arange(4)).numpy(), PIXELS[5].reshape(4, 3, 32, 32))
    assert found.skipped == ()


@pytest.mark.parametrize("above", [False, True])
def test_both_forms_are_read_from_their_folder_or_the_one_above(root, above):
    found = open_cifar(TINY, root.parent if above else root)
    check_tiny(found)
    assert found.train.name(6).startswith(("data_batch_2", f"{root.name}/data_batch_2"))
    assert found.train.name(6).endswith("record 2")


def archive(root, path, wrap=lambda name: name):
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(root.iterdir()):
            tar.add(file, wrap(f"{root.name}/{file.name}"))
    return path


@pytest.mark.parametrize("wrap", [str, lambda name: f"./{name}"])
def test_published_archives(root, tmp_path, wrap):
    check_tiny(open_cifar(TINY, archive(root, tmp_path / "a.tar.gz", wrap)))


def test_zip_archives_are_read(root, tmp_path):
    files = {f"{root.name}/{file.name}": file.read_bytes() for file in root.iterdir()}
    check_tiny(open_cifar(TINY, data_files.write_zip(tmp_path / "a.zip", files)))


def test_registered_names_expect_the_published_sizes(root):
    """Files of the registered sets have 10,000 records."""
    with pytest.raises(DataError, match=r"data_batch_1.* has 4 whole records of 10,000"):
        data.load("cifar10", root)


@pytest.mark.parametrize(("form", "column"), [(CIFAR100, 1), (CIFAR100_COARSE, 0)])
@pytest.mark.parametrize("python", [False, True])
def test_cifar100_is_read_with_fine_and_coarse_labels(form, column, python, tmp_path):
    rng = np.random.default_rng(1)
    form = replace(form, records=(6, 3))
    truth = {}
    names = {"coarse": [f"c{i}" for i in range(20)], "fine": [f"f{i}" for i in range(100)]}
    for file, count in (("train", 6), ("test", 3)):
        labels = np.stack([rng.integers(0, 20, count), rng.integers(0, 100, count)], 1)
        pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        truth[file] = labels[:, column], pixels
        if python:
            content = data_files.python2_dict(
                {
                    "filenames": data_files.python2_strings([b"x.png"] * count),
                    "batch_label": data_files.python2_string(b"training batch 1 of 1"),
                    "fine_labels": data_files.python2_integers(labels[:, 1].tolist()),
                    "coarse_labels": data_files.python2_integers(labels[:, 0].tolist()),
                    "data": data_files.python2_array(pixels),
                }
            )
            (tmp_path / file).write_bytes(content)
        else:
            rows = np.concatenate([labels.astype(np.uint8), pixels], 1)
            (tmp_path / f"{file}.bin").write_bytes(rows.tobytes())
    if python:
        lists = {
            f"{kind}_label_names": data_files.python2_strings(n.encode() for n in some)
            for kind, some in names.items()
        }
        (tmp_path / "meta").write_bytes(data_files.python2_dict(lists))
    else:
        for kind, some in names.items():
            (tmp_path / f"{kind}_label_names.txt").write_text("\n".join(some) + "\n")
    found = open_cifar(form, tmp_path)
    assert found.classes == tuple(names["fine" if column else "coarse"])
    for split, (labels, pixels) in zip((found.train, found.test), truth.values(), strict=True):
        assert np.array_equal(split.labels, labels)
        every = split.take(np.arange(len(labels)))
        assert np.array_equal(every.numpy().reshape(len(labels), -1), pixels)


def test_a_missing_file_is_named(root):
    names = sorted(file.name for file in root.iterdir())
    for name in names:
        content = (root / name).read_bytes()
        (root / name).unlink()
        with pytest.raises(DataError, match=rf"{name}' is missing"):
            open_cifar(TINY, root, skip_bad=True)
        (root / name).write_bytes(content)
    open_cifar(TINY, root)


def test_one_long_name_for_many_classes_is_refused_before_it_is_copied(tmp_path):
    """A file of 200 KiB that would give 400 MB of names."""
    data_files.write_python10(tmp_path, LABELS, PIXELS)
    name = data_files.python2_string(b"a" * 200_000)
    again = b"](" + name + b"q\x63" + b"h\x63" * 2_000 + b"e"
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    files["batches.meta"] = data_files.python2_dict({"label_names": again})
    whole = data_files.write_zip(tmp_path / "a.zip", files)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"'batches.meta' has strings of more than .* bytes"):
            open_cifar(TINY, whole)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("whole", [True, False])
def test_a_truncated_binary_file_is_an_error_or_skipped(binary, whole):
    """The file ends after a record, or inside one."""
    file = binary / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[: 2 * 3073 + (0 if whole else 500)])
    with pytest.raises(DataError, match=r"'data_batch_3.bin' has 2 whole records of 4; .*cut off"):
        open_cifar(TINY, binary)
    found = open_cifar(TINY, binary, skip_bad=True)
    assert len(found.skipped) == 1
    assert "'data_batch_3.bin' has 2 whole records of 4" in found.skipped[0]
    assert len(found.train.labels) == 18
    assert found.train.name(10) == "data_batch_4.bin, record 0"
    assert np.array_equal(found.train.read(10).numpy().reshape(-1), PIXELS[3, 0])


def test_too_many_records_are_refused(binary):
    file = binary / "test_batch.bin"
    file.write_bytes(file.read_bytes() + bytes(3073))
    for skip in (False, True):
        with pytest.raises(
            DataError, match=r"'test_batch.bin' has 15,365 bytes, more than 4 records"
        ):
            open_cifar(TINY, binary, skip_bad=skip)


def test_bytes_after_the_last_record_are_refused(binary):
    file = binary / "test_batch.bin"
    file.write_bytes(file.read_bytes() + bytes(7))
    with pytest.raises(DataError, match=r"'test_batch.bin' has 12,299 bytes, more than 4 records"):
        open_cifar(TINY, binary)


def test_invalid_labels_are_an_error_or_skipped(binary):
    file = binary / "data_batch_2.bin"
    content = bytearray(file.read_bytes())
    content[3073] = 10
    content[3 * 3073] = 255
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"'data_batch_2.bin', record 1: the label 10 .*1 more"):
        open_cifar(TINY, binary)
    found = open_cifar(TINY, binary, skip_bad=True)
    assert len(found.skipped) == 2
    assert "record 3" in found.skipped[1]
    assert len(found.train.labels) == 18
    assert found.train.name(5) == "data_batch_2.bin, record 2"
    assert np.array_equal(found.train.read(5).numpy().reshape(-1), PIXELS[1, 2])


def test_a_file_without_good_records_is_an_error(binary):
    (binary / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"'test_batch.bin' has no good record"):
        open_cifar(TINY, binary, skip_bad=True)


def test_missing_class_names_are_an_error(root):
    for file in (root / "batches.meta.txt", root / "batches.meta"):
        if file.exists():
            if file.name.endswith(".txt"):
                file.write_text("a\nb\n")
            else:
                file.write_bytes(
                    data_files.python2_dict({"label_names": data_files.python2_strings([b"a"])})
                )
    with pytest.raises(DataError, match=r"batches.meta.* for 10 classes"):
        open_cifar(TINY, root)


GOOD = {
    "labels": data_files.python2_integers(LABELS[0].tolist()),
    "data": data_files.python2_array(PIXELS[0]),
}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cut off"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", r"names os\.system"),
        (b"\x80\x02].", "holds a list"),
        (data_files.python2_dict({"data": GOOD["data"]}), "has no 'labels'"),
        (data_files.python2_dict({"labels": GOOD["labels"]}), "has no 'data'"),
        (data_files.python2_dict(GOOD | {"data": b"]"}), "is no array of shape"),
        (data_files.python2_dict(GOOD | {"labels": b"K\x01"}), "is no list of integers"),
        (data_files.python2_dict(GOOD | {"labels": b"]U\x01aa"}), "is no list of integers"),
        (data_files.python2_dict(GOOD | {"labels": b"]"}), "4 images and 0 labels"),
        (
            data_files.python2_dict(GOOD | {"data": data_files.python2_array(PIXELS[0, :, :99])}),
            "is no array of shape",
        ),
        (
            data_files.python2_dict(GOOD | {"labels": b"](K\x01J\xff\xff\xff\xffK\x02K\x03e"}),
            "record 1: the label -1 is none of 10 classes",
        ),
    ],
)
def test_wrong_pickles_are_refused(tmp_path, content, problem):
    data_files.write_python10(tmp_path, LABELS, PIXELS)
    (tmp_path / "data_batch_4").write_bytes(content)
    with pytest.raises(DataError, match=rf"'data_batch_4'.*{problem}"):
        open_cifar(TINY, tmp_path)


def test_wrong_paths_and_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="a path is needed"):
        data.load("cifar10")
    with pytest.raises(DataError, match="absent"):
        data.load("cifar10", tmp_path / "absent")
    with pytest.raises(DataError, match=r"neither 'data_batch_1.bin' nor 'data_batch_1'"):
        data.load("cifar10", tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match=r"no folder, zip or tar\.gz"):
        data.load("cifar10", tmp_path / "text")
    with pytest.raises(InputError, match="is no path"):
        data.load("cifar10", 3)
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        data.load("cifar_10", tmp_path)
    with pytest.raises(InputError, match="skip_bad"):
        data.load("cifar10", tmp_path, skip_bad=1)


def test_an_archive_that_unpacks_to_too_much_is_refused(binary, tmp_path, monkeypatch):
    path = archive(binary, tmp_path / "a.tar.gz")
    monkeypatch.setattr(archives, "TOTAL", 50_000)
    with pytest.raises(DataError, match="more than 50,000 bytes"):
        open_cifar(TINY, path)


def test_archives_write_no_files(tmp_path):
    """Members with ``..`` in their names and links have no effect."""
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for kind, name in ((tarfile.REGTYPE, "../out"), (tarfile.SYMTYPE, "data_batch_1.bin")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"abc"))
    with pytest.raises(DataError, match="has neither"):
        open_cifar(TINY, path)
    assert sorted(file.name for file in tmp_path.parent.glob("out*")) == []


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    root = tmp_path_factory.mktemp("packed") / "cifar-10-batches-bin"
    data_files.write_binary10(root, LABELS, PIXELS)
    return archive(root, root.parent / "a.tar.gz").read_bytes()


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 0.999))
def test_a_truncated_archive_is_an_error(packed, tmp_path_factory, part):
    path = tmp_path_factory.mktemp("cut") / "a.tar.gz"
    path.write_bytes(packed[: int(part * len(packed))])
    with pytest.raises(DataError, match=r"'.*a\.tar\.gz'"):
        open_cifar(TINY, path)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_damaged_archive_is_read_whole_or_refused(packed, tmp_path_factory, place, value):
    """Any byte of the tar is changed: the whole set is read, or a DataError is raised."""
    raw = bytearray(gzip.decompress(packed))
    raw[place % 2048 if place % 2 else place % len(raw)] = value  # half of them in headers
    path = tmp_path_factory.mktemp("bad") / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(raw), 1))
    try:
        found = open_cifar(TINY, path)
    except DataError:
        return
    assert len(found.train.labels) == 20


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=9000), python=st.booleans())
def test_random_bytes_in_place_of_a_file_are_refused(tmp_path_factory, content, python):
    root = tmp_path_factory.mktemp("any")
    (data_files.write_python10 if python else data_files.write_binary10)(root, LABELS, PIXELS)
    (root / ("data_batch_1" if python else "data_batch_1.bin")).write_bytes(content)
    with pytest.raises(DataError, match="data_batch_1"):  # 9,000 bytes are less than four records
        open_cifar(TINY, root)
