"""Read and write single blocks: our own files, and state dicts of other codes."""
