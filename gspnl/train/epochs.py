"""Train and evaluate epochs: steps, metrics, a checkpoint after each."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gspnl._base.version import __version__
from gspnl.errors import InputError
from gspnl.train import cost, multi_view, networks
from gspnl.train.distributed import LEAST
from gspnl.train.interrupts import Recorder, Stopped
from gspnl.train.progress import Progress
from gspnl.train.recipes import factor, to_dict
from gspnl.train.run import Run
from gspnl.train.session import Session


class Epochs:
    """The epochs of an opened session that are still to train; all ranks act in step."""

    def __init__(self, session: Session, recorder: Recorder, checkpoint_every: int) -> None:
        self.session, self.recorder, self.checkpoint_every = session, recorder, checkpoint_every
        self.recipe, self.ranks = session.recipe, session.ranks
        self.network = self.ranks.wrap(session.model)
        self.progress = Progress(session.out, self.recipe.epochs, session.steps, self.ranks.first)

    def run(self) -> Run:
        """Train to the end."""
        session, state = self.session, self.session.state
        self.progress.write(state.rows)  # of the epochs done: a killed run may have lost some
        if state.epoch or state.step:
            self.progress.log(f"resumed at epoch {state.epoch + 1}, step {state.step}")
        while session.state.epoch < self.recipe.epochs:
            self._train()
            row = self._row(*self._evaluate())
            session.state = session.state.next_epoch(row)
            session.save()
            self.progress.epoch(session.state.rows)
        result = self._result()
        self.progress.end(result)
        return Run(session.out, self.recipe, tuple(session.state.rows), result)

    def _train(self) -> None:
        """Train the rest of an epoch."""
        session, state = self.session, self.session.state
        loader = session.batches("train", start=state.step)
        self.network.train()
        with closing(iter(loader)) as source:
            while state.step < session.steps:
                begun = time.perf_counter()
                loss, correct, count = self._step(*self._next(loader, source))
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
        """The next batch; if one rank fails or has received a signal, all stop."""
        batch, signum = self.ranks.attempt(lambda: next(source), self.recorder.signum)
        state = self.session.state
        state.skipped = sorted({*state.skipped, *loader.skipped})
        if signum:
            self.session.save()
            raise Stopped(signum, f"epoch {state.epoch + 1}, step {state.step}")
        return batch

    def _step(self, images: Tensor, labels: Tensor) -> tuple[float, float, float]:
        """Sums over the batch of all ranks: losses, right answers, samples."""
        recipe, session, state = self.recipe, self.session, self.session.state
        if session.skip_bad and min(self.ranks.gather(len(labels))) < LEAST:
            # All ranks pass: gradients and batch norms wait for every one of them.
            where = f"epoch {state.epoch + 1}, step {state.step + 1}"
            self.progress.log(f"{where} is passed over: too few of its samples are sound")
            return 0.0, 0.0, 0.0
        optimiser, scaler = session.optimiser, session.scaler
        position = state.epoch * session.steps + state.step
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * factor(recipe, position, session.steps)
        images, labels = session.to_device(images, labels)
        with networks.precise(recipe, self.ranks.device):
            scores = self.network(images)
        losses = F.cross_entropy(
            scores.float(), labels, reduction="sum", label_smoothing=recipe.label_smoothing
        )
        right = (scores.detach().argmax(1) == labels).sum()
        loss, correct, count = self.ranks.sum([float(losses.detach()), float(right), len(labels)])
        if not math.isfinite(loss):  # before the weights are touched
            raise session.diverged(f"the loss is {loss / max(count, 1)}")
        optimiser.zero_grad(set_to_none=True)
        # Gradients are averaged over ranks, and the loss is the mean over the samples of all.
        scaler.scale(losses * (self.ranks.world / count)).backward()  # type: ignore[no-untyped-call]  # of torch
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
        self.ranks.broadcast(session.model.buffers())
        loader = session.batches("test")
        crops = getattr(session.data.test, "views", 1)
        loss = correct = count = 0.0
        session.model.eval()
        with closing(iter(loader)) as source:
            for _ in range(-(-len(session.data.test.labels) // self.recipe.batch_size)):
                images, labels = session.to_device(*self._next(loader, source))
                if len(labels) == 0:  # this rank's share of a small last batch
                    continue
                with torch.no_grad(), networks.precise(self.recipe, self.ranks.device):
                    scores = multi_view.scores(session.model, images, crops)
                loss += float(F.cross_entropy(scores, labels, reduction="sum"))
                correct += float((scores.argmax(1) == labels).sum())
                count += len(labels)
        loss, correct, count = self.ranks.sum([loss, correct, count])
        session.state.seconds += time.perf_counter() - begun
        if not math.isfinite(loss):
            raise session.diverged(f"the loss of the test is {loss}")
        return loss / count, correct / count

    def _row(self, test_loss: float, test_accuracy: float) -> dict[str, Any]:
        """The metrics of an epoch."""
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
        """The content of result.json."""
        session, rows = self.session, self.session.state.rows
        return {
            "recipe": to_dict(self.recipe),
            "data": session.fingerprint,
            "test_accuracy": rows[-1]["test_accuracy"],
            "epochs": len(rows),
            "parameters": sum(p.numel() for p in session.model.parameters()),
            "flops": session.flops,
            "images_per_second": statistics.median(row["images_per_second"] for row in rows),
            "peak_bytes": session.state.peak_bytes or None,
            "seconds": sum(row["seconds"] for row in rows),
            "skipped": session.state.skipped,
            "machine": cost.machine(self.ranks.device),
            "processes": self.ranks.world,
            "threads": torch.get_num_threads(),
            "version": __version__,
            "commit": cost.commit(),
        }
