"""``gspnl audit``: audit the blocks of a trained network on test images."""

from __future__ import annotations

import argparse
from typing import Any

from gspnl.cli.options import add_output, add_test_images
from gspnl.cli.status import DONE, info, show, show_json


def add(commands: Any) -> None:
    """Add the command to the parser."""
    audit = commands.add_parser(
        "audit",
        help="spectra, gains and stability of the blocks of a trained network",
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
        help="name or file of a recipe that the run must agree with; the network is rebuilt from "
        "the recipe in the checkpoint",
    )  # fmt: skip
    add_test_images(
        audit,
        image="number of the first test image",
        count=8,
        images="how many test images",
        nodes="blocks of more positions have no dense matrices",
        seed="of random choices of the evaluation, if it has any",
    )
    audit.add_argument("--out", metavar="DIR", help="folder for audit.txt, audit.png, audit.json")
    add_output(audit, "the numbers as JSON")
    audit.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl import train
    from gspnl.cli.log import log_to_stderr
    from gspnl.nn import audit
    from gspnl.nn.auditing.features import blocks_of
    from gspnl.train.figures import audit_numbers, write_audit
    from gspnl.train.figures.evaluation import evaluation_images, open_run

    log_to_stderr(quiet=options.quiet)
    wanted = None if options.recipe is None else train.recipe(options.recipe)
    recipe, model = open_run(options.checkpoint, wanted)
    blocks_of(model)  # raises before the data are read
    images, _ = evaluation_images(
        recipe, options.data, options.image, options.images, options.seed,
        runs=[options.checkpoint],
    )  # fmt: skip
    info(f"auditing on {len(images)} test images of {recipe.data}")
    seen = audit(model, images, nodes=options.nodes)
    if options.out is not None:
        write_audit(seen, options.out)
        info(f"wrote audit.txt, audit.png and audit.json to {options.out}")
    if options.json:
        show_json(audit_numbers(seen))
    else:
        show(str(seen))
    return DONE
