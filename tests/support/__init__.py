"""Oracles, data makers and small runs that several tests share."""
