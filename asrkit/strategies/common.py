"""What strategies that go by frames share."""

from __future__ import annotations

import math

from asrkit.errors import BackendError
from asrkit.interfaces import Backend
from asrkit.values import Request

__all__ = ["check_request", "check_score"]


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
