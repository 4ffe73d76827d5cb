"""What every room builds on: arrays, threads over rows, validation, files, linear algebra."""
