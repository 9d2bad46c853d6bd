"""Rows into batches, and batches into the sizes a backend likes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np

from asrkit.arrays import Features
from asrkit.interfaces import Backend

__all__ = ["chunks", "to_device"]

Item = TypeVar("Item")


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of up to ``size`` items, in order."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def to_device(features: Features, backend: Backend) -> Features:
    """Host features on a backend, padded with empty rows and zero frames to its buckets."""
    batch, time, _ = features.values.shape
    rows, frames = backend.bucket("batch", batch) - batch, backend.bucket("time", time) - time
    values = np.pad(features.values, ((0, rows), (0, frames), (0, 0))) if rows or frames else features.values
    lengths = np.pad(features.lengths, (0, rows))
    return Features(backend.asarray(values), backend.asarray(lengths))
