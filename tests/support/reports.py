"""A small photo, the settings of its report, and the lines that are logged."""

import logging
from contextlib import contextmanager

import numpy as np
from PIL import Image

from gspnl.report import Settings

SMALL = Settings(rank=12, orders="1:6", pixels=((3, 2), (30, 25)))


def picture(path, height=30, width=40):
    """Four areas of different colours, with some noise."""
    rng = np.random.default_rng(0)
    areas = np.array([[0.9, 0.2, 0.1], [0.1, 0.3, 0.9], [0.2, 0.7, 0.2], [0.8, 0.8, 0.7]])
    y, x = np.indices((height, width))
    photo = areas[2 * (y > height / 2) + (x > width / 2)] + 0.04 * rng.standard_normal(
        (height, width, 3)
    )
    Image.fromarray((255 * np.clip(photo, 0, 1)).astype(np.uint8)).save(path)
    return path


@contextmanager
def logged():
    """Collect the lines that gspnl logs."""
    lines, logger = [], logging.getLogger("gspnl")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")
