"""The feature graph, and graphs from and to other libraries."""
