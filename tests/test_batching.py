from __future__ import annotations

import pytest

from asrkit.batching import chunks, to_device
from asrkit.testing import StrictBackend


@pytest.mark.parametrize(("size", "expected"), [(1, [[1], [2], [3]]), (2, [[1, 2], [3]]), (5, [[1, 2, 3]])])
def test_chunks(size, expected):
    assert list(chunks(iter([1, 2, 3]), size)) == expected


def test_to_device_pads_to_buckets(family):
    backend = StrictBackend()
    features = family.Energies()([family.spell("abc"), family.spell("d")])
    found = backend.to_host(to_device(features, backend))
    assert found.values.shape == (3, 4, 1)
    assert (found.values[:2, :3] == features.values).all()
    assert not found.values[2:].any()
    assert not found.values[:, 3:].any()
    assert found.lengths.tolist() == [3, 1, 0]
