"""From the bytes of a pickle to plain values."""

from __future__ import annotations

import pickletools
from typing import Any

from gspnl.train.data.pickles.machine import Machine
from gspnl.train.data.pickles.opcodes import ACTIONS

KNOWN = {opcode.code: opcode.name for opcode in pickletools.opcodes}
STEPS = 4_000_000  # CIFAR-100 takes 300,000; a step makes at most some 100 bytes of objects


def unpickle(content: bytes, name: str) -> Any:
    r"""Value of a pickle that holds arrays of uint8, bytes, strings, integers, lists and dicts.

    The opcodes [1]_ are read by a machine that knows these kinds only. The few names that NumPy
    writes into a pickle of an array are compared as text; nothing is looked up, imported or
    called, so the worst that a file can do is be refused. What is built takes memory in
    proportion to the file, whatever sizes it declares, and so does a copy of it: a string that is
    in several places counts in each, and all but the first of 1 MiB and the size of the file at
    most. Strings of Python 2 come as bytes.

    Parameters
    ----------
    content : bytes
        The whole file, of protocol 2 to 5.
    name : str
        Of the file, for errors.

    Returns
    -------
    dict, list, str, bytes, int or array of uint8
        Arrays are read-only. Lists and dicts are nested at most 8 deep.

    Raises
    ------
    DataError
        If the file is cut off or damaged, or holds anything else.

    References
    ----------
    .. [1] Python's module pickletools, which describes every opcode.

    Examples
    --------
    >>> import pickle
    >>> unpickle(pickle.dumps({"labels": [3, 1]}), "batch")
    {'labels': [3, 1]}
    >>> unpickle(b"\x80\x02cos\nsystem\nU\x04true\x85R.", "batch")
    Traceback (most recent call last):
    ...
    gspnl.train.data.base.DataError: 'batch' names os.system, ...
    """
    machine = Machine(content, name)
    steps = 0
    while (code := machine.bytes(1)) != b".":
        steps += 1
        if steps > STEPS:
            machine.refuse(f"takes more than {STEPS:,} steps to read")
        action = ACTIONS.get(code)
        if action is None:
            known = KNOWN.get(code.decode("latin-1"), repr(code))
            machine.refuse(f"has the opcode {known}, which no image set needs")
        action(machine)
    return machine.result()
