"""What strategies share: checks of options, requests and scores, and what a transducer keeps from step to step."""

from __future__ import annotations

import math
from typing import Any

from asrkit.arrays import Array, map_tree
from asrkit.errors import BackendError, OptionError
from asrkit.interfaces import Backend
from asrkit.values import Request

__all__ = [
    "check_beam_size",
    "check_confidence_measure",
    "check_max_symbols",
    "check_n_best",
    "check_request",
    "check_score",
    "renewed",
]


def check_beam_size(options: Any, attribute: Any, value: int) -> None:
    """Validator of the option ``beam_size``."""
    if value < 1:
        raise OptionError(f"beam_size is a whole number from 1 on, found {value}")


def check_confidence_measure(options: Any, attribute: Any, value: str) -> None:
    """Validator of the option ``confidence_measure``, which comes after ``confidence``."""
    if value != "entropy" and not options.confidence:
        raise OptionError("confidence_measure is for confidence=yes, which was not asked for")


def check_max_symbols(options: Any, attribute: Any, value: int) -> None:
    """Validator of the option ``max_symbols``."""
    if value < 1:
        raise OptionError(f"max_symbols must be a whole number from 1 on, found {value!r}")


def check_n_best(options: Any, attribute: Any, value: int) -> None:
    """Validator of the option ``n_best``, which comes after ``beam_size``."""
    if not 1 <= value <= options.beam_size:
        raise OptionError(f"n_best is a whole number from 1 to the beam_size of {options.beam_size}, found {value}")


def check_request(request: Request) -> None:
    """Raise ValueError for what a search by frames cannot do: it takes no prompt, and no token ends it."""
    if request.prompt or request.stops or request.suppress_first:
        raise ValueError("a search by frames takes no prompt, no stop tokens and no suppressed tokens")


def check_score(score: float, backend: Backend) -> None:
    """Raise BackendError for a score that is no number."""
    if not math.isfinite(score):
        raise BackendError(
            f"the model computed NaN or infinity on backend {backend.name!r}: the recording or the checkpoint is "
            "damaged, or the precision too low"
        )


def renewed(xp: Any, fresh: Array, new: Any, old: Any) -> Any:
    """A tree with the rows of ``new`` where ``fresh`` (B,) is True, and those of ``old`` elsewhere. Graph code."""

    def choose(a: Array, b: Array) -> Array:
        # One more axis for each that the array has behind its rows.
        return xp.where(fresh[(slice(None), *[None] * (len(a.shape) - 1))], a, b)

    return map_tree(choose, new, old)
