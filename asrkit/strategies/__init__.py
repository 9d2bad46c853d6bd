"""Strategies of the core: searches over a family of decoders."""
