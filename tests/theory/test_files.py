"""Arrays in files whose headers are damaged, absurd or hostile, and byte orders."""

import struct
import time
import tracemalloc

import numpy as np
import pytest

from gspnl.errors import FileError, InputError
from gspnl.theory.files import read_subject
from gspnl.theory.subject import Subject

PLAIN = "{'descr':'<f8','fortran_order':False,'shape':%s}"


def npy(header, body=b"", version=1):
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + body


HOSTILE = {
    "nested lists": npy("[" * 4990 + "]" * 4990),
    "nested lists, long": npy("[" * 5000 + "]" * 5000, version=2),
    "nested brackets": npy("(" * 4990 + ")" * 4990),
    "nested brackets in the shape": npy(PLAIN % ("(" * 4900 + "2" + ")" * 4900)),
    "nested lists in the dtype": npy("{'descr':" + "[" * 4900 + "]" * 4900 + ",'shape':(2,2)}"),
    "nested dicts": npy("{1:" * 2000 + "1" + "}" * 2000),
    "signs": npy(PLAIN % ("(" + "-" * 9000 + "2,2)")),
    "negations": npy("not " * 2400 + "1"),
    "open brackets": npy("[" * 9990),
    "deep dtype": npy("{'descr':" + "[('a'," * 300 + "'<f8'" + ")]" * 300 + ",'shape':(2,)}"),
    "trillions": npy(PLAIN % "(1000000000000,2)"),
    "gigabytes": npy(PLAIN % "(3000000000,2)", bytes(80)),
    "more than an address": npy(PLAIN % "(9223372036854775807,9223372036854775807)"),
    "5,000 digits": npy(PLAIN % ("(" + "9" * 5000 + ",2)")),
    "negative": npy(PLAIN % "(-1,2)", bytes(80)),
    "no whole number": npy(PLAIN % "(2.0,2)", bytes(80)),
    "short": npy(PLAIN % "(4,2)", bytes(56)),
    "large items": npy("{'descr':('<f8',(100000,100000)),'fortran_order':False,'shape':(2,)}"),
    "version": npy("x", version=9),
    "cut": b"\x93NUMPY\x01",
    "empty": b"",
    "objects": npy("{'descr':'|O','fortran_order':False,'shape':(2,2)}", bytes(80)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_are_refused_in_one_line_at_once(tmp_path, case):
    path = tmp_path / "x.npy"
    path.write_bytes(HOSTILE[case])
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(FileError, match=r"x\.npy' (is damaged|holds Python objects)") as caught:
        read_subject(str(path))
    assert time.perf_counter() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_saved_objects_are_refused_without_running_them(tmp_path):
    class Spy:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    np.save(tmp_path / "x.npy", np.array([Spy(), Spy()]), allow_pickle=True)
    with pytest.raises(FileError, match="holds Python objects, which are not loaded since they"):
        read_subject(str(tmp_path / "x.npy"))
    np.savez(tmp_path / "x.npz", X=np.array([Spy(), Spy()]), allow_pickle=True)
    with pytest.raises(FileError, match=r"x\.npz' is for several arrays; save the features alone"):
        read_subject(str(tmp_path / "x.npz"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("dtype", ["<f8", ">f8", ">f4", "<f2", ">i4", ">u2", "i1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_real_dtype_and_byte_order_are_read(tmp_path, dtype, order):
    X = np.array(np.arange(12).reshape(4, 3) % 5, dtype=dtype, order=order)
    np.save(tmp_path / "x.npy", X)
    found = read_subject(str(tmp_path / "x.npy")).features
    np.testing.assert_array_equal(found, Subject.of(X.astype(float)).features)


@pytest.mark.parametrize("array", [np.ones((3, 2), complex), np.array(["a"]), np.ones(2, "f8,f4")])
def test_other_dtypes_are_refused(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"x\.npy' holds .*; save real numbers"):
        read_subject(str(tmp_path / "x.npy"))
