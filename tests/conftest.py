"""Threads of parallel test runs, and fixtures that every test may ask for."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # set before NumPy and torch are imported
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # threads of several workers would wait for each other


@pytest.fixture
def tiny_registered():
    """The data set and the backbone "tiny" of support/train_tiny.py, while a test runs."""
    from support.train_tiny import registered

    with registered():
        yield
