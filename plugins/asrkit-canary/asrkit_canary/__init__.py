"""NVIDIA's Canary family as an asrkit plugin."""

__version__ = "0.1.0"
