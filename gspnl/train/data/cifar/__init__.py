"""CIFAR-10 and CIFAR-100 as they are published."""

from gspnl.train.data.cifar.opening import open_cifar
from gspnl.train.data.cifar.published import CIFAR10, CIFAR100, CIFAR100_COARSE

__all__ = ["CIFAR10", "CIFAR100", "CIFAR100_COARSE", "open_cifar"]
