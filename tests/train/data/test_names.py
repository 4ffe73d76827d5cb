"""Links, separators, forms of Unicode and foreign files in folders and archives of images."""

import io
import os
import shutil
import stat
import tarfile
import time
import unicodedata
import zipfile

import numpy as np
import pytest
from support import data_files
from support.media_files import BIRDS, write_cub

from gspnl.train import data
from gspnl.train.data import DataError
from gspnl.train.data.names import HIDDEN


def load(path, **options):
    return data.load("folder", path, **options)


def pixels(split):
    return [split.read(i).permute(1, 2, 0).numpy() for i in range(len(split.labels))]


def check(found, truth, classes=("cat", "dog")):
    """Images and labels of both splits, in the order of their names."""
    assert found.classes == classes
    assert found.skipped == ()
    for split, place in ((found.train, "train/"), (found.test, "test/")):
        names = sorted(name for name in truth if name.startswith(place))
        assert split.labels.tolist() == [classes.index(name.split("/")[1]) for name in names]
        for image, name in zip(pixels(split), names, strict=True):
            np.testing.assert_array_equal(image, truth[name])


# --- links in folders -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("train", "test"), ("test", "train")])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_split_may_be_a_link_to_the_other(tmp_path, order, absolute):
    files, truth = data_files.pictures()
    kept, linked = order
    some = {name: content for name, content in files.items() if name.startswith(kept)}
    root = data_files.write_folder(tmp_path / "d", some)
    (root / linked).symlink_to(root / kept if absolute else kept)
    twice = {name: image for name, image in truth.items() if name.startswith(kept)}
    twice |= {name.replace(kept, linked): image for name, image in twice.items()}
    check(load(root), twice)


def test_links_to_class_folders_and_files_are_followed_each_time(tmp_path):
    files, truth = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    shutil.rmtree(root / "test" / "cat")
    (root / "test" / "cat").symlink_to(root / "train" / "cat")
    (root / "train" / "dog" / "more").symlink_to("../cat")
    (root / "train" / "dog" / "7.png").symlink_to("0.png")
    shutil.move(root / "test" / "dog", tmp_path / "elsewhere")
    (root / "test" / "dog").symlink_to(tmp_path / "elsewhere")
    for i in range(3):
        truth[f"test/cat/{i}.png"] = truth[f"train/cat/{i}.png"]
        truth[f"train/dog/more/{i}.png"] = truth[f"train/cat/{i}.png"]
    truth["train/dog/7.png"] = truth["train/dog/0.png"]
    check(load(root), truth)


@pytest.mark.parametrize("target", [".", "..", "../..", "../../train/cat", "../../loop"])
def test_links_that_lead_back_are_left_out(tmp_path, target):
    files, truth = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    (root / "loop").symlink_to(".")
    (root / "train" / "cat" / "back").symlink_to(target)
    (root / "train" / "again").symlink_to("../train")
    check(load(root), truth)


def test_the_data_may_be_given_by_a_link(tmp_path):
    files, truth = data_files.pictures()
    data_files.write_folder(tmp_path / "d", files)
    (tmp_path / "link").symlink_to("d")
    check(load(tmp_path / "link"), truth)


def test_links_that_multiply_are_refused(tmp_path):
    """30 folders of two links to the next would be 2³⁰ paths."""
    files, _ = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    for i in range(30):
        (tmp_path / f"x{i}").mkdir()
        for name in "ab":
            (tmp_path / f"x{i}" / name).symlink_to(tmp_path / f"x{i + 1}")
    (tmp_path / "x30").mkdir()
    (root / "train" / "cat" / "x").symlink_to(tmp_path / "x0")
    start = time.perf_counter()
    with pytest.raises(DataError, match="has more than 100 links that lead to"):
        load(root)
    assert time.perf_counter() - start < 20


def test_broken_links_and_pipes_are_named_without_waiting(tmp_path):
    files, truth = data_files.pictures()
    root = data_files.write_folder(tmp_path / "d", files)
    (root / "train" / "cat" / "8.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"train/cat/8\.png' is missing; put it back"):
        load(root)
    (root / "train" / "cat" / "8.png").unlink()
    os.mkfifo(root / "train" / "cat" / "8.png")
    with pytest.raises(DataError, match=r"8\.png' cannot be read: it is no regular file"):
        load(root)
    found = load(root, skip_bad=True)
    assert len(found.skipped) == 1
    assert len(found.train.labels) == len(truth) // 2


# --- members of archives --------------------------------------------------------------------------


def write_tar(path, files, links=(), mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target, kind in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    return path


def zip_link(path, name, target):
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, target)


def write_archive(kind, path, files):
    if kind == "zip":
        return data_files.write_zip(path, files)
    return write_tar(path, files, mode="w" if kind == "tar" else "w:gz")


@pytest.mark.parametrize("outer", ["", "mine\\", ".\\", "mine\\.\\"])
def test_zips_with_backslashes_are_read(tmp_path, outer):
    files, truth = data_files.pictures()
    named = {outer + name.replace("/", "\\"): content for name, content in files.items()}
    named |= {f"{outer}train\\": b"", f"{outer}train\\cat\\": b"", f"{outer}train/dog\\": b""}
    check(load(data_files.write_zip(tmp_path / "d.zip", named)), truth)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("prefix", ["./", "mine/./", "mine//", "././mine/"])
def test_dots_in_names_mean_the_same_folder(tmp_path, kind, prefix):
    files, truth = data_files.pictures()
    named = {prefix + name: content for name, content in files.items()}
    check(load(write_archive(kind, tmp_path / "d", named)), truth)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["/etc/x.png", "../x.png", "train/../../x.png", "train/cat/..", "C:/train/x.png"]
)
def test_names_outside_of_the_archive_are_refused(tmp_path, kind, name):
    files, _ = data_files.pictures()
    files[name] = files["train/cat/0.png"]
    with pytest.raises(DataError, match=r"has the member '.*', which lies outside of it; pack"):
        load(write_archive(kind, tmp_path / "d", files))


@pytest.mark.parametrize("name", ["..\\x.png", "\\train\\x.png", "C:\\train\\x.png"])
def test_names_of_windows_outside_of_the_zip_are_refused(tmp_path, name):
    files, _ = data_files.pictures()
    files[name] = files["train/cat/0.png"]
    with pytest.raises(DataError, match="which lies outside of it"):
        load(data_files.write_zip(tmp_path / "d.zip", files))


@pytest.mark.parametrize("twin", ["train\\cat\\0.png", "./train/cat/0.png", "train//cat/0.png"])
def test_members_of_one_name_in_two_spellings_are_refused(tmp_path, twin):
    files, _ = data_files.pictures()
    files[twin] = files["train/cat/1.png"]
    with pytest.raises(DataError, match=r"two members 'train/cat/0\.png'"):
        load(data_files.write_zip(tmp_path / "d.zip", files))


def test_a_later_member_of_a_tar_replaces_an_earlier_one(tmp_path):
    files, truth = data_files.pictures()
    path = write_tar(tmp_path / "d.tar", files, mode="w")
    with tarfile.open(path, "a") as archive:
        entry = tarfile.TarInfo("./train/cat/0.png")
        entry.size = len(files["train/dog/0.png"])
        archive.addfile(entry, io.BytesIO(files["train/dog/0.png"]))
    truth["train/cat/0.png"] = truth["train/dog/0.png"]
    check(load(path), truth)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_links_in_archives_are_followed(tmp_path, kind):
    files, truth = data_files.pictures()
    files = {name: content for name, content in files.items() if "test/" not in name}
    links = {
        "test": "train",
        "train/dog/7.png": "../cat/1.png",
        "train/dog/8.png": "7.png",
        "train/cat/more": "../dog",
    }
    path = write_archive(kind, tmp_path / "d", files)
    if kind == "zip":
        for name, target in links.items():
            zip_link(path, name, target)
    else:
        write_tar(path, files, [(n, t, tarfile.SYMTYPE) for n, t in links.items()])
    found = load(path)
    truth["train/dog/7.png"] = truth["train/dog/8.png"] = truth["train/cat/1.png"]
    for i in range(3):
        truth[f"train/cat/more/{i}.png"] = truth[f"train/dog/{i}.png"]
    truth = {name: image for name, image in truth.items() if "train/" in name}
    names = sorted(truth)
    assert [image.tobytes() for image in pixels(found.train)] == [
        truth[name].tobytes() for name in names
    ]
    kept = [n for n in names if "more" not in n and n[-5] in "012"]
    tested = [image.tobytes() for image in pixels(found.test)]
    assert [truth[name].tobytes() for name in kept] == tested


def test_hard_links_of_a_tar_are_the_files_they_link_to(tmp_path):
    files, truth = data_files.pictures()
    links = [("train/cat/9.png", "train/dog/2.png", tarfile.LNKTYPE)]
    truth["train/cat/9.png"] = truth["train/dog/2.png"]
    check(load(write_tar(tmp_path / "d.tar.gz", files, links)), truth)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "target", ["nowhere.png", "/etc/passwd", "../../../x", "9.png", "../cat/9.png"]
)
def test_links_to_what_an_archive_has_not_are_refused(tmp_path, kind, target):
    files, _ = data_files.pictures()
    path = write_archive(kind, tmp_path / "d", files)
    if kind == "zip":
        zip_link(path, "train/cat/9.png", target)
    else:
        write_tar(path, files, [("train/cat/9.png", target, tarfile.SYMTYPE)])
    with pytest.raises(DataError, match=r"has the link 'train/cat/9\.png' to .*, which is not in"):
        load(path)


@pytest.mark.parametrize(("mode", "name"), [("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_other_compressions_are_named(tmp_path, mode, name):
    files, _ = data_files.pictures()
    with pytest.raises(DataError, match=f"is packed with {name}; unpack it and give the folder"):
        load(write_tar(tmp_path / "d.tar", files, mode=mode))
    for start, other in ((b"7z\xbc\xaf", "7-Zip"), (b"Rar!\x1a", "RAR")):
        (tmp_path / "d").write_bytes(start + bytes(99))
        with pytest.raises(DataError, match=f"is packed with {other}"):
            load(tmp_path / "d")


# --- forms of Unicode -----------------------------------------------------------------------------

CAFE = "café", "한국", "Å"


def spelled(form, classes, files):
    found = {}
    for name, content in files.items():
        for plain, accented in zip("xyz", classes, strict=True):
            name = name.replace(f"/{plain}/", f"/{unicodedata.normalize(form, accented)}/")
        found[name] = content
    return found


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_classes_are_the_same_in_both_forms_of_unicode(tmp_path, kind, forms):
    files, truth = data_files.pictures(tuple("xyz"))
    named, images = {}, {}
    for split, form in zip(("train", "test"), forms, strict=True):
        some = {name: content for name, content in files.items() if name.startswith(split)}
        named |= spelled(form, CAFE, some)
        images |= spelled("NFC", CAFE, {name: truth[name] for name in some})
    if kind == "folder":
        path = data_files.write_folder(tmp_path / "d", named)
    else:
        path = write_archive(kind, tmp_path / "d", named)
    check(load(path), images, tuple(sorted(unicodedata.normalize("NFC", n) for n in CAFE)))


def test_a_class_in_both_forms_in_one_split_is_one_class(tmp_path):
    files, _ = data_files.pictures(("x",))
    one = {name.replace("/x/", "/e\u0301/"): content for name, content in files.items()}
    two = {name.replace("/x/", "/é/").replace(".png", "b.png"): c for name, c in files.items()}
    found = load(data_files.write_folder(tmp_path / "d", one | two))
    assert found.classes == ("é",)
    assert len(found.train.labels) == len(found.test.labels) == 6


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_lists_name_files_in_either_form(tmp_path, listed, stored):
    folder = write_cub(tmp_path)
    accented = BIRDS[0].replace("Black", "Bläck")
    (folder / "images" / BIRDS[0]).rename(
        folder / "images" / unicodedata.normalize(stored, accented)
    )
    for name in ("classes.txt", "images.txt"):
        text = (folder / name).read_text().replace(BIRDS[0] + "/", accented + "/")
        text = text.replace(f"1 {BIRDS[0]}\n", f"1 {accented}\n")
        (folder / name).write_text(unicodedata.normalize(listed, text))
    found = data.load("cub200", folder)
    assert found.classes[0] == accented
    assert found.skipped == ()
    assert found.train.read(0).shape == (3, 9, 11)


# --- files that are no images ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["8.heic", "8.jpg.txt", "8.webp", "8.JPEG2", "8.png~", "8.svg", "8.gif", "8"]
)
def test_suffixes_that_are_not_read_are_named(tmp_path, name):
    files, _ = data_files.pictures()
    files[f"train/cat/{name}"] = b"?"
    suffix = "no suffix" if "." not in name else "." + name.rpartition(".")[2]
    with pytest.raises(DataError) as caught:
        load(data_files.write_folder(tmp_path / "d", files))
    assert f"'train/cat/{name}'" in str(caught.value)
    assert f"it has {suffix}, and read are .jpg, .jpeg, .png" in str(caught.value)


def test_a_class_of_other_files_only_is_reported_with_their_suffixes(tmp_path):
    files, _ = data_files.pictures()
    for split in ("train", "test"):
        for i in range(3):
            files[f"{split}/cat/{i}.heic"] = files.pop(f"{split}/cat/{i}.png")
    files["train/cat/notes.txt"] = b""
    path = data_files.write_folder(tmp_path / "d", files)
    for skip in (False, True):
        with pytest.raises(DataError, match=r"'train/cat' .* it has 3 of \.heic, 1 of \.txt: conv"):
            load(path, skip_bad=skip)


@pytest.mark.parametrize("suffix", [".JPEG", ".Jpg", ".PNG", ".jpeg"])
def test_suffixes_are_read_in_upper_and_lower_case(tmp_path, suffix):
    files, truth = data_files.pictures()
    for table in (files, truth):
        table["test/cat/0" + suffix] = table.pop("test/cat/0.png")
    check(load(data_files.write_folder(tmp_path / "d", files)), truth)


LEFT_BEHIND = ["Thumbs.db", "thumbs.DB", "ehthumbs.db", "Desktop.ini", ".DS_Store", "._0.png",
               "Icon\r", ".ipynb_checkpoints/0.png", "@eaDir/0.png", "__MACOSX/0.png"]  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz"])
def test_files_that_systems_leave_behind_are_left_out(tmp_path, kind):
    files, truth = data_files.pictures()
    for place in ("", "train/", "test/cat/"):
        files |= {place + name: b"?" for name in LEFT_BEHIND}
    if kind == "folder":
        path = data_files.write_folder(tmp_path / "d", files)
    else:
        path = write_archive(kind, tmp_path / "d", files)
    check(load(path), truth)


@pytest.mark.parametrize("name", ["a/thumbs.png", "icon.png", "MACOSX/0.png", "my__MACOSX/0.png"])
def test_other_names_are_not_hidden(name):
    assert not HIDDEN.search(name)
