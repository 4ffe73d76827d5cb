"""``gspnl audit``: what a trained network's blocks do to test images, read off spectra."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gspnl.cli.options import add_output, add_test_images
from gspnl.cli.status import DONE, ignore, show, to_stderr


def add(commands: Any) -> None:
    """Add the command to the parser."""
    audit = commands.add_parser(
        "audit",
        help="what the blocks of a trained network do: spectra, gains, stability",
        description="Audit the blocks of a trained network on test images: spectral gap and "
        "defect of the stable hypothesis of each affinity, gain, CFL verdict and damping of each "
        "unit. Prints a table.",
        allow_abbrev=False,
    )
    audit.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a checkpoint or run folder of gspnl train"
    )
    audit.add_argument(
        "--recipe", metavar="R",
        help="name or file of the recipe that it must be of; its network is rebuilt from the "
        "recipe that it holds",
    )  # fmt: skip
    add_test_images(
        audit,
        image="number of the first test image",
        count=8,
        images="how many test images",
        nodes="up to so many positions, matrices of all entries are made",
        seed="of what the evaluation draws at random, if anything",
    )
    audit.add_argument("--out", metavar="DIR", help="folder for audit.txt, audit.png, audit.json")
    add_output(audit, "the numbers as JSON")
    audit.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl.nn import audit
    from gspnl.train.figures import audit_numbers, write_audit
    from gspnl.train.figures.opening import evaluated, opened, recipe_named
    from gspnl.train.figures.passing import blocks_of

    say = ignore if options.quiet else to_stderr
    wanted = None if options.recipe is None else recipe_named(options.recipe)
    recipe, model = opened(options.checkpoint, wanted)
    blocks_of(model)  # before the data are read
    images, _ = evaluated(
        recipe, options.data, options.image, options.images, options.seed,
        runs=[options.checkpoint], say=to_stderr,
    )  # fmt: skip
    say(f"auditing on {len(images)} test images of {recipe.data}")
    seen = audit(model, images, nodes=options.nodes)
    if options.out is not None:
        write_audit(seen, options.out)
        say(f"wrote audit.txt, audit.png and audit.json to {options.out}")
    if options.json:
        print(json.dumps(audit_numbers(seen), allow_nan=False), flush=True)
    else:
        show(str(seen))
    return DONE
