"""Scenarios of runs that are killed, stopped or of several processes; each run is a fork.

Torch is imported once, in the parent, which itself never computes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import torch

from gspnl.cli import main
from gspnl.train import Recipe, checkpoints
from gspnl.train.data.randomness import order
from gspnl.train.epochs import Epochs
from gspnl.train.recipes import write
from support import train_tiny

EPOCHS, SLOW = 6, 0.02  # 18 steps, about half a second
TIMES = ("seconds", "images_per_second")


def recipe(folder, name="tiny", **changes):
    options = {"epochs": EPOCHS, "backbone_options": {"slow": SLOW}, **changes}
    path = folder / f"{name}.toml"
    write(Recipe(**{**train_tiny.FIELDS, **options}), path)
    return path


def start(words, log, environment=None):
    """Start a run in a fork; return its process number."""
    child = os.fork()
    if child:
        return child
    os.environ.update(environment or {})
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    torch.set_num_threads(int(os.environ.get("TINY_THREADS", "1")))
    if os.environ.get("SIGNALLED_LATE", "none") == os.environ.get("RANK"):
        signalled_late()
    os._exit(main(["train", *map(str, words)]))


def signalled_late():
    """SIGTERM to this process when all steps and evaluations are done."""
    result = Epochs._result

    def hit(epochs):
        os.kill(os.getpid(), signal.SIGTERM)
        return result(epochs)

    Epochs._result = hit


def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(words, log):
    code = status(start(words, log))
    assert code == 0, (code, log.read_text())


def wait_until_training(child, out, since):
    """Wait until a run trains, when it has written metrics of its own."""
    path = out / "metrics.jsonl"
    while not (path.exists() and path.stat().st_mtime_ns > since):
        time.sleep(0.001)
        assert os.waitpid(child, os.WNOHANG)[0] == 0, "the run ended early"


def state(out):
    return checkpoints.load(out / "checkpoint.safetensors")


def same(one, other):
    a, b = state(one), state(other)
    assert set(a.tensors) == set(b.tensors)
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    rows = [[{k: v for k, v in r.items() if k not in TIMES} for r in c.state.rows] for c in (a, b)]
    assert rows[0] == rows[1]
    assert len((other / "metrics.jsonl").read_text().splitlines()) == EPOCHS


def kills(folder, count):
    """Kill at random moments, of training and of writing; resume; compare."""
    dice = random.Random()
    path, out, log = recipe(folder), folder / "run", folder / "log"
    run([path, "--out", folder / "whole"], log)
    for _ in range(count):
        since = time.time_ns()
        words = [path, "--out", out, "--resume", "--checkpoint-every", "1"]
        child = start(words, log)
        wait_until_training(child, out, since)
        time.sleep(dice.uniform(0, 1.5 * EPOCHS * 3 * SLOW / count))
        os.kill(child, signal.SIGKILL)
        assert status(child) in (-signal.SIGKILL, 0)
        if (out / "checkpoint.safetensors").exists():
            state(out)  # raises, were it damaged
    run([path, "--out", out, "--resume"], log)
    same(folder / "whole", out)
    assert [path.name for path in out.glob(".*")] == [".lock"]


def signals(folder):
    path, log = recipe(folder), folder / "log"
    run([path, "--out", folder / "whole"], log)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        out, since = folder / number.name, time.time_ns()
        child = start([path, "--out", out], log)
        wait_until_training(child, out, since)
        time.sleep(3 * SLOW)
        os.kill(child, number)
        assert status(child) == code
        last = log.read_text().splitlines()[-1]
        assert last.startswith(f"gspnl train: stopped by {number.name} at epoch"), last
        assert last.endswith("and saved; go on with --resume")
        assert state(out).state.epoch < EPOCHS
        run([path, "--out", out, "--resume", "--quiet"], log)
        assert log.read_text() == ""
        same(folder / "whole", out)


def errors(folder):
    """Exit statuses, and one line each."""
    path, log = recipe(folder), folder / "log"
    cases = [
        (2, folder / "tinny.toml", (), "cannot read the recipe"),
        (2, path, ("--set", "blok=snl"), "did you mean 'block'"),
        (2, path, ("--threads", "0"), "threads=0"),
        (2, path, ("--pretrained", "weights.pt"), "the recipe starts from no weights"),
        (1, path, ("--set", "backbone_options.poison=2"), "nan at epoch 1, step 2"),
    ]
    for number, (code, name, words, message) in enumerate(cases):
        found = status(start([name, "--out", folder / str(number), "--quiet", *words], log))
        errors = log.read_text().splitlines()
        assert (found, len(errors)) == (code, 1), (found, errors)
        assert errors[0].startswith("gspnl train: ")
        assert message in errors[0], errors


# --- several processes ----------------------------------------------------------------------------


def team(words, folder, **environment):
    """Start two processes, as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
    return [
        start([*words, "--device", "cpu"], folder / f"log{r}", {**common, "RANK": str(r)})
        for r in range(2)
    ]


def pair(words, folder, **environment):
    for rank, child in enumerate(team(words, folder, **environment)):
        assert status(child) == 0, (folder / f"log{rank}").read_text()


def curves(folder):
    """Losses of two processes equal those of one to 1e-4, with batch norms over both."""
    options = {"backbone_options": {"drop": 0.0}, "sync_batch_norm": True, "clip": 1.0}
    common = {"batch_size": 32, "epochs": 11, "label_smoothing": 0.1}
    for block in ("snl", "nl"):
        path = recipe(folder, block, block=block, **options, **common)
        run([path, "--out", folder / f"{block}1"], folder / "log")
        pair([path, "--out", folder / f"{block}2", "--checkpoint-every", "1"], folder)
        one, two = state(folder / f"{block}1"), state(folder / f"{block}2")
        for a, b in zip(one.state.rows, two.state.rows, strict=True):
            for name in ("train_loss", "test_loss"):
                assert abs(a[name] - b[name]) < 1e-4, (a, b)
        print(block, max(abs(a["train_loss"] - b["train_loss"]) for a, b in
                         zip(one.state.rows, two.state.rows, strict=True)))  # fmt: skip
        a, b = one.part("model"), two.part("model")
        assert all(torch.allclose(a[name], b[name], atol=1e-3) for name in a)
    assert "epoch" in (folder / "log0").read_text()
    assert (folder / "log1").read_text() == ""  # one process logs


def one_signalled(folder):
    """SIGTERM to the second process stops both, once, and the run resumes to the same bits."""
    path, out = recipe(folder), folder / "run"
    pair([path, "--out", folder / "whole"], folder)
    since = time.time_ns()
    children = team([path, "--out", out], folder)
    wait_until_training(children[0], out, since)
    time.sleep(3 * SLOW)
    os.kill(children[1], signal.SIGTERM)
    assert [status(child) for child in children] == [143, 143]
    assert "stopped by SIGTERM" in (folder / "log0").read_text()
    assert 0 < state(out).state.epoch * 3 + state(out).state.step < 3 * EPOCHS
    late = team([path, "--out", out, "--resume"], folder, SIGNALLED_LATE="1")
    assert [status(child) for child in late] == [143, 143]
    assert "stopped by SIGTERM at its end, and finished" in (folder / "log0").read_text()
    assert {"rng.cpu.0", "rng.cpu.1"} <= set(state(out).tensors)
    same(folder / "whole", out)


def one_fails(folder):
    """A damaged sample in one share, then a killed process: the other one stops as well."""
    path, start_ = recipe(folder, epochs=100), time.perf_counter()
    children = team([path, "--out", folder / "bad"], folder, TINY_BAD="3")
    assert [status(child) for child in children] == [2, 2]
    errors = [(folder / f"log{rank}").read_text() for rank in range(2)]
    assert sum("record 3 is damaged" in each for each in errors) == 1, errors
    assert sum("another process failed" in each for each in errors) == 1, errors

    since = time.time_ns()
    children = team([path, "--out", folder / "killed"], folder)
    wait_until_training(children[0], folder / "killed", since)
    os.kill(children[1], signal.SIGKILL)
    assert status(children[0]) == 2, (folder / "log0").read_text()
    assert "failed or does not answer" in (folder / "log0").read_text()
    assert time.perf_counter() - start_ < 60


def skipping(folder):
    """Damage takes all of a batch: two processes do what one does. Then all of one share as well.

    No process has a sound sample of the last batch of the first epoch, which is passed over. The
    first sample is damaged too.
    """
    count = train_tiny.SAMPLES
    for seed in range(1000):  # until each process has two sound samples of all other batches
        first = order(seed, 0, count).tolist()
        bad, tests = first[:1] + first[32:], (0, 11)
        orders = [order(seed, epoch, count).tolist() for epoch in range(EPOCHS)]
        shares = [(n, n + 8) for n in (0, 8, 16, 24)] + [(32, 36), (36, 40)]
        sound = [[i not in bad for i in each[m:n]] for each in orders for m, n in shares]
        if min(map(sum, sound[:4] + sound[6:])) >= 2:
            break
    damage = {"TINY_BAD": numbers(bad), "TINY_BAD_TESTS": numbers(tests)}
    options = {"seed": seed, "backbone_options": {"drop": 0.0}, "sync_batch_norm": True}
    path, log = recipe(folder, **options), folder / "log"
    words = ["--skip-bad", "--checkpoint-every", "1"]
    assert status(start([path, "--out", folder / "one", *words], log, damage)) == 0, log.read_text()
    pair([path, "--out", folder / "two", *words], folder, **damage)
    passed = "epoch 1, step {} is passed over: too few of its samples are sound"
    assert passed_over(folder) == [passed.format(3)]
    one, two = state(folder / "one"), state(folder / "two")
    for a, b in zip(one.state.rows, two.state.rows, strict=True):
        for name in ("train_loss", "test_loss"):  # float32, as in curves
            assert abs(a[name] - b[name]) < 1e-4, (a, b)
    a, b = one.part("model"), two.part("model")
    assert all(torch.allclose(a[name], b[name], atol=1e-3) for name in a)
    for found in (folder / "one", folder / "two"):
        result = json.loads((found / "result.json").read_text())
        assert result["skipped"] == state(found).state.skipped == lines(bad, tests), found

    # Stopped after its first steps, with norms that see their own share only; then resumed.
    bad += first[8:16]  # all that the second process has of the first batch
    damage["TINY_BAD"] = numbers(bad)
    path = recipe(folder, "own", seed=seed)
    pair([path, "--out", folder / "whole", *words], folder, **damage)
    assert passed_over(folder)[:2] == [passed.format(1), passed.format(3)]
    since = time.time_ns()
    children = team([path, "--out", folder / "parts", *words], folder, **damage)
    wait_until_training(children[0], folder / "parts", since)
    time.sleep(2 * SLOW)
    os.kill(children[1], signal.SIGTERM)
    assert [status(child) for child in children] == [143, 143]
    early = lines(first[:1] + first[8:16])  # of both processes
    assert set(early) <= set(state(folder / "parts").state.skipped)
    pair([path, "--out", folder / "parts", *words, "--resume"], folder, **damage)
    same(folder / "whole", folder / "parts")
    assert state(folder / "parts").state.skipped == lines(bad, tests)


def passed_over(folder):
    return [line for line in (folder / "log0").read_text().splitlines() if "passed" in line]


def lines(train, tests=()):
    return sorted(
        [f"record {i} is damaged" for i in train] + [f"test record {i} is damaged" for i in tests]
    )


def numbers(values):
    return ",".join(map(str, values))


if __name__ == "__main__":
    scenario, where, *more = sys.argv[1:]
    with train_tiny.registered():
        globals()[scenario](Path(where), *map(int, more))
