"""NVIDIA's Parakeet family as an asrkit plugin."""

__version__ = "0.1.0"
