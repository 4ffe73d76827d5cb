"""What the files of the CIFAR sets are called, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way that a set is published: a folder, its files and the one with the classes' names."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    key: str = ""  # of the labels, in the python form
    meta_key: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A set of 3 × 32 × 32 images [1]_.

    Parameters
    ----------
    name : str
    classes : int
    label_bytes, label : int
        Of a binary record: how many bytes come before the pixels, and which of them is the label.
    records : pair of int
        In a file of the training split, and in one of the test split.
    mean, std : tuple of float
        Of each channel over all pixels of the training images, of values in [0, 1].

    References
    ----------
    .. [1] A. Krizhevsky, Learning multiple layers of features from tiny images, 2009;
       https://www.cs.toronto.edu/~kriz/cifar.html describes the files.
    """

    name: str
    classes: int
    binary: Form
    python: Form
    label_bytes: int
    label: int
    records: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


CIFAR10 = Published(
    name="cifar10",
    classes=10,
    binary=Form(
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test=("test_batch.bin",),
        meta="batches.meta.txt",
    ),
    python=Form(
        folder="cifar-10-batches-py",
        train=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test=("test_batch",),
        meta="batches.meta",
        key="labels",
        meta_key="label_names",
    ),
    label_bytes=1,
    label=0,
    records=(10_000, 10_000),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)


def _hundred(name: str, classes: int, label: int, kind: str) -> Published:
    return Published(
        name=name,
        classes=classes,
        binary=Form(
            folder="cifar-100-binary",
            train=("train.bin",),
            test=("test.bin",),
            meta=f"{kind}_label_names.txt",
        ),
        python=Form(
            folder="cifar-100-python",
            train=("train",),
            test=("test",),
            meta="meta",
            key=f"{kind}_labels",
            meta_key=f"{kind}_label_names",
        ),
        label_bytes=2,
        label=label,
        records=(50_000, 10_000),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )


CIFAR100 = _hundred("cifar100", 100, 1, "fine")
CIFAR100_COARSE = _hundred("cifar100_coarse", 20, 0, "coarse")
