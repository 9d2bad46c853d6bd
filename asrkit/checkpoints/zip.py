"""Reads the table of a zip archive that lies, stored and not compressed, inside a larger file.

The entries are used in place, so each one's data offset is computed from its local header and checked. What
``torch.save`` never writes (compression, encryption, several disks, comments, doubled names) is refused.
Checksums are not verified: that would read gigabytes which are otherwise only mapped.

Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import attrs

from asrkit.checkpoints.mapped import Buffer
from asrkit.errors import CheckpointError

__all__ = ["Entry", "ZipIndex", "read_zip"]

MAX_ENTRIES = 200_000

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ODD = "the zip is split over several disks or has a comment, which torch.save never writes"
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000


@attrs.frozen
class Entry:
    """An entry's bytes: ``size`` at ``offset`` in the outer file."""

    offset: int
    size: int


@attrs.frozen
class ZipIndex:
    """The entries by name, in the directory's order, and where the directory itself lies in the outer file.

    The directory holds every entry's checksum, so its bytes tell one version of a file from another.
    """

    entries: Mapping[str, Entry]
    directory: Entry


def read_zip(data: Buffer, offset: int, size: int, where: str) -> ZipIndex:
    """Find every entry of the zip archive that lies in ``data`` at ``offset`` and has ``size`` bytes.

    Raises:
        CheckpointError: not a zip archive as torch writes it, or one whose table does not fit its bytes.
    """
    return _Reader(data, offset, size, where).read()


class _Reader:
    """Counts positions from the zip's own start; only ``take`` and the results know of the outer file."""

    def __init__(self, data: Buffer, offset: int, size: int, where: str) -> None:
        self.data, self.offset, self.size, self.where = data, offset, size, where

    def fail(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {text}")

    def take(self, start: int, count: int, what: str) -> bytes:
        if start + count > self.size:
            raise self.fail(f"the zip's {what} lies outside of its {self.size} bytes: damaged or cut short")
        return self.data[self.offset + start : self.offset + start + count]

    def read(self) -> ZipIndex:
        count, length, start = self._end()
        if count > MAX_ENTRIES:
            raise self.fail(f"the zip has {count} entries; at most {MAX_ENTRIES} are read")
        if count * _CENTRAL.size > length:
            raise self.fail(f"the zip's directory of {length} bytes cannot hold {count} entries")
        directory = self.take(start, length, "directory")
        entries: dict[str, Entry] = {}
        at = 0
        for _ in range(count):
            name, entry, at = self._entry(directory, at, start)
            if name in entries:
                raise self.fail(f"two zip entries are named {name!r}")
            entries[name] = entry
        if at != length:
            raise self.fail(f"the zip's directory has {length - at} bytes after its last entry")
        return ZipIndex(entries, Entry(self.offset + start, length))

    def _end(self) -> tuple[int, int, int]:
        """The directory's number of entries, length and start."""
        behind = self.size - _END.size
        end = _END.unpack(self.take(behind, _END.size, "end record")) if behind >= 0 else (b"",)
        if end[0] != b"PK\5\6":
            raise self.fail(
                "it does not end as a zip archive that torch.save wrote: it is cut short, or from "
                "a torch older than 1.6 and has to be saved again with a newer one"
            )
        _, disk, first_disk, here, count, length, start, comment = end
        if disk or first_disk or here != count or comment:
            raise self.fail(_ODD)
        if behind >= _LOCATOR.size + _END64.size:
            at = behind - _LOCATOR.size
            mark, disk, where, disks = _LOCATOR.unpack(self.take(at, _LOCATOR.size, "zip64 locator"))
            if mark == b"PK\6\7":
                mark, record, _, _, disk2, disk3, here, *wide = _END64.unpack(
                    self.take(where, _END64.size, "zip64 end record")
                )
                if mark != b"PK\6\6" or where + 12 + record != at or here != wide[0] or disk or disk2 or disk3:
                    raise self.fail("the zip's zip64 end record is damaged")
                # The short record states the same, or that it cannot: readers must not see two archives in
                # one.
                short = (count, _FULL16), (length, _FULL32), (start, _FULL32)
                if disks > 1 or any(a not in (b, full) for (a, full), b in zip(short, wide, strict=True)):
                    raise self.fail("the zip's two end records contradict each other")
                count, length, start = wide
                behind = where
        if start + length != behind:
            raise self.fail("the zip's directory does not end where its end record begins: damaged or cut short")
        return count, length, start

    def _entry(self, directory: bytes, at: int, limit: int) -> tuple[str, Entry, int]:
        """The entry at ``at`` in the directory, and where the next one is."""
        if at + _CENTRAL.size > len(directory):
            raise self.fail("the zip's directory is cut short")
        fields = _CENTRAL.unpack_from(directory, at)
        mark, _, _, flags, method, _, _, _, packed, size, names, extras, comments, disk, _, _, start = fields
        at += _CENTRAL.size
        raw, extra = directory[at : at + names], directory[at + names : at + names + extras]
        at += names + extras + comments
        if mark != b"PK\1\2" or at > len(directory):
            raise self.fail("the zip's directory is damaged")
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"the zip entry name {raw!r} is not UTF-8") from None
        size, packed, start = self._wide(name, extra, size, packed, start)
        if flags & _ENCRYPTED:
            raise self.fail(f"the zip entry {name!r} is encrypted, which torch.save never does")
        if method:
            raise self.fail(
                f"the zip entry {name!r} is compressed (method {method}); it can only be mapped "
                "stored, as torch.save writes it"
            )
        if disk:
            raise self.fail(_ODD)
        if packed != size:
            raise self.fail(f"the zip entry {name!r} has contradictory sizes, {packed} and {size}")
        return name, self._data(name, raw, size, start, limit), at

    def _wide(self, name: str, extra: bytes, *short: int) -> list[int]:
        """Size, packed size and start: each from the zip64 field where the short one says so."""
        wide, at = b"", 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1:
                wide = extra[at + 4 : at + 4 + length]
                break
            at += 4 + length
        values = []
        for value in short:
            if value == _FULL32:
                if len(wide) < 8:
                    raise self.fail(f"the zip entry {name!r} lacks its zip64 sizes")
                value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
            values.append(value)
        return values

    def _data(self, name: str, raw: bytes, size: int, start: int, limit: int) -> Entry:
        """The entry's data, which follow its local header and end before the directory at ``limit``."""
        header = self.take(start, _LOCAL.size, f"entry {name!r}")
        mark, _, flags, method, _, _, _, _, _, names, extras = _LOCAL.unpack(header)
        if mark != b"PK\3\4" or flags & _ENCRYPTED or method:
            raise self.fail(f"the zip entry {name!r} has a damaged local header")
        at = start + _LOCAL.size
        if self.take(at, names, f"entry {name!r}") != raw:
            raise self.fail(f"the zip entry {name!r} has another name in its local header")
        at += names + extras
        if at + size > limit:
            raise self.fail(f"the zip entry {name!r} needs {size} bytes at byte {at}, but the entries end at {limit}")
        return Entry(self.offset + at, size)
