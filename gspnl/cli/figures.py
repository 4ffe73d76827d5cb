"""``gspnl figures``: draw the paper's figures of trained networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gspnl.cli.options import add_out, add_output, add_test_images
from gspnl.cli.status import DONE, info, show_json


def add(commands: Any) -> None:
    """Add the command to the parser."""
    figures = commands.add_parser(
        "figures",
        help="figures 1, 2, 4 and 5 of the paper, of trained networks",
        description="Draw the blocks of trained networks on test images: the range of their "
        "attention, the histograms of the powers of their affinity, maps of what they add, and "
        "the eigenvalues of their channel weights. Writes PNG files and figures.json, with the "
        "numbers of the pictures. Several runs are drawn side by side.",
        allow_abbrev=False,
    )
    figures.add_argument(
        "runs", metavar="RUN", nargs="+", help="a run folder or checkpoint of gspnl train"
    )
    add_test_images(
        figures,
        image="number of the test image of figures 1 and 2",
        count=4,
        images="how many from N on are in figure 4 and in the statistics",
        nodes="blocks of more positions have no histograms",
        seed="of the shuffled matrix beside the histograms",
    )
    figures.add_argument(
        "--position", metavar="Y,X", help="reference pixel of figure 1 (default: the middle)"
    )
    add_out(figures, "gspnl-figures", "folder to write")
    add_output(figures, "figures.json")
    figures.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from gspnl.cli.log import log_to_stderr
    from gspnl.train.figures import write_figures
    from gspnl.train.figures.evaluation import IMAGES, check_same, evaluation_images, open_run

    position = parse_position(options.position)
    log_to_stderr(quiet=options.quiet)
    found = {path: open_run(path) for path in dict.fromkeys(options.runs)}
    check_same({path: recipe for path, (recipe, _) in found.items()}, IMAGES)
    recipe = next(iter(found.values()))[0]
    images, pictures = evaluation_images(
        recipe, options.data, options.image, options.images, runs=options.runs
    )
    networks = {name: found[path][1] for name, path in names_of(list(found)).items()}
    numbers = write_figures(
        networks, images, options.out, position=position, pictures=pictures.numpy(),
        nodes=options.nodes, seed=options.seed,
    )  # fmt: skip
    info(f"wrote {', '.join(numbers['files'])} and figures.json to {options.out}")
    if options.json:
        show_json(numbers)
    return DONE


def parse_position(text: str | None) -> tuple[int, ...] | None:
    """Parse ``"Y,X"``."""
    from gspnl.errors import InputError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--position={text!r} must be Y,X in pixels, such as 12,20") from None


def names_of(paths: list[str]) -> dict[str, str]:
    """Short names of paths: none for one, the last parts where these differ."""
    if len(paths) == 1:
        return {"": paths[0]}
    short = [Path(path).resolve().name for path in paths]
    return dict(zip(short if len(set(short)) == len(short) else paths, paths, strict=True))
