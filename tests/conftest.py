"""Lets the tests import their shared oracles under --import-mode=importlib, and shares fixtures."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def tiny_registered():
    """The data set and the backbone "tiny" of train_tiny.py, while a test runs."""
    from train_tiny import registered

    with registered():
        yield
