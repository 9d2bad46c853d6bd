"""Files of a model repository, from the cache or from the network."""

from __future__ import annotations

import logging
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from huggingface_hub import (
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, OfflineModeIsEnabled, RevisionNotFoundError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in __all__
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, tqdm

from asrkit.errors import HubError, UsageError
from asrkit.hub.cache import cache_path
from asrkit.hub.problems import broken_download, cause, no_room, problem, quiet
from asrkit.storage import size_text

__all__ = ["Fetched", "Repository"]

_LOGGER = logging.getLogger("asrkit")
_WARNED: set[str] = set()


@attrs.frozen
class Fetched:
    """A file in the cache."""

    path: Path
    commit: str


@attrs.frozen
class Repository:
    """A model repository at one revision.

    Args:
        name: ``owner/repo``.
        revision: a branch, tag or commit.
        asked: how the user named the model, for messages.
        hint: what to add where there is no such repository, or nobody can know.
        tell: is told, in a line, what is downloaded; on a terminal there is a progress bar instead. None: neither.

    Raises:
        UsageError: no repository can have that name.
    """

    name: str
    revision: str
    asked: str
    hint: str = ""
    tell: Callable[[str], None] | None = None

    def __attrs_post_init__(self) -> None:
        try:
            validate_repo_id(self.name)
        except HFValidationError as error:
            raise UsageError(f"{self.asked}: names no file of this machine, and none of the hub: {error}") from None

    @property
    def pinned(self) -> bool:
        """Whether the revision is a full commit, which never changes."""
        return re.fullmatch("[0-9a-f]{40}", self.revision) is not None

    def fetch(self, file: str) -> Fetched:
        """A file, downloaded unless the cache has it as it is at this revision.

        Where the hub cannot be asked, the cache has to do, and a warning says so.

        Raises:
            HubError: it is neither on the hub, as far as that can be known, nor in the cache; or cannot be written.
        """
        found = self.cached(file)
        if found is not None and self.pinned:
            return found
        endpoint = constants.ENDPOINT
        with quiet():
            try:
                url = hf_hub_url(self.name, file, revision=self.revision, endpoint=endpoint)
                newest = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT, endpoint=endpoint)
            except Exception as error:
                if found is None or isinstance(error, RevisionNotFoundError | EntryNotFoundError):
                    raise problem(self, file, error) from None
                self._warn_of_age(error)
                return found
            if found is None or found.commit != newest.commit_hash:
                return self._download(file, newest)
            size = found.path.stat().st_size
            if newest.size in (None, size):
                return found
            _LOGGER.warning("%s: has %s bytes and should have %s; downloaded again", found.path, size, newest.size)
            return self._download(file, newest, again=True)

    def cached(self, file: str) -> Fetched | None:
        """A file as the cache has it, without network, or None."""
        found = try_to_load_from_cache(self.name, file, cache_dir=cache_path(), revision=self.revision)
        return _fetched(Path(found), file) if isinstance(found, str) else None

    def files(self) -> tuple[str, ...]:
        """Names of the files in the repository; where the hub cannot be asked, of those in the cache.

        Raises:
            HubError: the hub cannot be asked and nothing is in the cache, or there is no such repository or revision.
        """
        with quiet():
            try:
                return self._listing()
            except Exception as error:
                found = self.cached_files()
                if not found or isinstance(error, RevisionNotFoundError):
                    raise problem(self, "", error) from None
                self._warn_of_age(error)
                return found

    def archives(self) -> tuple[str, ...]:
        """Names of the ``.nemo`` files in the repository; none if the hub does not tell."""
        try:
            return tuple(name for name in self._listing() if name.endswith(".nemo"))
        except Exception:  # of the client, its transport or the disk: this only adds to a message about another problem
            return ()

    def cached_files(self) -> tuple[str, ...]:
        """Names of the files that the cache has of this revision, without network."""
        reference = self._folder() / "refs" / self.revision
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else self.revision
        snapshot = self._folder() / "snapshots" / commit
        return tuple(sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()))

    def _listing(self) -> tuple[str, ...]:
        api = HfApi(endpoint=constants.ENDPOINT)
        info = api.model_info(self.name, revision=self.revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        return tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))

    def _folder(self) -> Path:
        return cache_path() / repo_folder_name(repo_id=self.name, repo_type="model")

    def _download(self, file: str, newest: Any, again: bool = False) -> Fetched:
        """Download a file, or only link it if the cache has its content from another commit."""
        size: int | None = newest.size
        bar = self.tell is not None and _on_a_terminal() and not are_progress_bars_disabled()
        if again or not (self._folder() / "blobs" / str(newest.etag)).exists():
            free = _free()
            if size is not None and free is not None and free < size:
                raise no_room(self, file, size, free)
            if self.tell is not None and not bar:
                self.tell(f"downloading {self.name}: {file}" + ("" if size is None else f", {size_text(size)}"))
        try:
            path = Path(
                hf_hub_download(
                    self.name,
                    file,
                    revision=self.revision,
                    cache_dir=cache_path(),
                    endpoint=constants.ENDPOINT,
                    force_download=again,
                    tqdm_class=_Bar if bar else _NoBar,
                )
            )
            found = path.stat().st_size
        except Exception as error:
            raise broken_download(self, file, size, error) from None
        if size is not None and found != size:
            path.unlink()
            raise HubError(f"{self.asked}: {file} has {found} bytes, not {size}; run the same command again")
        return _fetched(path, file)

    def _warn_of_age(self, error: Exception) -> None:
        """Say, once, that the cache may be out of date. Who asked to be offline, or for a commit, knows."""
        if isinstance(error, OfflineModeIsEnabled) or self.pinned or self.name in _WARNED:
            return
        _WARNED.add(self.name)
        _LOGGER.warning(
            "%s: %s could not be asked for a newer %r (%s); what is in the cache is used",
            *(self.name, constants.ENDPOINT, self.revision, cause(error)),
        )


class _Bar(tqdm):
    """The client's progress bar, labelled with the file's name where it would have the end of an address."""

    def __init__(self, *args: Any, **options: Any) -> None:
        label = str(options.get("desc") or "").rpartition("/")[2]
        super().__init__(*args, **{**options, "desc": label})  # type: ignore[no-untyped-call]


class _NoBar(tqdm):
    """A progress bar that is never shown."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]


def _on_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _free() -> int | None:
    """Bytes that are free where the cache is, or will be."""
    place = next(path for path in (cache_path(), *cache_path().absolute().parents) if path.exists())
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _fetched(path: Path, file: str) -> Fetched:
    """A file of a snapshot folder, which is named after its commit."""
    return Fetched(path, path.parents[file.count("/")].name)
