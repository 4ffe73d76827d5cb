"""The feature graph, its construction, and conversions from and to other libraries."""
