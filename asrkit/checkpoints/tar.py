"""Reads the table of a plain tar archive in place: where each file lies, with nothing extracted or copied.

The standard library's ``tarfile`` takes a damaged header in the middle for the end of the archive, reads long
names of any length into memory and follows links; this reader refuses whatever a checkpoint has no use for.
It understands ustar, GNU long names and PAX headers, which is what Python's ``tarfile`` and GNU tar write.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic Tar
    Format".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import attrs

from asrkit.checkpoints.mapped import Buffer
from asrkit.errors import CheckpointError

__all__ = ["Member", "TarIndex", "is_tar", "name_fault", "read_tar"]

BLOCK = 512
MAX_MEMBERS = 10_000
MAX_HEADER = 64 * 1024
"""Bytes of one PAX header or GNU long name; real ones have a few hundred."""

_REGULAR = (b"0", b"\0", b"7")
_DIRECTORY, _PAX, _PAX_GLOBAL, _LONG_NAME = b"5", b"x", b"g", b"L"
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"K": "a link with a long name",
    b"S": "a sparse file",
}


@attrs.frozen
class Member:
    """A regular file of the archive: its bytes are ``size`` at ``offset`` in the archive's file."""

    name: str
    offset: int
    size: int


@attrs.frozen
class TarIndex:
    """The archive's regular files by name, in its order, and a SHA-256 of all its headers."""

    members: Mapping[str, Member]
    digest: str


def name_fault(name: str) -> str | None:
    """What makes ``name`` unfit for a path below a folder, or None."""
    if not name:
        return "is empty"
    if "\0" in name or "\\" in name:
        return "holds a NUL or a backslash"
    if name.startswith("/"):
        return "is absolute"
    if ".." in name.split("/"):
        return "leaves the archive with '..'"
    return None


def is_tar(path: Path) -> bool:
    """Whether the file begins with a sound tar header. Never raises."""
    try:
        with path.open("rb") as file:
            return _sound(file.read(BLOCK))
    except OSError:
        return False


def read_tar(data: Buffer, where: str) -> TarIndex:
    """Find every regular file of the archive that fills ``data``. Directories are passed over.

    One leading ``./`` is taken off each name.

    Args:
        data: The whole file.
        where: Its name, quoted, for messages.

    Raises:
        CheckpointError: not a tar, damaged or cut short, or holding links, devices, sparse files, doubled
            names or names that lead elsewhere.
    """
    if data[:2] == b"\x1f\x8b":
        raise CheckpointError(f"{where} is gzip-compressed; decompress it first (gunzip), it is read in place")
    if not _sound(data[:BLOCK]) and any(data[:BLOCK]):
        raise CheckpointError(f"{where} is not a tar archive: it begins with {data[:16]!r}")
    return _Reader(data, where).read()


def _sound(header: bytes) -> bool:
    """Whether a header block is whole and its checksum right."""
    if len(header) < BLOCK or not any(header):
        return False
    try:
        stated = _octal(header[148:156])
    except ValueError:
        return False
    return stated == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _octal(field: bytes) -> int:
    """A number field: octal digits, or GNU's binary form for what is too large for them."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise ValueError("negative")
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0")[0].strip(b" ")
    # int() alone would also take signs, underscores and blanks between.
    if digits.strip(b"01234567"):
        raise ValueError("not octal")
    return int(digits or b"0", 8)


class _Reader:
    """Walks the headers once; ``name`` and ``size`` hold what the next real header is overridden with."""

    def __init__(self, data: Buffer, where: str) -> None:
        self.data, self.where, self.end = data, where, len(data)
        self.at = 0
        self.name: str | None = None
        self.size: int | None = None
        self.hash = hashlib.sha256()

    def fail(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {text}")

    def read(self) -> TarIndex:
        members: dict[str, Member] = {}
        directories: set[str] = set()
        for _ in range(2 * MAX_MEMBERS):  # a member has up to one header that names it before its own
            header = self.data[self.at : self.at + BLOCK]
            if len(header) < BLOCK:
                raise self.fail("the archive has no end mark: it is cut short, download or copy it again")
            if not any(header):
                break
            if not _sound(header):
                raise self.fail(f"the tar header at byte {self.at} is damaged")
            self.hash.update(header)
            kind = header[156:157]
            if kind in (_PAX, _PAX_GLOBAL, _LONG_NAME):
                self._extension(kind, header)
                continue
            member, directory = self._member(kind, header)
            if member.name in members or member.name in directories:
                raise self.fail(f"two members are named {member.name!r}")
            if directory:
                directories.add(member.name)
            else:
                members[member.name] = member
            if len(members) + len(directories) > MAX_MEMBERS:
                raise self.fail(f"it has more than {MAX_MEMBERS} members, which no checkpoint has")
        else:
            raise self.fail(f"it has more than {2 * MAX_MEMBERS} headers, which no checkpoint has")
        if self.name is not None or self.size is not None:
            raise self.fail("a header that describes the next member stands at the end")
        return TarIndex(members, self.hash.hexdigest())

    def _span(self, what: str, size: int) -> int:
        """Where the ``size`` bytes after this header start; moves on behind them."""
        start = self.at + BLOCK
        if start + size > self.end:
            raise self.fail(
                f"{what} needs {size} bytes at byte {start}, but the file ends at {self.end}: "
                "it is cut short, download or copy it again"
            )
        self.at = start + -(-size // BLOCK) * BLOCK
        return start

    def _number(self, header: bytes) -> int:
        try:
            return _octal(header[124:136])
        except ValueError as error:
            raise self.fail(f"the size in the tar header at byte {self.at} is {error}") from None

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"the name {raw!r} is not UTF-8") from None

    def _member(self, kind: bytes, header: bytes) -> tuple[Member, bool]:
        """The regular file or directory that this header and the overrides before it describe."""
        name = self.name if self.name is not None else self._text(self._plain_name(header))
        if kind in _REFUSED:
            raise self.fail(f"the member {name!r} is {_REFUSED[kind]}, which a checkpoint has no use for")
        if kind != _DIRECTORY and kind not in _REGULAR:
            raise self.fail(f"the member {name!r} is of the unknown tar type {kind!r}")
        # Before POSIX a directory was a file whose name ended in a slash.
        directory = kind == _DIRECTORY or name.endswith("/")
        fault = name_fault(name)
        if fault:
            raise self.fail(f"the member name {name!r} {fault}")
        name = name.removeprefix("./")
        size = self.size if self.size is not None else self._number(header)
        self.name = self.size = None
        if directory:
            name = name.rstrip("/")
            if size:
                raise self.fail(f"the directory {name!r} claims {size} bytes of content")
        return Member(name, self._span(f"the member {name!r}", size), size), directory

    def _plain_name(self, header: bytes) -> bytes:
        name = header[:100].split(b"\0")[0]
        # GNU tar, which writes other magic, keeps other things where POSIX has the prefix.
        prefix = header[345:500].split(b"\0")[0] if header[257:263] == b"ustar\0" else b""
        return prefix + b"/" + name if prefix else name

    def _extension(self, kind: bytes, header: bytes) -> None:
        """A header that says something about the next member (or, PAX global, about all)."""
        size = self._number(header)
        if size > MAX_HEADER:
            raise self.fail(f"the extended header at byte {self.at} has {size} bytes; at most {MAX_HEADER} are read")
        start = self._span("an extended header", size)
        payload = self.data[start : start + size]
        self.hash.update(payload)
        if kind == _LONG_NAME:
            self._set_name(self._text(payload.removesuffix(b"\0")))
            return
        for key, value in self._records(payload):
            if key.startswith("GNU.sparse"):
                raise self.fail("a member is a sparse file, which a checkpoint has no use for")
            if key not in ("path", "size"):
                continue
            if kind == _PAX_GLOBAL:
                raise self.fail(f"a global header sets {key!r} for all members")
            if key == "path":
                self._set_name(value)
                continue
            if not (value.isascii() and value.isdigit() and len(value) < 20) or self.size is not None:
                raise self.fail(f"an extended header gives the size as {value!r}")
            self.size = int(value)

    def _set_name(self, name: str) -> None:
        if self.name is not None:
            raise self.fail(f"one member is given two names, {self.name!r} and {name!r}")
        self.name = name

    def _records(self, payload: bytes) -> list[tuple[str, str]]:
        """The ``length key=value`` lines of a PAX header."""
        records, at = [], 0
        while at < len(payload):
            digits, blank, _ = payload[at : at + 8].partition(b" ")
            length = int(digits) if blank and digits.isdigit() else 0
            line = payload[at : at + length]
            key, equals, value = line[len(digits) + 1 : -1].partition(b"=")
            if not line.endswith(b"\n") or len(line) != length or not equals:
                raise self.fail("an extended header is damaged")
            records.append((self._text(key), self._text(value)))
            at += length
        return records
