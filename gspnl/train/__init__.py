"""Experiments: backbones with nonlocal blocks, data, recipes, a loop that loses nothing, tables."""
