"""What a user's name for a model means. Nothing here asks the network."""

from __future__ import annotations

import os
import re

import attrs
import pytest

from asrkit.errors import CheckpointError, UnknownNameError, UsageError
from asrkit.models import HubSource, PathSource
from asrkit.sources import name_model, specs_of_repo

COMMIT = "1" * 40


@pytest.fixture
def registry(install, family, tmp_path, monkeypatch):
    """A model in a file, one on the hub, one of two in a repository, and one that is a whole repository."""
    monkeypatch.chdir(tmp_path)
    sources = {
        "far-away": HubSource("some/repo", "far.nemo"),
        "whole": HubSource("some/whole", revision="v3"),
        "left": HubSource("some/two", "left.nemo"),
        "right": HubSource("some/two", "right.nemo"),
    }
    specs = [family.spec("speller", "speller.nemo")]
    specs += [attrs.evolve(family.spec(name), source=source) for name, source in sources.items()]

    def models(register):
        for spec in specs:
            register(spec)

    return install(fake={"register_models": models}).registry


@pytest.mark.parametrize(
    ("name", "spec", "source"),
    [
        ("speller", "speller", "speller.nemo"),
        ("fake:speller", "speller", "speller.nemo"),
        ("far-away", "far-away", "hf:some/repo/far.nemo@main"),
        (f"far-away@{COMMIT}", "far-away", f"hf:some/repo/far.nemo@{COMMIT}"),
        ("far-away@refs/pr/1", "far-away", "hf:some/repo/far.nemo@refs/pr/1"),
        ("some/repo", "far-away", "hf:some/repo/far.nemo@main"),
        ("Some/Repo", "far-away", "hf:some/repo/far.nemo@main"),
        ("some/repo@refs/pr/1", "far-away", "hf:some/repo/far.nemo@refs/pr/1"),
        ("hf:some/repo/far.nemo@main", "far-away", "hf:some/repo/far.nemo@main"),
        ("hf:some/repo", "far-away", "hf:some/repo/far.nemo@main"),
        ("hf:some/repo/other.nemo", None, "hf:some/repo/other.nemo@main"),
        ("whole", "whole", "hf:some/whole@v3"),
        ("some/whole", "whole", "hf:some/whole@v3"),
        ("some/whole@main", "whole", "hf:some/whole@main"),
        ("some/two", None, "hf:some/two@main"),
        ("hf:some/two/left.nemo", "left", "hf:some/two/left.nemo@main"),
        ("other/repo@v1.0", None, "hf:other/repo@v1.0"),
        ("hf:other/repo/a/b c.nemo@v1.0", None, "hf:other/repo/a/b c.nemo@v1.0"),
    ],
)
def test_names(registry, name, spec, source):
    known, found = name_model(registry, name)
    assert (known and known.name, str(found)) == (spec, source)
    if isinstance(found, HubSource):
        assert name_model(registry, str(found)) == (known, found)  # it can be typed back


@pytest.mark.parametrize("name", ["speller", "far-away", "some/repo", "hf:some", "x@y", "models/en/x.nemo"])
def test_what_is_here_goes_before_all_else(registry, tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    assert name_model(registry, name) == (None, PathSource(name))


@pytest.mark.parametrize(
    "name",
    ["models/en/x.nemo", "./x", "../x/y", "/x/y", "x.nemo", "x/y.nemo", "a/b/c", "checkpoint/", "x.nemo@main", "x@1/y"],
)
def test_mistyped_paths(registry, name):
    with pytest.raises(CheckpointError, match=f"^{re.escape(name)}: there is no such file or folder$"):
        name_model(registry, name)


def test_separators_of_this_platform(registry):
    with pytest.raises(CheckpointError, match="no such file"):
        name_model(registry, os.path.join("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no model was named; give a name from `asrkit models` or a path"),
        ("speller@v1", "model 'speller' is a file of this machine and has no revisions; leave '@v1' out"),
        ("far-away@", "far-away@: behind @ stands a branch, a tag or a commit, found ''"),
        ("some/repo@../x", "some/repo@../x: behind @ stands a branch, a tag or a commit, found '../x'"),
        ("some/repo@a/../b", "some/repo@a/../b: behind @ stands a branch, a tag or a commit, found 'a/../b'"),
        *(
            (name, f"{name}: a model on the hub is written hf:owner/repo or hf:owner/repo/file.nemo, @revision behind")
            for name in ("hf:", "hf:some", "hf:some/repo/", "hf:some/repo/../x.nemo", "hf://some/repo")
        ),
    ],
)
def test_wrong_from_the_start(registry, name, message):
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        name_model(registry, name)


@pytest.mark.parametrize("name", ["far-awai", "far-awai@main"])
def test_unknown_names(registry, name):
    with pytest.raises(
        UnknownNameError, match=r"there is no model 'far-awai' \(did you mean 'far-away'\?\).*owner/repo"
    ):
        name_model(registry, name)


def test_a_published_file_is_told_by_its_name(registry):
    with pytest.raises(CheckpointError, match=r"no such file or folder; the name 'far-away' downloads it$"):
        name_model(registry, "far.nemo")


def test_specs_of_a_repository(registry):
    assert [spec.name for spec in specs_of_repo(registry, "some/two")] == ["left", "right"]
    assert specs_of_repo(registry, "no/thing") == []
