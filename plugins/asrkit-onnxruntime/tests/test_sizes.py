from __future__ import annotations

import itertools

import pytest

from asrkit.errors import SeamError
from asrkit_onnxruntime.sizes import Size, symbol

T, B = symbol("time"), symbol("batch")


def value(size, **known):
    """A size with numbers in place of its names."""
    if isinstance(size, int):
        return size
    total = 0
    for product, count in size.terms.items():
        for atom in product:
            count *= known[atom] if isinstance(atom, str) else value(atom[0], **known) // atom[1]
        total += count
    return total


EXPRESSIONS = [
    lambda t, b: t + 1,
    lambda t, b: 2 * t - 1,
    lambda t, b: 7 - t,
    lambda t, b: (t - 1) // 2 + 1,
    lambda t, b: ((t - 1) // 2 + 1 - 1) // 2 + 1,
    lambda t, b: b * t * 3,
    lambda t, b: (t + b) * (t - b),
    lambda t, b: (4 * t + 8) // 4,
    lambda t, b: -(-t // 8),
    lambda t, b: t - t,
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_sizes_calculate_like_numbers(expression):
    symbolic = expression(T, B)
    for t, b in itertools.product((1, 2, 5, 8, 33), (1, 3)):
        assert value(symbolic, time=t, batch=b) == expression(t, b)


def test_equal_sizes_are_recognised():
    assert (T + 1 + B).same(B + T + 1)
    assert ((T - 1) // 2 + 1).same((T - 1) // 2 + 1)
    assert not (T + 1).same(T)
    assert isinstance(T - T + 3, int)
    assert T - T + 3 == 3
    assert isinstance((4 * T) // 4, Size)
    assert ((4 * T) // 4).same(T)


@pytest.mark.parametrize("look", [bool, int, float, lambda size: size < 3, lambda size: range(size)])
def test_a_size_cannot_be_looked_at(look):
    with pytest.raises(SeamError, match="the graph must hold for every size"):
        look(T)
