"""Segmenters of the core: recordings to clips, and back."""
