"""Files from the hub through the real client: what is fetched, what is kept, and what everything that fails says."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from asrkit.errors import HubError

FIRST, SECOND = "1" * 40, "2" * 40
NAME, FILE, CONTENT = "some/repo", "sub/model.nemo", b"x" * 300_000


@pytest.fixture(autouse=True)
def _model(hub):
    hub.repos[NAME] = {FIRST: {FILE: CONTENT, "README.md": b"hello"}}


@pytest.fixture
def repository():
    from asrkit.hub.repository import Repository

    def repository(revision="main", **changes):
        return Repository(**{"name": NAME, "revision": revision, "asked": "asked"} | changes)

    return repository


@pytest.fixture
def refused():
    def refused(call, *parts):
        with pytest.raises(HubError) as caught:
            call()
        text = str(caught.value)
        assert text.startswith("asked: ")
        assert "\n" not in text
        for part in parts:
            assert part in text
        return text

    return refused


@pytest.mark.parametrize("revision", ["main", "v1", FIRST])
def test_a_file_is_fetched_once(hub, repository, revision):
    for _ in range(2):
        found = repository(revision).fetch(FILE)
        assert (found.path.read_bytes(), found.commit) == (CONTENT, FIRST)
    assert hub.downloads() == ["model.nemo"]


def test_a_commit_in_the_cache_needs_no_network(hub, repository, caplog):
    found = repository(FIRST).fetch(FILE)
    hub.requests.clear()
    hub.status = 500
    assert repository(FIRST).fetch(FILE) == found
    assert (hub.requests, caplog.records) == ([], [])


def test_a_branch_that_moved_is_followed(hub, repository):
    repository().fetch(FILE)
    hub.repos[NAME][SECOND] = {FILE: b"newer"}
    hub.heads["main"] = SECOND
    found = repository().fetch(FILE)
    assert (found.path.read_bytes(), found.commit) == (b"newer", SECOND)
    assert repository("v1").fetch(FILE).path.read_bytes() == CONTENT


def test_a_commit_that_leaves_the_file_alone_downloads_nothing(hub, repository):
    told = []
    repository(tell=told.append).fetch(FILE)
    hub.repos[NAME][SECOND] = hub.repos[NAME][FIRST] | {"README.md": b"new"}
    hub.heads["main"] = SECOND
    assert repository(tell=told.append).fetch(FILE).commit == SECOND
    assert (hub.downloads(), told) == (["model.nemo"], [f"downloading {NAME}: {FILE}, 300 kB"])


@pytest.mark.parametrize("trouble", ["closed", "status", "offline", "gated", "gone"])
def test_the_cache_has_to_do_where_the_hub_cannot_be_asked(hub, repository, caplog, monkeypatch, trouble):
    found = repository().fetch(FILE)
    if trouble == "closed":
        hub.close()
    elif trouble == "status":
        hub.status = 503
    elif trouble == "offline":
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif trouble == "gated":
        hub.gated.add(NAME)
    else:
        del hub.repos[NAME]
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert repository().fetch(FILE) == found
            assert repository().cached_files() == (FILE,)
    lines = [record.getMessage() for record in caplog.records]
    if trouble == "offline":
        assert lines == []  # that is what was asked for
    else:
        (line,) = lines
        assert line.startswith(f"{NAME}: {hub.url} could not be asked for a newer 'main' (")
        assert line.endswith("); what is in the cache is used")
        assert "\n" not in line
        assert ("it answers 503" in line) == (trouble == "status")


@pytest.mark.parametrize("away", ["revision", "file"])
def test_what_the_hub_says_is_not_there_is_not_taken_from_the_cache(hub, repository, refused, away):
    repository().fetch(FILE)
    if away == "revision":
        del hub.heads["main"]
    else:
        hub.repos[NAME][FIRST].pop(FILE)
    refused(lambda: repository().fetch(FILE), f"{NAME} has no {away}")


def test_gated(hub, repository, refused):
    hub.gated.add(NAME)
    refused(lambda: repository().fetch(FILE), f"accept its terms at {hub.url}/{NAME}", "`hf auth login`", "HF_TOKEN")


def test_no_such_repository(hub, repository, refused):
    call = repository(name="some/rope", hint=" (did you mean 'some/repo'?)").fetch
    text = refused(lambda: call(FILE), f"there is no repository some/rope at {hub.url}, or it is private")
    assert text.endswith("(did you mean 'some/repo'?)")
    refused(repository(name="some/rope").files, "there is no repository some/rope")


def test_no_such_revision(hub, repository, refused):
    for call in (lambda: repository("v2").fetch(FILE), repository("v2").files):
        refused(call, f"{NAME} has no revision 'v2'", f"{hub.url}/{NAME}/tree/main")


def test_no_such_file(repository, refused):
    refused(lambda: repository().fetch("x.nemo"), f"{NAME} has no file 'x.nemo' at", f"hf:{NAME}/{FILE}@main")


@pytest.mark.parametrize(
    ("status", "part"),
    [
        (401, "the token is not valid"),
        (403, "the token may lack the right"),
        (429, "try again later"),
        (500, "try again later"),
    ],
)
def test_a_hub_that_refuses(hub, repository, refused, status, part):
    hub.status = status
    refused(
        lambda: repository().fetch(FILE), f"{hub.url} refuses {FILE} of {NAME}: {status} (a line of the hub); {part}"
    )


def test_a_refused_token(hub, repository, refused, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.status = 401
    assert "hf_wrong" not in refused(lambda: repository().fetch(FILE), "correct HF_TOKEN")


def test_nothing_here_and_nobody_there(hub, repository, refused):
    hub.close()
    parts = (f"{FILE} of {NAME} is not in the cache", f"{hub.url} cannot be reached", "run `asrkit pull asked` where")
    refused(lambda: repository().fetch(FILE), *parts)
    refused(repository().files, f"{NAME} is not in the cache", *parts[1:])


def test_nothing_here_and_offline(hub, repository, refused, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(lambda: repository().fetch(FILE), "HF_HUB_OFFLINE is set", "copy the .nemo file from elsewhere")
    assert hub.requests == []


def test_a_connection_that_breaks_is_taken_up_again(hub, repository, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)  # 10 MB as it is: none was received
    hub.cuts[:] = [100_000, 50_000]
    assert repository().fetch(FILE).path.read_bytes() == CONTENT
    assert len(hub.resumed) == 2
    assert 0 < hub.resumed[0] < hub.resumed[1] < len(CONTENT)


def test_a_connection_that_breaks_for_good(hub, repository, refused, monkeypatch, tmp_path):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    hub.cuts[:] = [100_000] + [0] * 20
    refused(lambda: repository().fetch(FILE), f"the download of {FILE} broke off (", "; run the same command again")
    assert repository().cached(FILE) is None
    hub.cuts.clear()
    assert repository().fetch(FILE).path.read_bytes() == CONTENT


def test_a_file_cut_short_in_the_cache_is_downloaded_again(hub, repository, caplog):
    found = repository().fetch(FILE)
    os.truncate(found.path, 1000)
    assert repository().fetch(FILE).path.read_bytes() == CONTENT
    assert [record.getMessage() for record in caplog.records] == [
        f"{found.path}: has 1000 bytes and should have 300000; downloaded again"
    ]


def test_a_disk_without_room_is_told_before_the_download(hub, repository, refused, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 200_000))
    refused(lambda: repository().fetch(FILE), f"no room for {FILE}, 300 kB, in ", "(200 kB are free)", "HF_HOME")
    assert hub.downloads() == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are a thing of POSIX")
def test_a_disk_that_fills_up(hub, repository, refused):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        refused(lambda: repository().fetch(FILE), f"there is no room for {FILE}, 300 kB, in ", "set HF_HOME to")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert repository().cached(FILE) is None


def test_a_cache_that_cannot_be(repository, refused, monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    refused(lambda: repository().fetch(FILE), "the cache cannot be written: ", "make it writable, or set HF_HOME")


def test_a_read_only_cache(hub, repository, refused, monkeypatch):
    found = repository().fetch(FILE)
    before = os.makedirs

    def makedirs(name, *args, **options):
        if "blobs" in str(name):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))
        return before(name, *args, **options)

    monkeypatch.setattr(os, "makedirs", makedirs)
    assert repository().fetch(FILE) == found  # what is there can be used
    refused(lambda: repository().fetch("README.md"), "the cache cannot be written: ", ": Read-only file system; ")


def test_nobody_is_told_anything_unasked(hub, repository, capfd):
    repository().fetch(FILE)
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar_on_a_terminal(hub, repository, monkeypatch, capsys):
    told = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    repository(tell=told.append).fetch(FILE)
    err = capsys.readouterr().err
    assert told == []
    assert "\rmodel.nemo: " in err
    assert "100%" in err


def test_the_cache_is_that_of_all_programs(repository, tmp_path):
    from huggingface_hub import hf_hub_download

    found = repository().fetch(FILE)
    assert Path(hf_hub_download(NAME, FILE, local_files_only=True, cache_dir=tmp_path / "home/hub")) == found.path


def test_files_of_a_repository(hub, repository):
    assert repository().files() == ("README.md", FILE)
    assert repository().archives() == (FILE,)
    hub.close()
    assert repository().archives() == ()


def test_the_cache_is_listed_and_emptied(hub, repository):
    from asrkit.hub.cache import cached_models, remove

    assert cached_models() == []
    found = repository().fetch(FILE)
    (model,) = cached_models()
    assert (model.repo, model.commit, model.size, model.files) == (NAME, FIRST, len(CONTENT), (FILE,))
    assert abs(model.last_used - time.time()) < 100
    assert remove(NAME) == len(CONTENT)
    assert not found.path.exists()
    with pytest.raises(HubError, match=re.escape(f"{NAME}: is not in the cache")):
        remove(NAME)
