"""Train the network of a recipe, in a folder from which a killed run is resumed."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from gspnl._base.validate import number, whole_number
from gspnl.errors import InputError
from gspnl.train.data import fingerprint
from gspnl.train.distributed import Ranks, join
from gspnl.train.epochs import Epochs
from gspnl.train.interrupts import Stopped, record_signals
from gspnl.train.recipes import Recipe
from gspnl.train.run import Run, begin, check_data, claim, finished
from gspnl.train.session import Session, open_data

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    *,
    data: str | PathLike[str] | None = None,
    out: str | PathLike[str],
    pretrained: str | PathLike[str] | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    device: str | None = None,
    threads: int | None = None,
    checkpoint_every: int = 0,
    timeout: float = 300.0,
) -> Run:
    r"""Train the network of a recipe, or resume its training.

    The folder ``out`` holds the recipe, a row of metrics an epoch, the last checkpoint, and at the
    end the result. After each epoch, and on SIGTERM or Ctrl-C, the checkpoint is replaced, then the
    metrics: whenever the process is killed, the folder can be read and resumed. A resumed run has
    the same numbers, bit for bit, on the same machine with as many threads and processes.

    Under ``torchrun`` each process takes its share of every batch, and the first one writes. All
    must see the folder. Progress goes to the logger "gspnl.train", at level INFO.

    Parameters
    ----------
    recipe : Recipe
    data : path, optional
        Folder or file of the data set; some need none.
    out : path
        Folder of the run, made if it is not there.
    pretrained : path, optional
        Where the weights are that the recipe names; default: at the recipe's own path.
    resume : bool
        Continue the run in ``out``; a folder without one is begun.
    skip_bad : bool
        Leave damaged samples out; the result names them. A batch that leaves a process fewer than
        two is passed over.
    device : str, optional
        Default: "cuda" if there is one, else "cpu".
    threads : int, optional
        Of each process on the CPU; default: torch's own.
    checkpoint_every : int
        Steps between two checkpoints within an epoch; 0 for none.
    timeout : float
        Seconds that processes wait for each other.

    Raises
    ------
    InputError
        For a folder that holds a run if ``resume`` is False, or a run of another recipe or on other
        data, for names that do not exist, and for processes with different data.
    FileError
        For data or a checkpoint that are damaged or missing, and files that cannot be written.
    ConvergenceError
        If the loss is no longer finite; the last good checkpoint is kept.
    ProcessError
        If another process failed or does not answer.
    Stopped
        A KeyboardInterrupt: SIGTERM or Ctrl-C came, and the state is written.

    Examples
    --------
    >>> from gspnl.train import Recipe, train
    >>> train(Recipe(epochs=3), out="runs/new", threads=0)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: threads=0 must be a whole number ≥ 1
    """
    if not isinstance(recipe, Recipe):
        raise InputError(
            f"train takes a Recipe, not {type(recipe).__name__}; gspnl.train.recipe('mini') makes "
            "one from a name or a file"
        )
    if threads is not None:
        whole_number("threads", threads, 1)
    whole_number("checkpoint_every", checkpoint_every)
    number("timeout", timeout, above=0)
    if pretrained is not None and recipe.pretrained is None:
        raise InputError(
            f"pretrained={str(pretrained)!r} is given, and the recipe starts from no weights; name "
            f"them in it too: pretrained = {Path(pretrained).name!r}"
        )
    weights = recipe.pretrained if pretrained is None else pretrained
    folder, path = Path(out), Path(data) if data is not None else None
    with (
        record_signals() as recorder,
        join(device, timeout=timeout) as ranks,
        _repeatable(ranks.device, threads),
        contextlib.ExitStack() as stack,
    ):
        if resume and (done := ranks.agree(lambda: _finished(folder, recipe, path, skip_bad))):
            if ranks.first:
                log.info(f"{str(folder)!r} is finished")
            return done
        session = ranks.agree(lambda: Session(recipe, path, skip_bad, ranks, weights))
        check_same_data(ranks, session.fingerprint)

        def prepare() -> None:
            if ranks.first:
                stack.enter_context(claim(folder, recipe, resume=resume))

        ranks.agree(prepare)
        ranks.agree(lambda: session.open(folder))
        run = Epochs(session, recorder, checkpoint_every).run()
        # After the last batch no rank reads its recorder, and one may have received a signal.
        if signum := ranks.attempt(lambda: None, recorder.signum)[1]:
            raise Stopped(signum)
        return run


@contextlib.contextmanager
def _repeatable(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Use deterministic algorithms where torch has them, and restore the caller's settings.

    The last bits of sums depend on the number of ``threads``.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUBLAS starts
    settings: Any = torch.utils.deterministic
    mode, before = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    filled = settings.fill_uninitialized_memory
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deterministic.*")  # operations without such algorithms
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            settings.fill_uninitialized_memory = False  # slow, and of no use here
            if threads is not None:
                torch.set_num_threads(threads)
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            settings.fill_uninitialized_memory = filled
            torch.set_num_threads(before)


def check_same_data(ranks: Ranks, own: str) -> None:
    """Raise InputError on all ranks unless all have data of one fingerprint."""
    found = ranks.lines([own])
    if len(found) > 1:
        raise InputError(
            f"the processes have different data (fingerprints {', '.join(found)}); give all of "
            "them the same"
        )


def _finished(folder: Path, recipe: Recipe, path: Path | None, skip_bad: bool) -> Run | None:
    """The finished run of a folder, checked to be of this recipe on these data."""
    run = finished(folder, recipe)
    if run is not None:
        begin(folder, recipe, resume=True)
        now = fingerprint(open_data(recipe, path, skip_bad))
        check_data(folder, str(run.result.get("data")), now)
    return run
