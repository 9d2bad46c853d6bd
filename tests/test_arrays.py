from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from asrkit.arrays import Features, leaves, map_tree, named_sizes, varying


@varying(a=("batch", None), inner=("batch",))
class Outer(NamedTuple):
    a: Any
    inner: Any
    bare: Any = None


TREE = {"k": [1, (2, None)], "o": Outer(3, [4], {"f": Features(5, 6)})}


def test_map_tree_keeps_the_shape():
    assert map_tree(lambda x: x * 10, TREE) == {
        "k": [10, (20, None)],
        "o": Outer(30, [40], {"f": Features(50, 60)}),
    }
    made = map_tree(str, TREE)
    assert [type(made["k"]), type(made["k"][1]), type(made["o"].bare["f"])] == [list, tuple, Features]


def test_map_tree_over_several():
    assert map_tree(lambda a, b: a - b, TREE, TREE) == map_tree(lambda x: 0, TREE)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        map_tree(lambda a, b: a, [1, 2], [1])


def test_leaves_in_order():
    assert list(leaves(TREE)) == [1, 2, 3, 4, 5, 6]
    assert list(leaves(None)) == []


def test_sizes_are_those_of_the_nearest_named_tuple():
    assert list(named_sizes(TREE)) == [
        ("['k'][0]", 1, None),
        ("['k'][1][0]", 2, None),
        ("['o'].a", 3, ("batch", None)),
        ("['o'].inner[0]", 4, ("batch",)),
        ("['o'].bare['f'].values", 5, ("batch", "time", None)),
        ("['o'].bare['f'].lengths", 6, ("batch",)),
    ]
