"""Decoders that are small enough for the core."""

from __future__ import annotations

from asrkit.decoders.ctc import CTCHead

__all__ = ["CTCHead"]
