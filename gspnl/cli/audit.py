"""``gspnl audit``: audit the blocks and the attention of a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gspnl.cli.options import add_number, add_output, add_test_images
from gspnl.cli.status import DONE, info, show, show_json

MODEL = (
    "package.module:function, whose function returns a torch Module or (Module, batch); a file "
    ".pt2 of torch.export.save, of TorchScript, or .onnx; or a checkpoint or run folder of gspnl "
    "train"
)
OF_RUNS = {"data": None, "recipe": None, "image": 0, "images": 8}  # option: its default


def add(commands: Any) -> None:
    """Add the command to the parser."""
    audit = commands.add_parser(
        "audit",
        help="what the blocks and the attention of a network do, on a batch",
        description="Audit a network on a batch: of each attention head the spectrum, stationary "
        "distribution, entropy and what it writes, with a line of words; smoothing by depth and "
        "verdicts on the paper's hypotheses; of each nonlocal block spectral gap, defect, gain, "
        "CFL verdict and damping. Prints tables. Files are loaded without unpickling anything.",
        allow_abbrev=False,
    )
    audit.add_argument("model", metavar="MODEL", help=MODEL)
    audit.add_argument(
        "--weights", metavar="FILE",
        help="state dict for the network of a function: safetensors, or a file of torch.save",
    )  # fmt: skip
    audit.add_argument(
        "--input", metavar="FILE",
        help="the batch: .npy, .npz (positional arr_0, arr_1, ..., or keyword arguments), "
        ".safetensors, or an image as RGB in [0, 1] (default: what the function or the exported "
        "program has)",
    )  # fmt: skip
    audit.add_argument(
        "--seconds", type=float, metavar="S", default=120.0,
        help="limit on the time for attention; what it leaves out is said (default: %(default)s)",
    )  # fmt: skip
    add_number(audit, "--k", "K", 16, "eigenvalues of heads with more than --nodes tokens")
    runs = audit.add_argument_group("of a run of gspnl train")
    runs.add_argument(
        "--recipe", metavar="R",
        help="name or file of a recipe that the run must agree with; the network is rebuilt from "
        "the recipe in the checkpoint",
    )  # fmt: skip
    add_test_images(
        audit,
        image="number of the first test image",
        count=8,
        images="how many test images",
        nodes="blocks and heads of more nodes have no dense matrices",
        seed="of torch's random numbers, and of choices of the evaluation",
    )
    audit.add_argument("--out", metavar="DIR", help="folder for audit.txt, audit.png, audit.json")
    add_output(audit, "the numbers as JSON")
    audit.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl._base.programs import program_kind
    from gspnl.cli.log import log_to_stderr

    log_to_stderr(quiet=options.quiet)
    seen = _audit_program(options) if program_kind(options.model) else _audit_run(options)
    if options.out is not None:
        from gspnl.nn.auditing.writing import write_audit

        write_audit(seen, options.out)
        info(f"wrote audit.txt, audit.png and audit.json to {options.out}")
    if options.json:
        show_json(seen.numbers())
    else:
        show(str(seen))
    return DONE


def _audit_program(options: argparse.Namespace) -> Any:
    """Audit a network from a function or a file."""
    from gspnl.errors import InputError
    from gspnl.nn.auditing import audit_opened
    from gspnl.nn.programs import open_program

    for name, default in OF_RUNS.items():
        if getattr(options, name) != default:
            raise InputError(
                f"--{name} is of a run of gspnl train, and {options.model!r} is none; pass the "
                "batch by --input"
            )
    opened = open_program(options.model, options.weights, options.input, options.seed)
    info(f"auditing {options.model}")
    return audit_opened(opened, nodes=options.nodes, seconds=options.seconds, k=options.k)


def _audit_run(options: argparse.Namespace) -> Any:
    """Audit the network of a run on its test images."""
    from gspnl import train
    from gspnl.errors import FileError, InputError
    from gspnl.nn import audit
    from gspnl.nn.auditing.features import blocks_of
    from gspnl.train.figures.evaluation import evaluation_images, open_run

    for name in ("weights", "input"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name} is of a network from a function or file, and {options.model!r} is read "
                "as a run of gspnl train; write package.module:function, or leave it out"
            )
    wanted = None if options.recipe is None else train.recipe(options.recipe)
    try:
        recipe, model = open_run(options.model, wanted)
    except FileError as error:
        if Path(options.model).exists():
            raise
        raise FileError(
            f"{error}; or write package.module:function, or name a file .pt2, .onnx or TorchScript"
        ) from error
    blocks_of(model)  # raises before the data are read
    images, _ = evaluation_images(
        recipe, options.data, options.image, options.images, options.seed, runs=[options.model]
    )
    info(f"auditing on {len(images)} test images of {recipe.data}")
    return audit(model, images, nodes=options.nodes, seconds=options.seconds, k=options.k)
