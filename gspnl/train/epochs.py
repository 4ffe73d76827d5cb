"""Epochs: steps, evaluation, a row of metrics, a checkpoint."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gspnl._base.version import __version__
from gspnl.errors import ConvergenceError, InputError
from gspnl.train import facts, multi_view, networks
from gspnl.train.progress import Board, Progress
from gspnl.train.recipes.files import fields
from gspnl.train.runs import Run, write_metrics, write_result
from gspnl.train.schedules import factor
from gspnl.train.session import Session
from gspnl.train.shares import dealt
from gspnl.train.stopping import Stopped, Wish


class Epochs:
    """A session, trained to its end.

    Parameters
    ----------
    session : Session
        Opened.
    wish : Wish
        Tells between two batches whether to stop.
    checkpoint_every : int
        Steps; 0 for none within an epoch.
    say : callable
    """

    def __init__(
        self, session: Session, wish: Wish, checkpoint_every: int, say: Callable[[str], None]
    ) -> None:
        self.session, self.wish, self.say = session, wish, say
        self.checkpoint_every = checkpoint_every
        self.recipe, self.among = session.recipe, session.among
        self.progress = Progress(say, session.recipe.epochs, session.steps)

    def run(self) -> Run:
        """Train to the end."""
        session = self.session
        network = self.among.wrap(session.model)
        board = None
        if self.among.first:
            write_metrics(session.out, session.state.rows)
            board = Board(session.out / "tensorboard", session.state.rows)
        if session.state.epoch or session.state.step:
            self.say(f"resumed at epoch {session.state.epoch + 1}, step {session.state.step}")
        while session.state.epoch < self.recipe.epochs:
            self._train(network)
            row = self._row(*self._evaluate())
            session.state = session.state.next_epoch(row)
            session.save()
            if board is not None:
                write_metrics(session.out, session.state.rows)
                board.add(row)
            self.progress.epoch(row, session.state.rows)
        result = self._result()
        if board is not None:
            board.close()
            write_result(session.out, result)
        return Run(session.out, self.recipe, tuple(session.state.rows), result)

    def _train(self, network: nn.Module) -> None:
        """What is left of an epoch."""
        session, state = self.session, self.session.state
        loader = session.batches("train", start=state.step)
        network.train()
        with closing(iter(loader)) as source:
            while state.step < session.steps:
                begun = time.perf_counter()
                loss, correct, count = self._step(network, *self._next(loader, source))
                state.step += 1
                state.loss += loss
                state.correct += correct
                state.count += count
                spent = time.perf_counter() - begun
                state.seconds += spent
                if count:
                    state.rates.append(count / spent)
                self.progress.step(state)
                due = self.checkpoint_every and state.step % self.checkpoint_every == 0
                if due and state.step < session.steps:
                    session.save()
        if not state.count:
            raise InputError(
                f"all steps of epoch {state.epoch + 1} were passed over; repair the data, or give "
                "a larger batch_size"
            )

    def _next(self, loader: Any, source: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The next batch; or all processes stop, if one of them has failed or is asked to."""
        batch, signum = self.among.together(lambda: next(source, None), self.wish.signum)
        self.session.note(loader)
        state = self.session.state
        if signum:
            self.session.save()
            raise Stopped(signum, f"epoch {state.epoch + 1}, step {state.step}")
        if batch is None:
            raise InputError(
                f"the data ended at step {state.step} of {self.session.steps} of an epoch; give "
                "batches that are as many as batch_size says"
            )
        return batch

    def _step(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[float, float, float]:
        """Sums over the batch of all processes: losses, right answers, samples."""
        recipe, session = self.recipe, self.session
        if session.skip_bad:
            images, labels = dealt(self.among, images, labels)
            if len(labels) == 0:  # on all processes
                where = f"epoch {session.state.epoch + 1}, step {session.state.step + 1}"
                self.say(f"{where} is passed over: too few of its samples are sound")
                return 0.0, 0.0, 0.0
        optimiser, scaler = session.optimiser, session.scaler
        position = session.state.epoch * session.steps + session.state.step
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * factor(recipe, position, session.steps)
        images, labels = session.placed(images, labels)
        with networks.precise(recipe, self.among.device):
            scores = network(images)
        losses = F.cross_entropy(
            scores.float(), labels, reduction="sum", label_smoothing=recipe.label_smoothing
        )
        right = (scores.detach().argmax(1) == labels).sum()
        loss, correct, count = self.among.sum([float(losses.detach()), float(right), len(labels)])
        if not math.isfinite(loss):  # before the weights are touched
            raise ConvergenceError(session.diverged(f"the loss is {loss / max(count, 1)}"))
        optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over processes, and the mean is over the samples of all.
        scaler.scale(losses * (self.among.world / count)).backward()  # type: ignore[no-untyped-call]
        if recipe.clip > 0:
            scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(session.model.parameters(), recipe.clip)
        scaler.step(optimiser)
        scaler.update()
        return loss, correct, count

    def _evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy on the test samples."""
        session = self.session
        begun = time.perf_counter()
        self.among.share(session.model.buffers())
        loader = session.batches("test")
        views = getattr(session.data.test, "views", 1)
        loss = correct = count = 0.0
        session.model.eval()
        with closing(iter(loader)) as source:
            for _ in range(-(-len(session.data.test.labels) // self.recipe.batch_size)):
                images, labels = session.placed(*self._next(loader, source))
                if len(labels) == 0:  # this process's share of a small last batch
                    continue
                with torch.no_grad(), networks.precise(self.recipe, self.among.device):
                    scores = multi_view.scores(session.model, images, views)
                loss += float(F.cross_entropy(scores, labels, reduction="sum"))
                correct += float((scores.argmax(1) == labels).sum())
                count += len(labels)
        loss, correct, count = self.among.sum([loss, correct, count])
        session.state.seconds += time.perf_counter() - begun
        if not math.isfinite(loss):
            raise ConvergenceError(session.diverged(f"the loss of the test is {loss}"))
        return loss / count, correct / count

    def _row(self, test_loss: float, test_accuracy: float) -> dict[str, Any]:
        state, steps = self.session.state, self.session.steps
        last = factor(self.recipe, (state.epoch + 1) * steps - 1, steps)
        return {
            "epoch": state.epoch + 1,
            "train_loss": state.loss / state.count,
            "train_accuracy": state.correct / state.count,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "seconds": state.seconds,
            "images_per_second": statistics.median(state.rates),
            "learning_rate": self.recipe.learning_rate * last,
        }

    def _result(self) -> dict[str, Any]:
        session, rows = self.session, self.session.state.rows
        return {
            "recipe": fields(self.recipe),
            "data": session.fingerprint,
            "test_accuracy": rows[-1]["test_accuracy"],
            "epochs": len(rows),
            "parameters": facts.parameters(session.model),
            "flops": session.flops,
            "images_per_second": statistics.median(row["images_per_second"] for row in rows),
            "peak_bytes": session.state.peak_bytes or None,
            "seconds": sum(row["seconds"] for row in rows),
            "skipped": session.state.skipped,
            "machine": facts.machine(self.among.device),
            "processes": self.among.world,
            "threads": torch.get_num_threads(),
            "version": __version__,
            "commit": facts.commit(),
        }
