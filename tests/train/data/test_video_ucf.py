"""Clips of videos, and UCF-101 in its published format with every kind of fault."""

import io
import sys

import numpy as np
import pytest
from support.media_files import ACTIONS, change, numbers, picture, video, write_ucf

from gspnl.errors import InputError, MissingExtraError
from gspnl.train.data import DATASETS, DataError, read_clip

av = pytest.importorskip("av")

FORMS = [("mpeg4", "avi"), ("msmpeg4v2", "avi"), ("mpeg4", "mp4"), ("mpeg4", "matroska"),
         ("libx264", "mp4"), ("libx264", "avi")]  # fmt: skip


def encoder(codec):
    return pytest.mark.skipif(
        codec not in av.codecs_available, reason=f"this PyAV has no encoder {codec}"
    )


def clip(content, place, *, frames=4, stride=2):
    return read_clip(content, "v.avi", frames=frames, stride=stride, place=place)


def whole(content):
    """Decode all frames in the order of presentation."""
    with av.open(io.BytesIO(content)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


# --- the right frames -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "container"), [pytest.param(*form, marks=encoder(form[0])) for form in FORMS]
)
@pytest.mark.parametrize(("gop", "b_frames"), [(1, 0), (7, 0), (7, 2), (12, 1), (250, 3)])
def test_a_clip_has_the_frames_of_a_full_decoding(codec, container, gop, b_frames):
    if codec == "msmpeg4v2":
        b_frames = 0  # it has none
    content = video(40, codec=codec, container=container, gop=gop, b_frames=b_frames)
    full = whole(content)
    assert numbers(full) == list(range(40))  # the pictures encode their numbers
    starts = 34  # 40 less the 6 that a clip of 4 spans further
    for start in (0, 1, 6, 7, 13, 20, 33):
        found = clip(content, (start + 0.5) / starts)
        assert found.dtype == np.uint8
        assert numbers(found) == [start, start + 2, start + 4, start + 6]
        np.testing.assert_array_equal(found, full[start : start + 8 : 2])


def test_clips_start_at_every_frame_that_fits():
    content = video(10)
    drawn = [numbers(clip(content, u, frames=3)) for u in np.arange(0, 1, 1 / 36)]
    assert {tuple(frames) for frames in drawn} == {(s, s + 2, s + 4) for s in range(6)}
    assert [frames[0] for frames in drawn] == [s for s in range(6) for _ in range(6)]
    assert numbers(clip(content, np.nextafter(1, 0), frames=3)) == [5, 7, 9]


@pytest.mark.parametrize(
    ("total", "expected"),
    [(1, [0, 0, 0, 0]), (3, [0, 2, 1, 0]), (6, [0, 2, 4, 0]), (7, [0, 2, 4, 6])],
)
def test_short_videos_are_repeated(total, expected):
    for place in (0.0, 0.99):
        assert numbers(clip(video(total), place)) == expected


@pytest.mark.parametrize("shape", [(48, 64), (64, 36), (34, 50)])
def test_frames_of_any_size_are_decoded(shape):
    assert clip(video(8, shape=shape), 0).shape == (4, *shape, 3)


def test_colours_are_rgb():
    file = io.BytesIO()
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 220
    with av.open(file, "w", format="avi") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(4):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        output.mux(stream.encode())
    found = clip(file.getvalue(), 0, frames=2)
    assert np.abs(found.astype(int) - red).max() <= 6  # the loss of the codec


def test_decoding_is_deterministic():
    content = video(30, b_frames=2)
    np.testing.assert_array_equal(clip(content, 0.5), clip(content, 0.5))


def opened_late():
    """A video cut out of another, beginning with B-frames whose references are missing."""
    file = io.BytesIO()
    source = av.open(io.BytesIO(video(100, gop=12, b_frames=2)))
    with source, av.open(file, "w", format="avi") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        keys = 0
        for packet in source.demux(video=0):
            keys += packet.is_keyframe
            if keys >= 4 and packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def test_frames_that_are_not_shown_are_not_counted():
    content = opened_late()
    full = whole(content)
    with av.open(io.BytesIO(content)) as file:
        packets = sum(packet.size > 0 for packet in file.demux(video=0))
    assert packets - len(full) == 2  # else nothing is tested
    np.testing.assert_array_equal(clip(content, np.nextafter(1, 0)), full[-7::2])
    np.testing.assert_array_equal(clip(content, 0), full[:7:2])


# --- what is wrong with a video -------------------------------------------------------------------


def payload(content, number):
    """Offset and size of a packet."""
    with av.open(io.BytesIO(content)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][number]
        return content.index(bytes(packet)), packet.size


def damaged(content, number, intact):
    """Replace a packet by noise after its first ``intact`` bytes."""
    start, size = payload(content, number)
    noise = np.random.default_rng(0).integers(0, 256, size - intact, dtype=np.uint8).tobytes()
    return content[: start + intact] + noise + content[start + size :]


@pytest.mark.parametrize(
    ("intact", "message"), [(4, "does not decode"), (75, "is damaged at frame 20")]
)
def test_a_damaged_frame_is_named_if_the_clip_uses_it(intact, message, capfd):
    content = damaged(video(40, gop=10), 20, intact)
    with pytest.raises(DataError, match=rf"'v\.avi' {message}"):
        clip(content, 0.9)
    assert numbers(clip(content, 0)) == [0, 2, 4, 6]  # nothing behind the clip is decoded
    assert capfd.readouterr() == ("", "")


def sound():
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as output:
        stream = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


def emptied(content):
    """Replace all frames by zeros."""
    start, _ = payload(content, 0)
    return content[: start - 8] + bytes(len(content) - start + 8)


VIDEO = video(40)
MOVING = video(40, container="mp4")
CUT = payload(VIDEO, 20)[0] + 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no AVI, MP4 or Matroska video"),
        (b"#EXTM3U\nfile:///etc/hosts\n", "is no AVI, MP4 or Matroska video"),
        (b"RIFF\x00\x00\x00\x00AVI nothing", "has no pictures"),
        (b"RIFF" + bytes(100), "does not decode"),
        (VIDEO[:CUT], rf"has \d+ bytes of {len(VIDEO)}; it was cut short"),
        (VIDEO[:CUT] + bytes(len(VIDEO) - CUT), r"ends after 52% of the length in its header"),
        (MOVING[: len(MOVING) // 2], "has no pictures"),
        (MOVING[:500], "does not decode"),
        (emptied(VIDEO), "has no frames|does not decode"),
        (sound(), "has no pictures"),
    ],
)
@pytest.mark.parametrize("place", [0.0, 0.99])
def test_files_that_are_no_video_are_named(content, message, place, capfd):
    with pytest.raises(DataError, match=rf"'v\.avi' ({message})"):
        clip(content, place)
    assert capfd.readouterr() == ("", "")  # FFmpeg prints nothing


def test_a_clip_above_the_memory_limit_is_refused():
    with pytest.raises(DataError, match="would take more than 1 GiB"):
        clip(VIDEO, 0, frames=200_000, stride=1)


def test_a_missing_pyav_is_reported(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gspnl\[video\]'"):
        clip(VIDEO, 0)


def test_pyav_and_pillow_are_imported_only_when_needed():
    import subprocess

    code = "import sys, gspnl.train.data; sys.exit('av' in sys.modules or 'PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- UCF-101 --------------------------------------------------------------------------------------

OPTIONS = {"frames": 4, "stride": 2}


def sample_numbers(sample):
    """The numbers that the frames of a sample (3, T, H, W) encode."""
    return numbers(sample.numpy().transpose(1, 2, 3, 0))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("within", ["", "ucfTrainTestlist"])
def test_ucf_is_read_as_published(tmp_path, flat, within):
    root = write_ucf(tmp_path, flat=flat)
    data = DATASETS["ucf101"](str(root / within), **OPTIONS)
    assert (data.name, data.classes, data.skipped) == ("ucf101", ACTIONS, ())
    assert data.train.labels.dtype == data.test.labels.dtype == np.int64
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [0, 1, 2]
    assert data.test.name(2).endswith("v_HandStandPushups_g01_c01.avi")
    for label in range(3):  # the test clip lies in the middle: of 21 + label frames, 7 are spanned
        start = (15 + label) // 2
        sample = data.test.read(label)
        assert tuple(sample.shape) == (3, 4, 32, 64)
        assert sample_numbers(sample) == [start, start + 2, start + 4, start + 6]
    assert data.train.take(np.arange(2)) is None


def test_videos_beside_the_lists_are_found(tmp_path):
    root = write_ucf(tmp_path)
    for folder in (root / "UCF-101").iterdir():
        folder.rename(root / folder.name)
    (root / "UCF-101").rmdir()
    assert len(DATASETS["ucf101"](root).train.labels) == 6


def test_the_three_splits_have_their_own_lists(tmp_path):
    root = write_ucf(tmp_path)
    first, second = (DATASETS["ucf101"](root, split=split) for split in (1, 2))
    assert "_g01_" in first.test.name(0)
    assert "_g03_" in second.test.name(0)
    assert "_g01_" in second.train.name(0)


def test_the_uniform_places_a_training_clip(tmp_path):
    data = DATASETS["ucf101"](write_ucf(tmp_path), **OPTIONS)
    assert (data.train.draws, data.train.views) == (1, 1)
    assert (data.test.draws, data.test.views) == (0, 1)
    for u, start in ((0.0, 0), (0.1, 1), (0.5, 7), (0.999, 14)):  # of 15
        assert sample_numbers(data.train.read(0, np.array([u])))[0] == start
    assert sample_numbers(data.train.read(0))[0] == 7
    assert sample_numbers(data.test.read(0, np.empty(0)))[0] == 7
    for split, bad in (
        (data.train, [1.0]), (data.train, [-0.1]), (data.train, [np.nan]), (data.train, [0.1, 0.2]),
        (data.train, 0.5), (data.test, [0.5]),
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"number\(s\) in \[0, 1\)"):
            split.read(0, np.array(bad))


def test_several_test_clips_are_spread_evenly(tmp_path):
    data = DATASETS["ucf101"](write_ucf(tmp_path), clips=3, **OPTIONS)
    assert data.test.views == 3
    assert data.train.views == 1
    assert data.test.labels.tolist() == [0, 1, 2]
    # Of 15 starts the middles of thirds are 2.5, 7.5, 12.5; of 16, 2.7, 8, 13.3.
    for label, starts in ((0, (2, 7, 12)), (1, (2, 8, 13))):
        sample = data.test.read(label)
        assert tuple(sample.shape) == (3, 3 * 4, 32, 64)
        assert sample_numbers(sample) == [start + step for start in starts for step in (0, 2, 4, 6)]
    assert data.test.name(1).endswith("v_Archery_g01_c01.avi")


HAND = "v_HandStandPushups_g01_c01.avi"
FAULTS = [
    ("classInd.txt", None, None, "'classInd.txt' is neither in .* nor in its 'ucfTrainTestlist'"),
    ("trainlist01.txt", None, None, r"trainlist01\.txt' is missing"),
    ("testlist01.txt", None, None, r"testlist01\.txt' is missing"),
    ("classInd.txt", "2 Archery", "5 Archery", r"classInd\.txt' has no class 2, but has 5"),
    ("classInd.txt", "2 Archery", "Archery", r"line 2 of .* is 'Archery', not a number and a"),
    (
        "trainlist01.txt",
        "avi 1",
        "avi 2",
        "line 1 of .* has the class 2, 'Archery', but its name is of 'ApplyEyeMakeup'",
    ),
    ("trainlist01.txt", "avi 1", "avi 4", "line 1 of .* has the class 4; there are 1 to 3"),
    ("trainlist01.txt", "avi 1", "avi x", "line 1 of .* has 'x' where a number ≥ 1 belongs"),
    ("trainlist01.txt", "_g02_", "_g01_", r"_g01_c01.avi' is in trainlist01.txt and in testlist01"),
    ("trainlist01.txt", "_g02_", "_g03_", "line 2 of .*_g03_c01.avi' for the second time"),
    ("testlist01.txt", "Archery/", "Arching/", "line 2 of .* class 'Arching', which classInd.txt"),
    ("testlist01.txt", "Archery/", "../Archery/", r"line 2 of .* names '\.\./Archery.*not a file"),
]


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize(("file", "old", "new", "message"), FAULTS)
def test_faults_in_the_lists_of_ucf_are_named(tmp_path, file, old, new, message, skip_bad):
    root = write_ucf(tmp_path)
    path = root / "ucfTrainTestlist" / file
    if old is None:
        path.unlink()
    else:
        change(path, old, new)
    with pytest.raises(DataError, match=message):
        DATASETS["ucf101"](root, skip_bad=skip_bad)


def test_a_missing_video_is_an_error_or_skipped(tmp_path):
    root = write_ucf(tmp_path)
    name = "Archery/v_Archery_g02_c01.avi"
    (root / "UCF-101" / name).unlink()
    with pytest.raises(DataError, match=f"1 of 9 listed files are missing .*'{name}'"):
        DATASETS["ucf101"](root)
    data = DATASETS["ucf101"](root, skip_bad=True)
    assert data.skipped == (f"{name}: missing",)
    assert data.train.labels.tolist() == [0, 0, 1, 2, 2]
    assert data.train.name(2).endswith("v_Archery_g03_c01.avi")


def test_a_video_in_two_other_folders_is_an_error(tmp_path):
    root = write_ucf(tmp_path)
    file = root / "UCF-101" / "Archery" / "v_Archery_g02_c01.avi"
    (root / "UCF-101" / "v_Archery_g02_c01.avi").write_bytes(file.read_bytes())
    assert "Archery/v" in DATASETS["ucf101"](root).train.name(2)  # the list's place wins
    (root / "UCF-101" / "ApplyEyeMakeup" / "v_Archery_g02_c01.avi").write_bytes(file.read_bytes())
    file.unlink()
    with pytest.raises(DataError, match="is not where the list says, but in 2 other folders"):
        DATASETS["ucf101"](root)


def test_a_split_without_videos_is_an_error(tmp_path):
    root = write_ucf(tmp_path)
    for file in (root / "UCF-101").rglob("*_g01_*"):
        file.unlink()
    with pytest.raises(DataError, match="has no test video of split 1"):
        DATASETS["ucf101"](root, skip_bad=True)


def test_undecodable_videos_are_named_when_they_are_read(tmp_path):
    root = write_ucf(tmp_path)
    data = DATASETS["ucf101"](root, **OPTIONS)
    file = root / "UCF-101" / "Archery" / "v_Archery_g01_c01.avi"
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"v_Archery_g01_c01\.avi' has 3000 bytes of"):
        data.test.read(1)
    assert sample_numbers(data.test.read(0))  # the others are intact
    file.unlink()
    with pytest.raises(DataError, match=r"v_Archery_g01_c01\.avi' is missing"):
        data.test.read(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": 0}, "split=0 must be 1, 2 or 3"),
        ({"split": True}, "split=True must be 1, 2 or 3"),
        ({"split": "1"}, "split='1' must be 1, 2 or 3"),
        ({"split": np.ones(3)}, "split=.* must be 1, 2 or 3"),
        ({"frames": 0}, "frames=0 must be a whole number ≥ 1"),
        ({"stride": -1}, "stride=-1 must be a whole number"),
        ({"stride": 1.5}, "stride=1.5 must be a whole number"),
        ({"clips": True}, "clips=True must be a whole number"),
    ],
)
def test_wrong_options_of_ucf_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        DATASETS["ucf101"](tmp_path, **options)


def test_a_wrong_path_of_ucf_is_an_error(tmp_path):
    with pytest.raises(InputError, match="'ucf101' needs path="):
        DATASETS["ucf101"](None)
    with pytest.raises(DataError, match=r"there is no folder '.*nowhere'"):
        DATASETS["ucf101"](tmp_path / "nowhere")


def test_pictures_encode_their_numbers():
    assert numbers(np.stack([picture(n) for n in range(256)])) == list(range(256))
