import re
import struct
import zipfile

import numpy as np
import pytest

from asrkit.checkpoints import zip as zip_module
from asrkit.checkpoints.mapped import MappedTensors
from asrkit.checkpoints.torch_file import read_torch
from asrkit.errors import CheckpointError
from asrkit.testing.archives import PickledTensor, state_pickle, torch_archive, zip_archive

MATRIX = np.arange(30, dtype=np.float32).reshape(6, 5)


def tensors_of(data, before=b"", after=b""):
    """Read from the middle of something larger, as in a tar."""
    whole = before + data + after
    return MappedTensors(whole, read_torch(whole, len(before), len(data), "'x'"), "'x'")


def refused(data, message):
    with pytest.raises(CheckpointError, match="^" + re.escape(f"'x': {message}") + "$"):
        tensors_of(data, b"before", b"after")


def test_a_file_within_a_file_is_read():
    assert np.array_equal(tensors_of(torch_archive({"w": MATRIX}), b"before", b"after")["w"], MATRIX)


SOUND = PickledTensor("FloatStorage", "0", 6, (2, 3), (3, 1))
ENTRY = ("m/data/0", bytes(24))


def pickled(**tensors):
    return ("m/data.pkl", state_pickle(tensors))


OLD = (
    "it does not end as a zip archive that torch.save wrote: it is cut short, or from a torch older than 1.6 "
    "and has to be saved again with a newer one"
)
WEIGHTS = {
    "no storage": (
        zip_archive([pickled(w=SOUND)]),
        "the storage '0' of the tensor 'w' is not there",
    ),
    "short storage": (
        zip_archive([pickled(w=SOUND), ("m/data/0", bytes(20))]),
        "the storage '0' of the tensor 'w' has 20 bytes, but 6 elements of F32 need 24",
    ),
    "too long": (
        zip_archive([pickled(w=PickledTensor("FloatStorage", "0", 6, (7,), (1,))), ENTRY]),
        "the tensor 'w' (offset 0, shape (7,), strides (1,)) leaves its storage of 6 elements",
    ),
    "offset": (
        zip_archive([pickled(w=PickledTensor("FloatStorage", "0", 6, (2, 3), (3, 1), 1)), ENTRY]),
        "the tensor 'w' (offset 1, shape (2, 3), strides (3, 1)) leaves its storage of 6 elements",
    ),
    "offset of nothing": (
        zip_archive([pickled(w=PickledTensor("FloatStorage", "0", 6, (0,), (1,), 7)), ENTRY]),
        "the tensor 'w' (offset 7, shape (0,), strides (1,)) leaves its storage of 6 elements",
    ),
    "stride": (
        zip_archive([pickled(w=PickledTensor("FloatStorage", "0", 6, (2, 3), (4, 1))), ENTRY]),
        "the tensor 'w' (offset 0, shape (2, 3), strides (4, 1)) leaves its storage of 6 elements",
    ),
    "endless": (
        zip_archive([pickled(w=PickledTensor("FloatStorage", "0", 1, (1 << 30, 1 << 30), (0, 0))), ENTRY]),
        "its tensors up to 'w', of shape (1073741824, 1073741824), claim more than 16 times the SIZE bytes of the file",
    ),
    "no pickle": (
        zip_archive([ENTRY]),
        "it has 0 zip entries that end in '/data.pkl', a torch.save file has one",
    ),
    "two pickles": (
        zip_archive([pickled(), ("n/data.pkl", b"")]),
        "it has 2 zip entries that end in '/data.pkl', a torch.save file has one",
    ),
    "big endian": (
        zip_archive([pickled(), ("m/byteorder", b"big")]),
        "its byte order is b'big', only b'little' is read",
    ),
    "compressed": (
        zip_archive([pickled(w=SOUND), ENTRY], compression=zipfile.ZIP_DEFLATED),
        "the zip entry 'm/data.pkl' is compressed (method 8); it can only be mapped stored, as torch.save writes it",
    ),
    "old torch": (
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(100),
        OLD,
    ),
    "empty": (
        b"",
        OLD,
    ),
}


@pytest.mark.parametrize(("weights", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_do_not_fit_are_refused(weights, message):
    refused(weights, message.replace("SIZE", str(len(weights))))


def test_a_small_expanded_tensor_is_read():
    expanded = PickledTensor("FloatStorage", "0", 6, (4, 6), (0, 1))
    weights = zip_archive([pickled(w=expanded), ("m/data/0", np.arange(6, dtype="<f4").tobytes())])
    assert tensors_of(weights)["w"].tolist() == [[0, 1, 2, 3, 4, 5]] * 4


ARCHIVE = torch_archive({"w": MATRIX})
END = ARCHIVE.rindex(b"PK\5\6")
FIRST = ARCHIVE.index(b"PK\1\2")


COUNT = struct.unpack_from("<H", ARCHIVE, END + 10)[0]


def patched(at, value, form="<H"):
    data = bytearray(ARCHIVE)
    struct.pack_into(form, data, at, value)
    return bytes(data)


CUT = "the zip's directory does not end where its end record begins: damaged or cut short"
ODD = "the zip is split over several disks or has a comment, which torch.save never writes"
ZIPS = {
    "more entries": (patched(END + 10, 5), ODD),
    "disk": (patched(END + 4, 1), ODD),
    "directory's disk": (patched(END + 6, 1), ODD),
    "entry's disk": (patched(FIRST + 34, 1), ODD),
    "fewer entries than there are": (
        patched(END + 8, (COUNT - 1) * 0x10001, "<L"),
        "the zip's directory has 88 bytes after its last entry",
    ),
    "one entry more than there are": (
        patched(END + 8, (COUNT + 1) * 0x10001, "<L"),
        "the zip's directory is cut short",
    ),
    "entries without end": (
        patched(END + 8, 50_000 * 0x10001, "<L"),
        f"the zip's directory of {END - FIRST} bytes cannot hold 50000 entries",
    ),
    "comment": (patched(END + 20, 1), ODD),
    "directory elsewhere": (patched(END + 16, 3, "<L"), CUT),
    "directory longer": (patched(END + 12, 9999, "<L"), CUT),
    "encrypted": (
        patched(FIRST + 8, 1),
        "the zip entry 'model_weights/data.pkl' is encrypted, which torch.save never does",
    ),
    "sizes": (
        patched(FIRST + 20, 3, "<L"),
        "the zip entry 'model_weights/data.pkl' has contradictory sizes, 3 and LENGTH",
    ),
    "no signature": (patched(FIRST, 0), "the zip's directory is damaged"),
    "name too long": (patched(FIRST + 28, 60_000), "the zip's directory is damaged"),
    "zip64 without sizes": (
        patched(FIRST + 24, 0xFFFFFFFF, "<L"),
        "the zip entry 'model_weights/data.pkl' lacks its zip64 sizes",
    ),
    "local header elsewhere": (
        patched(FIRST + 42, 1, "<L"),
        "the zip entry 'model_weights/data.pkl' has a damaged local header",
    ),
    "local header outside": (
        patched(FIRST + 42, 0x7FFFFFFF, "<L"),
        "the zip's entry 'model_weights/data.pkl' lies outside of its SIZE bytes: damaged or cut short",
    ),
    "local name": (
        patched(30, 0x2020),
        "the zip entry 'model_weights/data.pkl' has another name in its local header",
    ),
    "local compression": (patched(8, 8), "the zip entry 'model_weights/data.pkl' has a damaged local header"),
    "local encryption": (patched(6, 1), "the zip entry 'model_weights/data.pkl' has a damaged local header"),
    "local extra": (
        patched(28, 60_000),
        f"the zip entry 'model_weights/data.pkl' needs LENGTH bytes at byte {30 + 22 + 60_000}, "
        f"but the entries end at {FIRST}",
    ),
}


@pytest.mark.parametrize(("weights", "message"), ZIPS.values(), ids=ZIPS)
def test_damaged_zips_are_refused(weights, message):
    length = struct.unpack_from("<L", ARCHIVE, FIRST + 24)[0]
    refused(weights, message.replace("SIZE", str(len(weights))).replace("LENGTH", str(length)))


@pytest.mark.parametrize("kept", [10, 100, len(ARCHIVE) - 1])
def test_a_file_cut_short_is_refused(kept):
    refused(ARCHIVE[:kept], OLD)


def test_doubled_and_too_many_zip_entries_are_refused(monkeypatch):
    with pytest.warns(UserWarning, match="Duplicate name"):
        weights = zip_archive([pickled(w=SOUND), ENTRY, ENTRY])
    refused(weights, "two zip entries are named 'm/data/0'")
    monkeypatch.setattr(zip_module, "MAX_ENTRIES", 2)
    refused(weights, "the zip has 3 entries; at most 2 are read")


def zip64(data, **wrong):
    """The same zip with a zip64 end record, and sizes that overflow the short one."""
    count, length, start = struct.unpack_from("<H2L", data, data.rindex(b"PK\5\6") + 10)
    before = data[: data.rindex(b"PK\5\6")]
    fields = {"count": count, "length": length, "start": start, "short": 0xFFFFFFFF}
    fields |= {"mark": b"PK\6\6", "record": 44, "disk": 0, "first": 0, "mine": 0, "disks": 1} | wrong
    numbers = (fields[name] for name in ("mark", "record", "disk", "first", "count", "length", "start"))
    mark, size, disk, first, *rest = numbers
    record = struct.pack("<4sQ2H2L4Q", mark, size, 45, 45, disk, first, count, *rest)
    locator = struct.pack("<4sLQL", b"PK\6\7", fields["mine"], len(before), fields["disks"])
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, length, fields["short"], 0)
    return before + record + locator + end


def test_zip64_is_read_and_must_agree():
    assert np.array_equal(tensors_of(zip64(ARCHIVE), b"before")["w"], MATRIX)
    refused(zip64(ARCHIVE, short=5), "the zip's two end records contradict each other")
    refused(zip64(ARCHIVE, length=5), "the zip's two end records contradict each other")
    refused(zip64(ARCHIVE, disks=2), "the zip's two end records contradict each other")
    for wrong in ({"count": 99}, {"mark": b"PK??"}, {"record": 45}, {"disk": 1}, {"first": 1}, {"mine": 1}):
        refused(zip64(ARCHIVE, **wrong), "the zip's zip64 end record is damaged")
