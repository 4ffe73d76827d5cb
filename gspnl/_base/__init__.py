"""Foundations: arrays, threads over rows, validation, files, linear algebra."""
