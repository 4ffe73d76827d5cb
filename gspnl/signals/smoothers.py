"""Responses of the denoising methods, by their strength."""

from __future__ import annotations

from collections.abc import Callable

from gspnl._base.registry import Registry
from gspnl.responses import RESPONSES, Response

SMOOTHERS: Registry[Callable[[float], Response]] = Registry("method")
for name in ("tikhonov", "heat"):
    SMOOTHERS.register(name)(RESPONSES[name])

POLYNOMIAL = "polynomial"
METHODS: Registry[str] = Registry("method")  # names, for errors
for name in (*SMOOTHERS, POLYNOMIAL):
    METHODS.register(name)(name)
