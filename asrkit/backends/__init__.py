"""Backends of the core: ``numpy`` everywhere, ``mlx`` where it is installed."""
