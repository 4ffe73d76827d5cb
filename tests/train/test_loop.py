"""Train in one process: numbers, files, resumes, refusals."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch
from safetensors.torch import save_file
from support.train_tiny import FIELDS, HOOKS, SAMPLES, TESTS, logged
from torch import nn

from gspnl import cli
from gspnl.errors import BusyError, ConvergenceError, FileError, InputError
from gspnl.train import Recipe, checkpoints, data, load_run, train
from gspnl.train.epochs import Epochs
from gspnl.train.interrupts import Stopped
from gspnl.train.networks import network
from gspnl.train.recipes import read, write
from gspnl.train.run import lock
from gspnl.train.session import Session

pytestmark = pytest.mark.usefixtures("tiny_registered")
STEPS = 3  # an epoch: 40 samples by 16


@pytest.fixture(autouse=True)
def no_hooks():
    yield
    HOOKS.clear()


def tiny(**changes):
    return Recipe(**{**FIELDS, **changes})


def state(out):
    return checkpoints.load(out / "checkpoint.safetensors")


def numbers(rows):
    """Rows of metrics without times, which may differ."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in rows]


def metrics(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same(one, other):
    """Compare two runs bit for bit, generators included."""
    a, b = state(one), state(other)
    assert set(a.tensors) == set(b.tensors)
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    assert numbers(metrics(one)) == numbers(metrics(other))
    assert a.scaler == b.scaler


# --- the numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_smoothing": 0.2},
        {"clip": 0.3},
        {"nesterov": True, "weight_decay": 0.01, "milestones": (1,)},
    ],
    ids=["plain", "smoothing", "clipping", "nesterov"],
)
def test_losses_equal_a_plain_loop(changes, tmp_path):
    """With torch's own loss, clipping and scheduler; both share the batches."""
    recipe = tiny(backbone_options={"drop": 0.0}, epochs=3, **changes)
    found = train(recipe, out=tmp_path / "run").metrics

    torch.manual_seed(recipe.seed)
    model = network(recipe, (3, 8, 8), 4)
    optimiser = torch.optim.SGD(
        model.parameters(), 0.05, 0.9, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(recipe.milestones))
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    tiny_data = data.load("tiny", None)
    options = {"batch_size": 16, "augmentation": (), "seed": 0, "drop_last": False}
    options |= {"mean": tiny_data.mean, "std": tiny_data.std, "skip_bad": False}
    for epoch in range(3):
        total = 0.0
        model.train()
        for images, labels in data.Batches(tiny_data.train, epoch=epoch, shuffle=True, **options):
            loss = criterion(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimiser.step()
            total += float(loss.detach()) * len(labels)
        schedule.step()
        model.eval()
        right = sum(
            int((model(images).argmax(1) == labels).sum())
            for images, labels in data.Batches(tiny_data.test, epoch=0, shuffle=False, **options)
        )
        # float32: a mean, and a sum that is divided, round differently.
        assert found[epoch]["train_loss"] == pytest.approx(total / SAMPLES, rel=1e-5)
        assert found[epoch]["test_accuracy"] == right / TESTS


def test_files_and_results_of_a_run(tmp_path):
    lines = []
    with logged(lines.append):
        done = train(tiny(), out=tmp_path / "run", threads=1)
    rows = metrics(done.out)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"train_loss", "train_accuracy", "test_accuracy", "seconds"} <= set(rows[0])
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)
    result = json.loads((done.out / "result.json").read_text())
    assert result == dict(done.result)
    assert result["test_accuracy"] == rows[-1]["test_accuracy"]
    assert (result["epochs"], result["threads"], result["skipped"]) == (2, 1, [])
    assert result["images_per_second"] > 0
    assert 0 < result["peak_bytes"] < 10**8  # of training alone: torch itself takes more
    assert "epoch 2/2" in lines[-1]
    recipe, model = load_run(done.out)
    assert recipe == tiny() == done.recipe
    assert not model.training
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    # Two operations for each product: three convolutions, two at half the size, and the last map.
    plain = 2 * (64 * 27 * 8 + 16 * 72 * 8 + 16 * 72 * 8 + 8 * 4)
    backbone = network(tiny(block=None), (3, 8, 8), 4)
    from gspnl.train.cost import flops

    assert flops(backbone, torch.zeros(3, 8, 8)) == plain < result["flops"]


@pytest.mark.slow
def test_training_depends_on_the_recipes_seed_only_and_keeps_the_callers_settings(tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    first = train(tiny(), out=tmp_path / "a")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(2)
    train(tiny(), out=tmp_path / "b")
    same(tmp_path / "a", tmp_path / "b")
    other = train(tiny(seed=1), out=tmp_path / "c")
    assert numbers(other.metrics) != numbers(first.metrics)


def test_the_backbone_starts_the_same_whatever_the_block():
    torch.manual_seed(0)
    alone = network(tiny(block=None), (3, 8, 8), 4).state_dict()
    torch.manual_seed(0)
    blocked = network(tiny(), (3, 8, 8), 4).state_dict()
    assert all(torch.equal(value, blocked[name]) for name, value in alone.items())


@pytest.mark.parametrize("changes", [{"channels_last": True}, {"precision": "bfloat16"}])
def test_layout_and_precision_hardly_change_the_numbers(changes, tmp_path):
    plain = train(tiny(backbone_options={"drop": 0.0}), out=tmp_path / "plain").metrics
    other = train(tiny(backbone_options={"drop": 0.0}, **changes), out=tmp_path / "b").metrics
    # bfloat16 has 8 bits; its losses must differ, and little.
    near = 1e-4 if "channels_last" in changes else 0.03
    assert other[-1]["train_loss"] == pytest.approx(plain[-1]["train_loss"], rel=near)
    if "precision" in changes:
        assert other[-1]["train_loss"] != plain[-1]["train_loss"]


# --- stopping and going on ------------------------------------------------------------------------

VARIANTS = {
    "warm-up": {"schedule": "linear", "warmup": 0.7},
    "cosine": {"schedule": "cosine", "clip": 0.5, "nesterov": True, "sync_batch_norm": True},
    "bfloat16": {"precision": "bfloat16", "channels_last": True},
    "float16": {"precision": "float16", "momentum": 0.0, "learning_rate": 0.01},
}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_has_the_same_bits(variant, threads, tmp_path):
    recipe = tiny(epochs=3, milestones=(1, 2), **VARIANTS[variant])
    train(recipe, out=tmp_path / "whole", threads=threads)
    for part, at in enumerate((1, 2, 3, 2)):  # steps: within an epoch, at its end, after a resume
        HOOKS[at] = lambda: os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="SIGTERM at epoch") as caught:
            train(recipe, out=tmp_path / "parts", threads=threads, resume=part > 0)
        assert caught.value.signum == signal.SIGTERM
        HOOKS.clear()
        found = state(tmp_path / "parts").state
        assert found.step < STEPS or found.epoch < 3
    assert not (tmp_path / "parts" / "result.json").exists()
    lines = []
    with logged(lines.append):
        train(recipe, out=tmp_path / "parts", threads=threads, resume=True)
    assert "resumed" in lines[0]
    same(tmp_path / "whole", tmp_path / "parts")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["evaluation", "checkpoint", "result"])
def test_a_signal_after_the_last_batch_stops_what_comes_next(moment, number, tmp_path, monkeypatch):
    """The run is finished and complete, and its caller gets Stopped."""
    train(tiny(), out=tmp_path / "whole")
    inner = {"evaluation": "_row", "checkpoint": "save", "result": "_result"}[moment]
    owner = Session if moment == "checkpoint" else Epochs
    act = getattr(owner, inner)

    def hit(self, *arguments):
        session = self if moment == "checkpoint" else self.session
        if len(session.state.rows) == 2 - (moment == "evaluation"):
            os.kill(os.getpid(), number)
        return act(self, *arguments)

    monkeypatch.setattr(owner, inner, hit)
    with pytest.raises(Stopped, match=f"stopped by {number.name} at its end") as caught:
        train(tiny(), out=tmp_path / "run")
    assert caught.value.signum == number
    assert caught.value.finished
    same(tmp_path / "whole", tmp_path / "run")
    assert (tmp_path / "run" / "result.json").exists()
    monkeypatch.undo()
    assert train(tiny(), out=tmp_path / "run", resume=True).result["epochs"] == 2


@pytest.mark.slow
def test_metrics_and_checkpoint_cannot_disagree(tmp_path):
    """A kill between the two: the rows are written again, once."""
    out = tmp_path / "run"
    train(tiny(epochs=2), out=tmp_path / "whole")
    HOOKS[STEPS + 2] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        train(tiny(epochs=2), out=out)
    HOOKS.clear()
    (out / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 1}\n{"epo')
    train(tiny(epochs=2), out=out, resume=True)
    same(tmp_path / "whole", out)


def test_partial_files_of_a_killed_run_are_removed(tmp_path):
    """Those of every file that a run writes, and no other files."""
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    HOOKS[2] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        train(tiny(), out=out)
    HOOKS.clear()
    elsewhere.mkdir()
    (out / "metrics.jsonl").replace(elsewhere / "numbers")
    (out / "metrics.jsonl").symlink_to(elsewhere / "numbers")  # what is linked is replaced there
    names = ("recipe.toml", "metrics.jsonl", "checkpoint.safetensors", "result.json")
    left = [out / f".{name}.0123456789ab" for name in names]
    left[1] = elsewhere / ".numbers.0123456789ab"
    others = [
        out / ".recipe.toml.swp",  # of an editor
        out / ".notes.txt.0123456789ab",
        elsewhere / ".metrics.jsonl.0123456789ab",
    ]
    for path in (*left, *others):
        path.write_bytes(b"half")
    train(tiny(), out=out, resume=True)
    assert [path for path in left if path.exists()] == []
    assert all(path.read_bytes() == b"half" for path in others)


def test_resuming_a_complete_run_without_a_result_writes_it(tmp_path):
    done = train(tiny(), out=tmp_path / "run")
    (done.out / "result.json").unlink()
    again = train(tiny(), out=done.out, resume=True)
    assert again.result["test_accuracy"] == done.result["test_accuracy"]
    assert (done.out / "result.json").exists()


def test_checkpoints_within_an_epoch(tmp_path):
    seen = []

    def look():
        path = tmp_path / "run" / "checkpoint.safetensors"
        seen.append(state(tmp_path / "run").state.step if path.exists() else None)

    HOOKS.update(dict.fromkeys(range(1, 7), look))
    train(tiny(), out=tmp_path / "run", checkpoint_every=1)
    assert seen == [None, 1, 2, 0, 1, 2]
    HOOKS.clear()
    train(tiny(), out=tmp_path / "plain")
    same(tmp_path / "plain", tmp_path / "run")


@pytest.mark.slow
def test_a_run_resumes_with_its_weights_at_another_path(tmp_path):
    """The path is no part of the recipe; other weights give other numbers."""
    recipe = tiny(pretrained="tiny.safetensors")
    torch.manual_seed(5)
    model = network(tiny(block=None), (3, 8, 8), 4)
    places = [tmp_path / "here" / "tiny.safetensors", tmp_path / "there" / "tiny.safetensors"]
    for place in places:
        place.parent.mkdir()
        save_file(model.state_dict(), place)
    whole = train(recipe, out=tmp_path / "whole", pretrained=places[0])
    assert numbers(whole.metrics) != numbers(train(tiny(), out=tmp_path / "drawn").metrics)
    HOOKS[2] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        train(recipe, out=tmp_path / "run", pretrained=places[0])
    HOOKS.clear()
    places[0].unlink()
    train(recipe, out=tmp_path / "run", pretrained=places[1], resume=True)
    same(tmp_path / "whole", tmp_path / "run")
    assert load_run(tmp_path / "run")[0] == recipe
    for path in (tmp_path / "run").glob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes()
    with pytest.raises(InputError, match="the recipe starts from no weights; name them in it too"):
        train(tiny(), out=tmp_path / "none", pretrained=places[1])
    with pytest.raises(FileError, match=r"'tiny.safetensors'"):  # at the very path of the recipe
        train(recipe, out=tmp_path / "missing")


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_folders_with_other_runs_or_files_are_refused(tmp_path):
    out = tmp_path / "run"
    HOOKS[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="SIGINT at epoch 1, step 2"):
        train(tiny(), out=out)
    HOOKS.clear()
    with pytest.raises(InputError, match="holds a run; go on with it by --resume"):
        train(tiny(), out=out)
    with pytest.raises(InputError, match=r"another recipe: clip \(0.0 there, 1.0 here\), seed \(0"):
        train(tiny(seed=1, clip=1.0), out=out, resume=True)
    train(tiny(), out=out, resume=True)
    with pytest.raises(InputError, match="holds a finished run"):
        train(tiny(), out=out)
    with pytest.raises(InputError, match="another recipe: seed"):
        train(tiny(seed=1), out=out, resume=True)
    lines = []
    with logged(lines.append):
        again = train(tiny(), out=out, resume=True)
    assert again.result == json.loads((out / "result.json").read_text())
    assert "finished" in lines[0]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"holds 'thesis.tex', and is no folder of a run"):
        train(tiny(), out=tmp_path / "other")
    with pytest.raises(FileError, match="cannot make the folder"):
        train(tiny(), out=tmp_path / "other" / "thesis.tex" / "run")
    with pytest.raises(FileError, match="cannot make the folder"):
        train(tiny(), out=tmp_path / "other" / "thesis.tex", resume=True)


def test_a_run_that_failed_before_its_first_checkpoint_is_begun_again(tmp_path):
    """Else the corrected command would be refused, in a folder that cannot be resumed."""
    out = tmp_path / "run"

    def fail():
        raise RuntimeError("the first step")

    HOOKS[1] = fail
    with pytest.raises(RuntimeError, match="the first step"):
        train(tiny(), out=out)
    HOOKS.clear()
    assert not (out / "checkpoint.safetensors").exists()
    with lock(out), pytest.raises(BusyError, match="another process is at work"):
        train(tiny(seed=1), out=out)  # it could have begun just now
    assert read(out / "recipe.toml") == tiny()
    done = train(tiny(seed=1), out=out)
    assert done.recipe == read(out / "recipe.toml") == tiny(seed=1)


@pytest.mark.parametrize("resume", [False, True])
def test_a_recipe_file_without_a_run_is_not_replaced(resume, tmp_path):
    out, lines = tmp_path / "mine", ["# mine", "seed = 3"]
    out.mkdir()
    (out / "recipe.toml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="holds a run"):
        train(tiny(), out=out, resume=resume)
    assert (out / "recipe.toml").read_text().splitlines() == lines


@pytest.mark.slow
def test_recipes_that_cannot_be_built_write_nothing(tmp_path):
    for changes in (
        {"backbone": "tini"},
        {"data": "tinny"},
        {"block": "sln"},
        {"block_options": {"kernel": "dott"}},
        {"place": "stage9"},
        {"batch_size": 1},
    ):
        with pytest.raises((InputError, KeyError)):
            train(tiny(**changes), out=tmp_path / "run")
    with pytest.raises(InputError, match="train takes a Recipe, not str"):
        train("mini", out=tmp_path / "run")
    with pytest.raises(InputError, match="device='nope' cannot be used here"):
        train(tiny(), out=tmp_path / "run", device="nope")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"device='cuda' cannot .*sees no GPU.*give 'cpu'"):
            train(tiny(), out=tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()


def test_two_runs_cannot_share_a_folder(tmp_path):
    def intrude():
        with pytest.raises(InputError, match="another process is at work"):
            train(tiny(), out=tmp_path / "run", resume=True)

    HOOKS[2] = intrude
    train(tiny(), out=tmp_path / "run")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused(tmp_path):
    out = tmp_path / "run"
    HOOKS[5] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        train(tiny(), out=out)
    HOOKS.clear()
    path = out / "checkpoint.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    edited = whole.replace(b'\\"step\\": 2', b'\\"step\\": 1')
    assert edited != whole
    for damaged in (b"", whole[:5], whole[:-1], whole[: size // 2], bytes(flipped), edited):
        path.write_bytes(damaged)
        with pytest.raises(
            FileError, match=r"checkpoint.safetensors' is no checkpoint, or damaged"
        ):
            train(tiny(), out=out, resume=True)
        with pytest.raises(FileError, match="damaged"):
            load_run(out)
    path.unlink()
    with pytest.raises(FileError, match="cannot read the checkpoint"):
        load_run(out)
    from safetensors.torch import save

    path.write_bytes(save({"a": torch.zeros(2)}))
    with pytest.raises(FileError, match=r"is no checkpoint of gspnl: it holds 1 w.*, but not"):
        load_run(path)
    torch.save([1, 2], path)
    with pytest.raises(FileError, match="is no checkpoint of gspnl: it holds no weights; pass"):
        load_run(path)


def test_a_loss_that_is_not_finite_stops_at_once(tmp_path):
    recipe = tiny(backbone_options={"poison": 2 * STEPS + 2}, epochs=4)
    with pytest.raises(ConvergenceError, match="nan at epoch 3, step 2; the last good checkpoint"):
        train(recipe, out=tmp_path / "run")
    found = state(tmp_path / "run")
    assert (found.state.epoch, found.state.step) == (2, 0)
    assert all(bool(v.isfinite().all()) for v in found.part("model").values())
    assert [row["epoch"] for row in metrics(tmp_path / "run")] == [1, 2]
    with pytest.raises(ConvergenceError, match="lower learning_rate"):
        train(tiny(learning_rate=1e30), out=tmp_path / "high")


def test_damaged_samples_are_an_error_or_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_BAD", "3")
    with pytest.raises(data.DataError, match="record 3 is damaged"):
        train(tiny(), out=tmp_path / "run")
    done = train(tiny(), out=tmp_path / "skipped", skip_bad=True)
    assert len(done.result["skipped"]) == 1
    assert "record 3" in done.result["skipped"][0]


def test_the_command_reports_samples_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TINY_BAD", "3")
    write(tiny(), tmp_path / "tiny.toml")
    words = ["train", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--skip-bad"]) == 0
    assert "damaged samples left out: 1, named in result.json" in capsys.readouterr().err
    assert cli.main([*words, "--skip-bad", "--resume", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_tensorboard_gets_all_rows(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    HOOKS[STEPS + 2] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        train(tiny(), out=tmp_path / "run")
    HOOKS.clear()
    train(tiny(), out=tmp_path / "run", resume=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    found = [(e.step, e.value) for e in events.Scalars("train_loss")]
    rows = metrics(tmp_path / "run")
    assert [step for step, _ in found] == [1, 2]
    assert [value for _, value in found] == pytest.approx([r["train_loss"] for r in rows])
