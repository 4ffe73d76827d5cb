"""Trainable nonlocal blocks for torch."""
