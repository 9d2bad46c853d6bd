"""What can go wrong with the hub, each in one line: what was asked, what was found, what to do."""

from __future__ import annotations

import errno
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from asrkit.errors import HubError, listed
from asrkit.storage import size_text

if TYPE_CHECKING:
    from asrkit.hub.repository import Repository

__all__ = ["broken_download", "cause", "no_room", "problem", "quiet"]

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
ELSEWHERE = "set HF_HOME to a folder on another disk"

_QUIET = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back the client's own log and warnings, unless its user asked for them: ours get one line of us."""
    logger = logging.getLogger("huggingface_hub")
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logger.level
        if not (constants.HF_DEBUG or os.environ.get("HF_HUB_VERBOSITY")):
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)


def problem(repository: Repository, file: str, error: Exception) -> HubError:
    """What the hub answered, or why it did not.

    Args:
        file: what was wanted of the repository; empty for the list of its files.
    """
    name, revision = repository.name, repository.revision
    home = f"{constants.ENDPOINT}/{name}"
    what = f"{file} of {name}" if file else name
    if isinstance(error, GatedRepoError):
        text = (
            f"access to {name} has to be granted: accept its terms at {home}, then log in with `hf auth login` or set "
            "HF_TOKEN"
        )
    elif isinstance(error, RepositoryNotFoundError):
        text = (
            f"there is no repository {name} at {constants.ENDPOINT}, or it is private; for a private one log in with "
            f"`hf auth login` or set HF_TOKEN{repository.hint}"
        )
    elif isinstance(error, RevisionNotFoundError):
        text = f"{name} has no revision {revision!r}; {home}/tree/main shows its branches, tags and commits"
    elif isinstance(error, EntryNotFoundError) and isinstance(error, HfHubHTTPError):
        archives = [f"hf:{name}/{other}@{revision}" for other in repository.archives()]
        text = f"{name} has no file {file!r} at revision {revision!r}; its .nemo files: {listed(archives)}"
    elif isinstance(error, HfHubHTTPError):
        text = f"{constants.ENDPOINT} refuses {what}: {_answer(error)}"
    else:
        offline = isinstance(error, OfflineModeIsEnabled)
        why = "HF_HUB_OFFLINE is set" if offline else f"{constants.ENDPOINT} cannot be reached ({cause(error)})"
        text = (
            f"{what} is not in the cache {constants.HF_HUB_CACHE}, and {why}{repository.hint}; "
            f"run `asrkit pull {repository.asked}` where there is a network, or copy the .nemo file from elsewhere and "
            "give its path"
        )
    return HubError(f"{repository.asked}: {text}")


def broken_download(repository: Repository, file: str, size: int | None, error: Exception) -> HubError:
    """Why a download that had begun did not end well.

    Args:
        size: of the file in bytes, if that is known.
    """
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError | OfflineModeIsEnabled):
        return problem(repository, file, error)
    if isinstance(error, OSError) and error.errno in FULL:
        return no_room(repository, file, size)
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        text = f"the cache cannot be written: {error.filename}: {error.strerror}; make it writable, or {ELSEWHERE}"
    else:
        text = f"the download of {file} broke off ({cause(error)}); run the same command again"
    return HubError(f"{repository.asked}: {text}")


def no_room(repository: Repository, file: str, size: int | None, free: int | None = None) -> HubError:
    """That the disk is too small for a file.

    Args:
        size: of the file in bytes, if that is known.
        free: bytes that are free, if that is known.
    """
    needed = "" if size is None else f", {size_text(size)},"
    there = "" if free is None else f" ({size_text(free)} are free)"
    return HubError(
        f"{repository.asked}: there is no room for {file}{needed} in {constants.HF_HUB_CACHE}{there}; make room "
        f"(`asrkit cache` shows what is there), or {ELSEWHERE}"
    )


def _answer(error: HfHubHTTPError) -> str:
    """What the hub answered, and what to do about it."""
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())
    if status == 401:
        advice = "the token is not valid; log in again with `hf auth login`, or correct HF_TOKEN"
    elif status == 403:
        advice = "the token may lack the right to read it; see `hf auth whoami`"
    else:
        advice = "try again later"
    return f"{status}{said and f' ({said})'}; {advice}"


def cause(error: BaseException) -> str:
    """An exception in a few words."""
    if isinstance(error, HfHubHTTPError):
        return f"it answers {error.response.status_code}"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    name = type(error).__name__
    return f"{name}: {first}".removesuffix(".") if first else name
