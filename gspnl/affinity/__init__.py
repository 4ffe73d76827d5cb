"""From features X to the normalised affinity A: kernels, storages of W, degrees, scales."""
