"""Training that loses nothing: what stops it, at any moment, it goes on from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from gspnl.errors import InputError
from gspnl.train import gathering
from gspnl.train.data import fingerprint
from gspnl.train.determinism import repeatable
from gspnl.train.epochs import Epochs
from gspnl.train.processes import Processes, answered, processes
from gspnl.train.recipes import Recipe
from gspnl.train.recipes.checks import real, whole
from gspnl.train.runs import Run, alone, begin, finished, make, same_data
from gspnl.train.session import Session, opened
from gspnl.train.stopping import Stopped, listening


def ignore(line: str) -> None:
    """Say nothing."""


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
    say: Callable[[str], None] = ignore,
) -> Run:
    r"""Train the network of a recipe, in a folder that keeps all there is to keep.

    The folder holds the recipe, a row of metrics an epoch, the last checkpoint, and at the end the
    result. After each epoch, and on SIGTERM or Ctrl-C, a checkpoint is written under another name
    and put in its place, then the metrics: whenever the process is killed, the folder can be read
    and resumed. A resumed run has the same numbers, bit for bit, on the same machine with as
    many threads and processes.

    Under ``torchrun`` each process takes its share of every batch, and the first one writes. The
    folder must be seen by all.

    Parameters
    ----------
    recipe : Recipe
    data : path, optional
        Folder or file of the data set; some need none.
    out : path
        Folder of the run, made if it is not there.
    pretrained : path, optional
        Where the weights lie that the recipe names; default: at that very path. It is no part of
        the recipe, so that a run goes on where they lie elsewhere.
    resume : bool
        Go on with the run in ``out``; a folder without one is begun.
    skip_bad : bool
        Leave damaged samples out; the result names them. A batch that is left with fewer than two
        for each process is passed over.
    device : str, optional
        Default: "cuda" if there is one, else "cpu".
    threads : int, optional
        Of each process on the CPU; default: as torch has it.
    checkpoint_every : int
        Steps between two checkpoints within an epoch; 0 for none.
    timeout : float
        Seconds that processes wait for each other.
    say : callable
        Takes lines of progress.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For a folder that holds a run if ``resume`` is False, or a run of another recipe or on other
        data, for what the recipe names and is not there, for weights that it does not name, and
        for processes with different data.
    FileError
        For data or a checkpoint that are damaged or missing, and what cannot be written.
    ConvergenceError
        If the loss is no longer finite; the last good checkpoint is kept.
    ProcessError
        If another process failed or does not answer.
    Stopped
        A KeyboardInterrupt: SIGTERM or Ctrl-C came, and the state is written; the result too, if
        it came after the last batch.

    Examples
    --------
    >>> from gspnl.train import Recipe, train
    >>> train(Recipe(epochs=3), out="runs/new", threads=0)
    Traceback (most recent call last):
    ...
    gspnl.errors.InputError: threads=0 must be at least 1; give a larger number
    """
    if not isinstance(recipe, Recipe):
        raise InputError(
            f"train takes a Recipe, not {type(recipe).__name__}; gspnl.train.recipe('mini') makes "
            "one from a name or a file"
        )
    whole("threads", threads, least=1, optional=True)
    whole("checkpoint_every", checkpoint_every, least=0)
    real("timeout", timeout, above=0.0)
    if pretrained is not None and recipe.pretrained is None:
        raise InputError(
            f"pretrained={str(pretrained)!r} is given, and the recipe starts from no weights; name "
            f"them in it too: pretrained = {Path(pretrained).name!r}"
        )
    start = recipe.pretrained if pretrained is None else pretrained
    folder = Path(out)
    with (
        listening() as wish,
        processes(device, timeout=timeout) as among,
        repeatable(among.device, threads),
        answered(among),
        contextlib.ExitStack() as held,
    ):
        path = Path(data) if data is not None else None
        done = among.agree(lambda: finished_as(folder, recipe, path, skip_bad)) if resume else None
        if done is not None:
            say(f"{str(folder)!r} is finished")
            return done
        session = among.agree(lambda: Session(recipe, path, skip_bad, among, start))
        see_one(among, session.fingerprint)

        def prepare() -> None:
            if among.first:
                make(folder)
                held.enter_context(alone(folder))  # first: a run that begins has nothing to show
                begin(folder, recipe, resume=resume)

        among.agree(prepare)
        among.agree(lambda: session.open(folder))
        run = Epochs(session, wish, checkpoint_every, say if among.first else ignore).run()
        # After the last batch no process asks, and one may have heard what others have not.
        signum = among.together(lambda: None, wish.signum)[1]
        if signum:
            raise Stopped(signum)
        return run


def see_one(among: Processes, own: str) -> None:
    """Raise on all processes unless all have the data of one fingerprint."""
    found = gathering.lines(among, [own])
    if len(found) > 1:
        raise InputError(
            f"the processes have different data (fingerprints {', '.join(found)}); give all of "
            "them the same"
        )


def finished_as(folder: Path, recipe: Recipe, path: Path | None, skip_bad: bool) -> Run | None:
    """A finished run of this recipe on these data; another is refused."""
    done = finished(folder, recipe)
    if done is not None:
        begin(folder, recipe, resume=True)
        now = fingerprint(opened(recipe, path, skip_bad))
        same_data(folder, str(done.result.get("data")), now)
    return done
