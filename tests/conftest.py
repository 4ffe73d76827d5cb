"""Fixtures that every test may ask for."""

import pytest


@pytest.fixture
def tiny_registered():
    """The data set and the backbone "tiny" of support/train_tiny.py, while a test runs."""
    from support.train_tiny import registered

    with registered():
        yield
