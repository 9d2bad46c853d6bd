"""What lies in the cache of the hub, and how it is deleted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import attrs
from huggingface_hub import HFCacheInfo, constants, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from asrkit.errors import HubError
from asrkit.hub.problems import cause, quiet

__all__ = ["CachedModel", "cache_path", "cached_models", "remove"]


@attrs.frozen
class CachedModel:
    """One revision of a repository in the cache."""

    repo: str
    commit: str
    size: int
    """Bytes."""
    last_used: float
    """Seconds since 1970, as far as the file system keeps it; of the whole repository."""
    path: Path
    files: tuple[str, ...]


def cache_path() -> Path:
    """The cache of the hub. It may not exist yet."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def cached_models() -> list[CachedModel]:
    """Every revision of every model repository in the cache, by name, also of models that asrkit cannot run.

    Raises:
        HubError: the cache cannot be read.
    """
    info = _scan()
    repos = [] if info is None else [repo for repo in info.repos if repo.repo_type == "model"]
    return [
        CachedModel(
            repo=repo.repo_id,
            commit=revision.commit_hash,
            size=revision.size_on_disk,
            last_used=repo.last_accessed,
            path=revision.snapshot_path,
            files=tuple(
                sorted(file.file_path.relative_to(revision.snapshot_path).as_posix() for file in revision.files)
            ),
        )
        for repo in sorted(repos, key=lambda repo: repo.repo_id)
        for revision in sorted(repo.revisions, key=lambda revision: revision.last_modified)
    ]


def remove(name: str) -> int:
    """Delete a model repository from the cache, with all its revisions.

    Returns:
        The bytes that were freed.

    Raises:
        HubError: it is not there, or cannot be deleted.
    """
    info = _scan()
    found = [] if info is None else [repo for repo in info.repos if (repo.repo_type, repo.repo_id) == ("model", name)]
    if info is None or not found:
        raise HubError(f"{name}: is not in the cache {cache_path()}")
    (repo,) = found
    # It looks commits up in all repositories, and copies of a repository share theirs: only this one is to be seen.
    alone = dataclasses.replace(info, repos=frozenset(found))
    strategy = alone.delete_revisions(*(revision.commit_hash for revision in repo.revisions))
    try:
        with quiet():
            strategy.execute()
    except OSError as error:
        raise HubError(f"{error.filename}: cannot be deleted: {error.strerror or error}") from None
    if repo.repo_path.exists():  # the client only logs that it lacks the right
        raise HubError(f"{repo.repo_path}: cannot be deleted; is it yours, and may you write there?")
    return strategy.expected_freed_size


def _scan() -> HFCacheInfo | None:
    """What is in the cache; None where there is none."""
    try:
        with quiet():
            return scan_cache_dir(cache_path())
    except CacheNotFound:
        return None
    except (OSError, ValueError) as error:
        raise HubError(f"{cache_path()}: the cache of the hub cannot be read: {cause(error)}") from None
