import io
import re
import tarfile

import pytest

from asrkit.checkpoints import tar
from asrkit.checkpoints.tar import Member, is_tar, read_tar
from asrkit.errors import CheckpointError
from asrkit.testing.archives import tar_archive, tar_header

END = bytes(1024)


def extended(kind, payload):
    return tar_header("././@LongLink", len(payload), kind) + payload + bytes(-len(payload) % 512)


def record(key, value):
    body = f" {key}={value}\n".encode()
    length = len(body) + len(str(len(body) + 2))
    return str(length).encode() + body


def pax(*records):
    return extended(b"x", b"".join(record(*pair) for pair in records))


def refused(data, message):
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read_tar(data, "'x.nemo'")


@pytest.mark.parametrize("prefix", ["./", ""])
def test_members_are_found_where_their_bytes_are(prefix):
    data = tar_archive([(prefix + "a", b"1" * 700), (prefix + "empty", b""), (prefix + "b", b"22")])
    members = read_tar(data, "'x'").members
    assert list(members) == ["a", "empty", "b"]
    found = {name: data[member.offset : member.offset + member.size] for name, member in members.items()}
    assert found == {"a": b"1" * 700, "empty": b"", "b": b"22"}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_what_the_standard_library_writes_is_read_alike(form):
    file = io.BytesIO()
    contents = {"./short": b"1", "./" + "d" * 90 + "/" + "n" * 60: b"22", "./last": b"333" * 999}
    if form != tarfile.USTAR_FORMAT:
        contents |= {"./" + "l" * 300: b"4444", "./ünï": b"5"}
    with tarfile.open(fileobj=file, mode="w:", format=form) as archive:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1.5  # a fraction needs an extended header in PAX
            archive.addfile(info, io.BytesIO(content))
    data = file.getvalue()
    members = read_tar(data, "'x'").members
    found = {"./" + name: data[member.offset : member.offset + member.size] for name, member in members.items()}
    assert found == contents


def test_pax_path_and_size_replace_those_of_the_header():
    data = pax(("path", "./real"), ("size", "3")) + tar_header("other", 0) + b"abc".ljust(512, b"\0")
    assert read_tar(data + tar_archive([("next", b"n")]), "'x'").members == {
        "real": Member("real", 1536, 3),
        "next": Member("next", 2560, 1),
    }


def test_a_size_in_binary_form_is_read():
    data = tar_header("a", b"\x80" + (5).to_bytes(11, "big")) + b"12345".ljust(512, b"\0") + END
    assert read_tar(data, "'x'").members["a"].size == 5


def test_the_digest_covers_headers_and_not_contents():
    first, other, longer = (read_tar(tar_archive([("a", data)]), "'x'").digest for data in (b"1", b"2", b"33"))
    assert first == other != longer


def test_directories_are_passed_over():
    data = tar_header("./", 0, b"5") + tar_header("old/", 0, b"\0") + tar_archive([("old/a", b"1")])
    assert list(read_tar(data, "'x'").members) == ["old/a"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (b"1", "a hard link"),
        (b"2", "a symbolic link"),
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"6", "a fifo"),
        (b"K", "a link with a long name"),
        (b"S", "a sparse file"),
    ],
)
def test_what_is_no_file_is_refused(kind, what):
    data = tar_header("a", 0, kind, link="/etc/passwd") + END
    refused(data, f"'x.nemo': the member 'a' is {what}, which a checkpoint has no use for")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("/etc/a", "is absolute"),
        ("../a", "leaves the archive with '..'"),
        ("a/../../b", "leaves the archive with '..'"),
        ("..", "leaves the archive with '..'"),
        ("a\\b", "holds a NUL or a backslash"),
        ("", "is empty"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, fault):
    refused(tar_archive([(name, b"1")]), f"'x.nemo': the member name {name!r} {fault}")


@pytest.mark.parametrize("name", ["/a", "../a", "a\0b"])
@pytest.mark.parametrize("header", [lambda name: pax(("path", name)), lambda name: extended(b"L", name.encode())])
def test_so_are_such_names_in_extended_headers(name, header):
    with pytest.raises(CheckpointError, match=re.escape(f"'x.nemo': the member name {name!r} ")):
        read_tar(header(name) + tar_archive([("fine", b"1")]), "'x.nemo'")


@pytest.mark.parametrize("names", [("a", "a"), ("./a", "a"), ("a", "./a")])
def test_doubled_names_are_refused(names):
    refused(tar_archive([(name, b"1") for name in names]), "'x.nemo': two members are named 'a'")


DAMAGED = {
    "past the end": (
        tar_header("a", 5000) + END,
        "the member 'a' needs 5000 bytes at byte 512, but the file ends at 1536: "
        "it is cut short, download or copy it again",
    ),
    "absurd size": (
        tar_header("a", b"\x80" + b"\xff" * 11) + END,
        f"the member 'a' needs {(1 << 88) - 1} bytes at byte 512, but the file ends at 1536: "
        "it is cut short, download or copy it again",
    ),
    "negative size": (
        tar_header("a", b"\xff" * 12) + END,
        "the size in the tar header at byte 0 is negative",
    ),
    "signed size": (
        tar_header("a", b"-0000000001\0") + END,
        "the size in the tar header at byte 0 is not octal",
    ),
    "pax size": (
        pax(("size", "-1")) + tar_archive([("a", b"1")]),
        "an extended header gives the size as '-1'",
    ),
    "no end": (
        tar_archive([("a", b"1")], ending=b""),
        "the archive has no end mark: it is cut short, download or copy it again",
    ),
    "half a header": (
        tar_archive([("a", b"1")], ending=bytes(100)),
        "the archive has no end mark: it is cut short, download or copy it again",
    ),
    "damaged later header": (
        tar_archive([("a", b"1")], ending=b"x" * 512 + END),
        "the tar header at byte 1024 is damaged",
    ),
    "directory with content": (
        tar_header("d/", 5, b"5") + END,
        "the directory 'd' claims 5 bytes of content",
    ),
    "unknown type": (tar_header("a", 0, b"Q") + END, "the member 'a' is of the unknown tar type b'Q'"),
    "name not UTF-8": (tar_header(b"\xff", 0) + END, r"the name b'\xff' is not UTF-8"),
    "sparse by PAX": (
        pax(("GNU.sparse.major", "1")) + tar_archive([("a", b"1")]),
        "a member is a sparse file, which a checkpoint has no use for",
    ),
    "global path": (
        extended(b"g", record("path", "b")) + tar_archive([("a", b"1")]),
        "a global header sets 'path' for all members",
    ),
    "damaged PAX": (
        extended(b"x", b"99 path=a\n") + tar_archive([("a", b"1")]),
        "an extended header is damaged",
    ),
    "PAX without end": (
        extended(b"x", b"0 a=b\n") + tar_archive([("a", b"1")]),
        "an extended header is damaged",
    ),
    "PAX line without end": (
        extended(b"x", b"6 a=bc") + tar_archive([("a", b"1")]),
        "an extended header is damaged",
    ),
    "PAX line without value": (
        extended(b"x", b"5 ab\n") + tar_archive([("a", b"1")]),
        "an extended header is damaged",
    ),
    "two sizes": (
        pax(("size", "3")) + pax(("size", "4")) + tar_archive([("a", b"1")]),
        "an extended header gives the size as '4'",
    ),
    "size of nothing": (
        pax(("size", "3")) + END,
        "a header that describes the next member stands at the end",
    ),
    "file and directory": (tar_header("a/", 0, b"5") + tar_archive([("a", b"1")]), "two members are named 'a'"),
    "two names": (
        extended(b"L", b"b\0") + pax(("path", "c")) + tar_archive([("a", b"1")]),
        "one member is given two names, 'b' and 'c'",
    ),
    "name of nothing": (
        pax(("path", "b")) + END,
        "a header that describes the next member stands at the end",
    ),
    "large PAX": (
        extended(b"x", bytes(70_000)) + END,
        "the extended header at byte 0 has 70000 bytes; at most 65536 are read",
    ),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives_are_refused(data, message):
    refused(data, f"'x.nemo': {message}")


def test_too_many_members_are_refused(monkeypatch):
    monkeypatch.setattr(tar, "MAX_MEMBERS", 3)
    assert len(read_tar(tar_archive([(str(i), b"") for i in range(3)]), "'x'").members) == 3
    data = tar_archive([(str(i), b"") for i in range(4)])
    refused(data, "'x.nemo': it has more than 3 members, which no checkpoint has")
    data = b"".join(extended(b"g", record("comment", "c")) for _ in range(7)) + END
    refused(data, "'x.nemo': it has more than 6 headers, which no checkpoint has")


def test_what_is_no_tar_is_refused():
    text = b"version https://git-lfs.github.com/spec/v1\n"
    refused(text, "'x.nemo' is not a tar archive: it begins with b'version https://'")
    refused(
        b"\x1f\x8b\x08" + bytes(600),
        "'x.nemo' is gzip-compressed; decompress it first (gunzip), it is read in place",
    )


def test_an_empty_archive_has_no_members():
    assert read_tar(END, "'x'").members == {}


def test_is_tar_looks_at_the_content(tmp_path):
    (tmp_path / "tar").write_bytes(tar_archive([("a", b"1")]))
    (tmp_path / "text").write_bytes(b"text" * 200)
    (tmp_path / "short").write_bytes(b"text")
    (tmp_path / "zeros").write_bytes(END)
    assert is_tar(tmp_path / "tar")
    assert not any(is_tar(tmp_path / name) for name in ("text", "short", "zeros", "missing"))
