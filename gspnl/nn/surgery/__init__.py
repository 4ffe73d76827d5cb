"""Insert nonlocal blocks into networks, remove them, list them, and fold them for inference."""
