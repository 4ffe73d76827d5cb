"""Published pickles are read; any other bytes give plain values or an error, and run nothing."""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import os
import pickle
import pickletools
import struct
import subprocess
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import data_files

from gspnl.train.data import DataError, pickles
from gspnl.train.data.pickles import unpickle

RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)


def genuine(labels=(6, 9, 9, 4)) -> bytes:
    return data_files.python2_dict(
        {
            "batch_label": data_files.python2_string(b"training batch 1 of 5"),
            "labels": data_files.python2_integers(labels),
            "data": data_files.python2_array(PIXELS),
            "filenames": data_files.python2_strings([b"caf\xe9.png"]),
        }
    )


def test_the_test_file_is_a_pickle_of_python_2():
    """``pickle.loads`` reads the bytes that stand for a published file."""
    truth = pickle.loads(genuine(), encoding="bytes")
    assert truth[b"labels"] == [6, 9, 9, 4]
    assert np.array_equal(truth[b"data"], PIXELS)


@pytest.mark.parametrize("count", [4, 2500])
def test_pickles_of_python_2_are_read(count):
    labels = [i % 300 for i in range(count)]
    found = unpickle(genuine(labels), "batch")
    assert list(found) == [b"batch_label", b"labels", b"data", b"filenames"]
    assert found[b"batch_label"] == b"training batch 1 of 5"
    assert found[b"labels"] == labels
    assert found[b"filenames"] == [b"caf\xe9.png"]
    assert found[b"data"].dtype == np.uint8
    assert np.array_equal(found[b"data"], PIXELS)
    assert not found[b"data"].flags.writeable


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_python_3_are_read(protocol):
    value = {
        "data": PIXELS, "again": PIXELS, "labels": [1, 70_000, -3], "name": "ü" * 300,
        "raw": b"\xff\x00" * 300, "inner": {"a": [[], {}]}, 5: b"k",
    }  # fmt: skip
    found = unpickle(pickle.dumps(value, protocol), "batch")
    assert np.array_equal(found.pop("data"), PIXELS)
    assert np.array_equal(found.pop("again"), PIXELS)
    assert found == {key: value[key] for key in found}
    assert len(found) == 5


class Evil:
    """An object that pickles as a call of os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def hostile(command: str) -> dict[str, bytes]:
    """A pickle for every opcode that can execute something."""
    argument = b"X" + struct.pack("<I", len(command)) + command.encode()
    made = {f"reduce, protocol {p}": pickle.dumps({"a": Evil(command)}, p) for p in range(6)}
    return made | {
        "GLOBAL alone": b"\x80\x02cos\nsystem\n.",
        "GLOBAL and REDUCE": b"\x80\x02cos\nsystem\n" + argument + b"\x85R.",
        "STACK_GLOBAL": b"\x80\x04"
        + short("os")
        + short("system")
        + b"\x93"
        + argument
        + b"\x85R.",
        "dotted": b"\x80\x04" + short("numpy") + short("ndarray.tofile") + b"\x93.",
        "numpy's own": b"\x80\x02cnumpy\nload\n" + argument + b"\x85R.",
        "eval": b"\x80\x02cbuiltins\neval\n" + argument + b"\x85R.",
        "INST": b"\x80\x02(" + argument + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + argument + b"o.",
        "OBJ of an array": b"\x80\x02(cnumpy\nndarray\n" + argument + b"o.",
        "NEWOBJ": b"\x80\x02cnumpy\nndarray\n" + argument + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04cnumpy\nndarray\n" + argument + b"\x85}\x92.",
        "BUILD": b"\x80\x02cnumpy\nndarray\n}" + short("__setstate__") + argument + b"sb.",
        "BUILD of a dict": b"\x80\x02}}" + short("__class__") + argument + b"sb.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT2": b"\x80\x02\x83\x01\x00.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "PERSID": b"\x80\x02Pos.system\n.",
        "BINPERSID": b"\x80\x02" + argument + b"Q.",
        "buffers": b"\x80\x05\x97.",
        "reconstruct": b"\x80\x02" + RECONSTRUCT + b"cos\nsystem\nK\x00\x85U\x01b\x87R.",
        "encode": b"\x80\x02c_codecs\nencode\n" + argument + short("rot13") + b"\x86R.",
        "call of a dtype": b"\x80\x02cnumpy\ndtype\nU\x02u1K\x00K\x01\x87RU\x01a\x85R.",
        "object array": data_files.python2_array(PIXELS).replace(b"U\x02u1", b"U\x02O8") + b".",
    }


@pytest.mark.parametrize("kind", hostile(""))
def test_hostile_files_execute_nothing(kind, tmp_path, monkeypatch):
    witness = tmp_path / "witness"
    content = hostile(f"touch {witness}")[kind]
    monkeypatch.setattr(os, "system", lambda *a: pytest.fail("os.system was called"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    monkeypatch.setattr(builtins, "eval", lambda *a: pytest.fail("eval was called"))
    with pytest.raises(DataError, match="'batch'") as problem:
        unpickle(content, "batch")
    assert not witness.exists()
    assert "download it again" in str(problem.value)


def test_pickle_itself_executes_the_hostile_file(tmp_path):
    """So the absence of the witness in the test above means something."""
    witness = tmp_path / "witness"
    pickle.loads(hostile(f"touch {witness}")["GLOBAL and REDUCE"])
    assert witness.exists()


def test_refused_names_and_opcodes_are_in_the_message():
    with pytest.raises(DataError, match=r"names os\.system, .* nothing was executed"):
        unpickle(hostile("true")["GLOBAL alone"], "batch")
    with pytest.raises(DataError, match="the opcode INST"):
        unpickle(hostile("true")["INST"], "batch")


def test_an_extension_that_python_has_cached_is_refused():
    """Python's reader pushes it without asking ``find_class``."""
    copyreg.add_extension("os", "system", 1)
    try:
        assert pickle.loads(b"\x80\x02\x82\x01.") is os.system
        with pytest.raises(DataError, match="the opcode EXT1"):
            unpickle(hostile("true")["EXT1"], "batch")
    finally:
        copyreg.remove_extension("os", "system", 1)


def test_a_false_frame_hides_no_opcodes():
    """Python's reader drops what is left of a frame in which an argument begins."""
    value = b"\x80\x04\x95" + struct.pack("<Q", 3) + b"U\x06abcdef."
    assert unpickle(value, "batch") == b"abcdef"


HUGE = {
    "string": b"T" + struct.pack("<i", 2**31 - 1),
    "negative": b"T" + struct.pack("<i", -5),
    "bytes": b"B" + struct.pack("<I", 2**32 - 1),
    "bytes8": b"\x8e" + struct.pack("<Q", 2**64 - 1),
    "text8": b"\x8d" + struct.pack("<Q", 2**63),
    "bytearray": b"\x96" + struct.pack("<Q", 2**40),
    "array": data_files.python2_array(PIXELS).replace(
        b"M" + struct.pack("<H", 4), b"J" + struct.pack("<i", 2**31 - 1)
    ),
    "encoded again": b"c_codecs\nencode\nq\x00X" + struct.pack("<I", 10**5) + b"a" * 10**5
    + b"q\x01](" + b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R" * 10_000 + b"e",
    "bytes asked for again": b"](T" + struct.pack("<i", 10**5) + b"a" * 10**5
    + b"q\x00" + b"h\x00" * 10_000 + b"e",
    "text asked for again": b"}(X" + struct.pack("<I", 10**5) + b"a" * 10**5
    + b"q\x00K\x01" + b"".join(b"K%ch\x00" % i for i in range(100)) + b"u",
    "deep": b"]" * 30_000 + b"a" * 29_999,
    "deep tuple": b")" + b"\x85" * 30_000,
    "marks": b"(" * 30_000 + b"t" * 30_000,
    "deep tuple as a key": b"})" + b"\x85" * 30_000 + b"K\x01s",
    "tuple of tuples as a key": b"})q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01s",
    "number in the memo": b"]r\xff\xff\xff\xff",
    "in itself": b"]q\x00h\x00a",
    "dict in itself": b"}q\x00U\x01ah\x00s",
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_bombs_are_refused_within_memory(kind):
    """Declared sizes are not allocated; the largest of these files has 2 MB."""
    content = b"\x80\x02" + HUGE[kind] + b"."
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="'batch'"):
            unpickle(content, "batch")
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()


def test_repeated_strings_are_limited():
    """A string counts in each place; published files repeat far less."""
    name = b"U\xc8" + b"a" * 200 + b"q\x00"
    value = unpickle(b"\x80\x02](" + name + b"h\x00" * 5_000 + b"e.", "batch")  # 1 MB
    assert value == [b"a" * 200] * 5_001
    with pytest.raises(DataError, match=r"strings of more than 1,07\d,\d{3} bytes"):
        unpickle(b"\x80\x02](" + name + b"h\x00" * 6_000 + b"e.", "batch")
    value = {"labels": ["cat"] * 200_000}  # one string, by reference
    assert unpickle(pickle.dumps(value), "batch") == value


def test_a_negative_size_is_refused():
    """A reader that takes it could read its own opcode again, for ever."""
    with pytest.raises(DataError, match=r"string4 byte count < 0: -5; it is cut off"):
        unpickle(b"\x80\x02T" + struct.pack("<i", -5) + b".", "batch")


def test_steps_are_limited(monkeypatch):
    monkeypatch.setattr(pickles, "STEPS", 1000)
    unpickle(b"\x80\x02]" + b"K\x01a" * 400 + b".", "batch")
    with pytest.raises(DataError, match="more than 1,000 steps"):
        unpickle(b"\x80\x02" + b"]" * 1001 + b".", "batch")


BROKEN = {
    "empty": b"",
    "no end": b"\x80\x02]",
    "bytes after": b"\x80\x02].x",
    "nothing": b"\x80\x02.",
    "append to nothing": b"\x80\x02K\x01a.",
    "append to a dict": b"\x80\x02}K\x01a.",
    "no mark": b"\x80\x02e.",
    "odd dict": b"\x80\x02}(K\x01u.",
    "list as a key": b"\x80\x02}]K\x01s.",
    "array as a key": b"\x80\x02}" + data_files.python2_array(PIXELS) + b"K\x01s.",
    "not in the memo": b"\x80\x02h\x07.",
    "memo of nothing": b"\x80\x02q\x07.",
    "no UTF-8": b"\x80\x02\x8c\x01\xff.",
    "no latin-1": b"\x80\x02c_codecs\nencode\n\x8c\x02\xc4\x80\x8c\x06latin1\x86R.",
    "a list in two places": b"\x80\x02](]q\x00h\x00e.",
    "None": b"\x80\x02N.",
    "true in a list": b"\x80\x02]\x88a.",
    "tuple": b"\x80\x02).",
    "a name": b"\x80\x02cnumpy\nndarray\n.",
    "a name without an end": b"\x80\x02c" + b"a" * 1000,
    "blank array": b"\x80\x02" + RECONSTRUCT + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R.",
    "filled twice": b"\x80\x02" + data_files.python2_array(PIXELS)
    + b"hg(K\x01K\x01\x85hj\x89U\x01atb.",
    "array for 0": b"\x80\x02cnumpy\ndtype\n" + data_files.python2_array(PIXELS)
    + b"K\x00K\x01\x87R.",
    "array in a shape": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    + data_files.python2_array(PIXELS) + b"\x85U\x01b\x87R.",
    "protocol 0": pickle.dumps([1], 0),
    "protocol 9": b"\x80\x09].",
    "float": pickle.dumps([1.5]),
    "float array": pickle.dumps(np.zeros(3)),
    "big array": pickle.dumps(np.zeros(3, ">u2")),
    "empty array": pickle.dumps(np.zeros((0, 3072), np.uint8), 2),
    "Fortran": pickle.dumps(np.zeros((3, 4), np.uint8, order="F"), 2),
    "set": pickle.dumps({1}),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_pickles_are_refused(kind):
    with pytest.raises(DataError, match="'batch'"):
        unpickle(BROKEN[kind], "batch")


def plain(value) -> bool:
    if type(value) is list:
        return all(plain(item) for item in value)
    if type(value) is dict:
        return all(type(k) in (str, bytes, int) and plain(v) for k, v in value.items())
    return type(value) in (str, bytes, int) or (
        type(value) is np.ndarray and value.dtype == np.uint8
    )


CODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
PIECES = [
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n",
    b"c_codecs\nencode\n", b"cnumpy.core.numeric\n_frombuffer\n", b"cos\nsystem\n", b"U\x02u1",
    b"U\x01b", b"K\x00", b"K\x01", b"K\x03", b"\x8c\x06latin1", b"U\x01|", b"\x8c\x01C", b"\x87",
    b"J\xff\xff\xff\xff", b"h\x00", b"h\x01", b"q\x00", b"q\x01", b"\x8c\x02hi", b"C\x03abc",
    data_files.python2_array(PIXELS[:1, :2]),
    data_files.python2_array(PIXELS[:1, :2])[:-2],
]  # fmt: skip
BUILDERS = [b"R", b"b", b"\x86", b"t", b"(", b"a", b"]"]


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from(CODES + PIECES), max_size=40).map(b"".join),
        st.lists(st.sampled_from([*PIECES, *BUILDERS]), max_size=40).map(b"".join),
    )
)  # fmt: skip
@example(b"")
def test_random_bytes_give_plain_values_or_an_error(content):
    """Any exception but DataError fails the test."""
    for whole in (content, b"\x80\x02" + content + b"."):
        with contextlib.suppress(DataError):
            assert plain(unpickle(whole, "batch"))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 255))
def test_a_published_file_with_one_byte_changed_gives_plain_values_or_an_error(place, value):
    content = bytearray(genuine())
    content[place % len(content)] = value
    with contextlib.suppress(DataError):
        assert plain(unpickle(bytes(content), "batch"))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(genuine()) - 1))
def test_truncated_pickles_are_refused(length):
    with pytest.raises(DataError, match="'batch'"):
        unpickle(genuine()[:length], "batch")
