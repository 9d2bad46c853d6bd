"""From what a user calls a model to what is known about it and to its files on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from asrkit.errors import CheckpointError, PluginError, UnknownNameError, UsageError, listed, suggestion
from asrkit.models import HubSource, ModelSpec, PathSource
from asrkit.plugins import restricted
from asrkit.registry import Registry

if TYPE_CHECKING:
    from asrkit.hub.repository import Fetched, Repository

__all__ = ["Found", "find_model", "name_model", "spec_for", "specs_of_repo"]

HUB = "hf:"
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")


class Found(NamedTuple):
    """A model's files on this machine."""

    spec: ModelSpec | None
    """None for a checkpoint that nobody knows by name."""
    path: str
    revision: str | None
    """The commit it was fetched at; None for what was not fetched from the hub."""


def find_model(registry: Registry, name: str, tell: Callable[[str], None] | None = None) -> Found:
    """A model's spec and files; what lies on the hub is downloaded unless the cache has it.

    Args:
        name: as for :func:`name_model`.
        tell: is told, in a line, what is downloaded; on a terminal there is a progress bar instead. None: neither.

    Raises:
        HubError: it cannot be had from the hub.
        UsageError, CheckpointError: as for :func:`name_model`; a repository without one model that can be run.
    """
    spec, source = name_model(registry, name)
    if isinstance(source, PathSource):
        return Found(spec, source.path, None)

    from asrkit.hub.repository import Repository

    known = {known.name for known in _hub_specs(registry)} | {known.source.repo for known in _hub_specs(registry)}
    near = suggestion(source.repo, known) or suggestion(source.repo.partition("/")[2], known)
    nowhere = "; there is no file or folder of that name here either" if name.startswith(source.repo) else ""
    repository = Repository(source.repo, source.revision, name, nowhere + near * (spec is None), tell)
    fetched = repository.fetch(source.file) if source.file else _only_model(registry, repository)
    return Found(spec, str(fetched.path), fetched.commit)


def name_model(registry: Registry, name: str) -> tuple[ModelSpec | None, HubSource | PathSource]:
    """What a user's name for a model means, without asking the network.

    Args:
        name: a path; a registered name or ``owner/repo``, each with ``@revision`` if wanted; or what ``str`` makes of a
            HubSource. A path that exists goes before all else.

    Raises:
        UsageError: it names nothing, in a way that was wrong from the start.
        CheckpointError: it is a path, and nothing is there.
    """
    if not name:
        raise UsageError("no model was named; give a name from `asrkit models` or a path")
    if os.path.exists(name):
        return None, PathSource(name)
    if name.startswith(HUB):
        return _hub_name(registry, name)
    short, at, revision = name.partition("@")
    if REPO.fullmatch(short) and not short.endswith(".nemo"):
        return _known(registry, HubSource(short, "", _revision(name, at, revision)), bool(at))
    nothing = CheckpointError(f"{name}: there is no such file or folder{_by_name(registry, name)}")
    if os.sep in short or "/" in short or short.endswith(".nemo"):
        raise nothing
    try:
        spec: ModelSpec = registry.get("model", short).factory
    except UnknownNameError as error:
        if os.sep in name or "/" in name:
            raise nothing from None
        hint = "or give the path of a .nemo file, or owner/repo of a model on the Hugging Face hub"
        raise UnknownNameError(f"{error}; {hint}") from None
    if not at:
        return spec, spec.source
    if isinstance(spec.source, PathSource):
        raise UsageError(f"model {short!r} is a file of this machine and has no revisions; leave {at + revision!r} out")
    return spec, attrs.evolve(spec.source, revision=_revision(name, at, revision))


def _hub_name(registry: Registry, name: str) -> tuple[ModelSpec | None, HubSource]:
    """What ``hf:owner/repo/file@revision`` means."""
    place, at, revision = name.removeprefix(HUB).partition("@")
    owner, _, rest = place.partition("/")
    short, slash, file = rest.partition("/")
    if not REPO.fullmatch(f"{owner}/{short}") or (slash and {"", ".", ".."} & set(file.split("/"))):
        raise UsageError(
            f"{name}: a model on the hub is written hf:owner/repo or hf:owner/repo/file.nemo, @revision behind"
        )
    return _known(registry, HubSource(f"{owner}/{short}", file, _revision(name, at, revision)), bool(at))


def _revision(name: str, at: str, revision: str) -> str:
    if at and (not REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"{name}: behind @ stands a branch, a tag or a commit, found {revision!r}")
    return revision or "main"


def _known(registry: Registry, source: HubSource, exact: bool) -> tuple[ModelSpec | None, HubSource]:
    """A model of the hub with its spec, if somebody knows it, and the revision of that unless another was asked for."""
    specs = [spec for spec in specs_of_repo(registry, source.repo) if source.file in ("", spec.source.file)]
    if len(specs) != 1:
        return None, source
    own = specs[0].source
    return specs[0], attrs.evolve(own, revision=source.revision if exact else own.revision)


def specs_of_repo(registry: Registry, repo: str) -> list[Any]:
    """The specs that a repository of the hub is the source of."""
    return [spec for spec in _hub_specs(registry) if spec.source.repo.casefold() == repo.casefold()]


def _hub_specs(registry: Registry) -> Iterator[Any]:
    for entry in registry.entries("model"):
        if isinstance(entry.factory.source, HubSource):
            yield entry.factory


def _by_name(registry: Registry, path: str) -> str:
    """What to say to somebody who gives the name of a published file."""
    for spec in _hub_specs(registry):
        if spec.source.file == path:
            return f"; the name {spec.name!r} downloads it"
    return ""


def _only_model(registry: Registry, repository: Repository) -> Fetched:
    """The one model of a repository: its ``.nemo`` file, else the folder of a conversion."""
    if repository.pinned:
        here = [file for file in repository.cached_files() if file.endswith(".nemo")]
        if len(here) == 1:
            return repository.fetch(here[0])
    files = repository.files()
    archives = [file for file in files if file.endswith(".nemo")]
    if len(archives) == 1:
        return repository.fetch(archives[0])
    if archives:
        names = listed(str(HubSource(repository.name, file, repository.revision)) for file in archives)
        raise UsageError(f"{repository.asked}: holds several models; name one of them: {names}")

    from asrkit.checkpoints.configuration import read_json
    from asrkit.checkpoints.directory import CONFIG, WEIGHTS
    from asrkit.checkpoints.nemo import plain_name

    if not {CONFIG, WEIGHTS} <= set(files):
        raise CheckpointError(
            f"{repository.asked}: holds no model that asrkit can read: no .nemo file, and no {CONFIG} with {WEIGHTS}"
        )
    first = repository.fetch(CONFIG)
    config = read_json(first.path.read_bytes(), f"{repository.asked}: {CONFIG}")
    spec_for(registry, config, repository.asked)  # before the weights come, which may take an hour
    one = attrs.evolve(repository, revision=first.commit)
    for file in sorted({plain_name(text) for text in _texts(config)} & set(files) - {CONFIG, WEIGHTS}):
        one.fetch(file)
    one.fetch(WEIGHTS)
    return attrs.evolve(first, path=first.path.parent)


def _texts(value: Any) -> Iterator[str]:
    """Every string in a configuration."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one


def spec_for(registry: Registry, config: Mapping[str, Any], where: object) -> ModelSpec:
    """A spec whose builder takes checkpoints of the class that a configuration names.

    Args:
        where: what the configuration belongs to, for messages.

    Raises:
        CheckpointError: no plugin builds that class.
        PluginError: several do, each in its own way.
    """
    target = str(config.get("target", "")).rpartition(".")[2]
    specs = [entry.factory for entry in registry.entries("model")]
    fitting = [spec for spec in specs if target in spec.targets]
    if not fitting:
        known = {name for spec in specs for name in spec.targets}
        raise CheckpointError(
            f"{where}: its configuration names the class {target!r}, which no installed plugin builds; "
            f"there is: {listed(known)}{restricted()}"
        )
    if len({str(spec.build) for spec in fitting}) > 1:
        raise PluginError(f"{where}: several plugins build {target!r}; restrict them with ASRKIT_PLUGINS")
    spec: ModelSpec = fitting[0]
    return spec
