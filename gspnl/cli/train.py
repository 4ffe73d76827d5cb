"""``gspnl train``: train one network by a recipe."""

from __future__ import annotations

import argparse
import os
from typing import Any

from gspnl.cli.options import add_machine, add_output, edited_recipe
from gspnl.cli.status import DONE, FAILED, info, show_json, warn

# Written out, since importing the registry takes long for a line of help.
NAMES = (
    "mini, cifar10-preresnet20, cifar100-preresnet56, cifar100-resnet50, cub200-resnet50, "
    "ucf101-i3d"
)


def add(commands: Any) -> None:
    """Add the command to the parser."""
    train = commands.add_parser(
        "train",
        help="one experiment: a network, trained by a recipe; stops and resumes at any moment",
        description="Train a network by a recipe, in a folder that keeps recipe, metrics, the last "
        "checkpoint, and at the end the result. SIGTERM and Ctrl-C write a checkpoint and stop; "
        "--resume goes on to the same numbers. Several processes: torchrun --nproc-per-node 2 -m "
        "gspnl train RECIPE. Exit status 1 if the loss is no longer finite, 130 or 143 if stopped.",
        allow_abbrev=False,
    )
    train.add_argument("recipe", metavar="RECIPE", help=f"{NAMES}; or a TOML file of fields")
    train.add_argument("--data", metavar="PATH", help="folder or file of the data set")
    train.add_argument(
        "--out", metavar="DIR", help="folder of the run (default: runs/ and the recipe's name)"
    )
    train.add_argument(
        "--pretrained", metavar="PATH",
        help="where the weights are that the recipe names (default: at that path)",
    )  # fmt: skip
    train.add_argument(
        "--resume", action="store_true", help="go on with the run in DIR; begin it if there is none"
    )
    fields = train.add_argument_group("changes to the recipe")
    fields.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="a field, such as block=snl, block_options.kernel=dot or data_options.split=2; may be "
        "repeated",
    )  # fmt: skip
    fields.add_argument("--seed", type=int, metavar="N", help="of weights, order, augmentation")
    fields.add_argument("--epochs", type=int, metavar="N")
    where = train.add_argument_group("machine")
    add_machine(where)
    where.add_argument(
        "--checkpoint-every", type=int, metavar="STEPS", default=0,
        help="write the state within epochs too (default: after each epoch only)",
    )  # fmt: skip
    add_output(train, "result.json")
    train.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from pathlib import Path

    from gspnl.cli.log import log_to_stderr
    from gspnl.errors import ConvergenceError
    from gspnl.train import train
    from gspnl.train.interrupts import Stopped

    log_to_stderr(quiet=options.quiet)
    recipe = edited_recipe(
        options.recipe, options.changes, seed=options.seed, epochs=options.epochs
    )
    first = os.environ.get("RANK", "0") == "0"
    try:
        done = train(
            recipe,
            data=options.data,
            out=options.out or Path("runs") / Path(options.recipe).stem,
            pretrained=options.pretrained,
            resume=options.resume,
            skip_bad=options.skip_bad,
            device=options.device,
            threads=options.threads,
            checkpoint_every=options.checkpoint_every,
        )
    except ConvergenceError as error:
        warn(f"gspnl train: {error}")
        return FAILED
    except Stopped as stop:
        if first:
            state = "and finished" if stop.finished else "and saved; go on with --resume"
            warn(f"gspnl train: {stop}, {state}")
        return 128 + stop.signum
    if first:
        left_out = len(done.result["skipped"])
        if left_out:
            info(f"damaged samples left out: {left_out}, named in result.json under 'skipped'")
        info(f"test accuracy {100 * done.result['test_accuracy']:.2f} %, in {str(done.out)!r}")
        if options.json:
            show_json(done.result)
    return DONE
