"""Symbolic sizes: whole-number expressions over the named sizes of a graph's inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from asrkit.errors import SeamError

__all__ = ["Size", "SizeLike", "floor_divided", "symbol"]

Atom = str | tuple["Size", int]
"""A named size, or a floor division (dividend, divisor)."""


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *args: Any) -> NoReturn:
        raise SeamError(f"{what}: the graph must hold for every size")

    return refuse


class Size:
    """A sum of products of atoms with whole coefficients, in a normal form, so that equal sizes compare equal.

    Args:
        terms: products (sorted atoms) to coefficients; the empty product is the constant.
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[tuple[Any, ...], int]) -> None:
        self.terms = {product: count for product, count in terms.items() if count}
        self._hash = hash(frozenset(self.terms.items()))

    @property
    def names(self) -> set[str]:
        """The named sizes that it is made of."""
        found: set[str] = set()
        for atom in (atom for product in self.terms for atom in product):
            found |= {atom} if isinstance(atom, str) else atom[0].names
        return found

    def same(self, other: SizeLike) -> bool:
        """Whether both are the same expression."""
        return self.terms == _terms(other)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # For dictionaries of ours only; graph code that compares sizes is stopped by the strict backend.
        return isinstance(other, Size) and self.terms == other.terms

    def __add__(self, other: SizeLike) -> SizeLike:
        if not isinstance(other, int | Size):
            return NotImplemented
        terms = dict(self.terms)
        for product, count in _terms(other).items():
            terms[product] = terms.get(product, 0) + count
        return _simple(terms)

    def __neg__(self) -> SizeLike:
        return _simple({product: -count for product, count in self.terms.items()})

    def __sub__(self, other: SizeLike) -> SizeLike:
        return self + (-other) if isinstance(other, int | Size) else NotImplemented

    def __rsub__(self, other: SizeLike) -> SizeLike:
        return -self + other

    def __mul__(self, other: SizeLike) -> SizeLike:
        if not isinstance(other, int | Size):
            return NotImplemented
        terms: dict[tuple[Any, ...], int] = {}
        for a, n in self.terms.items():
            for b, m in _terms(other).items():
                product = tuple(sorted((*a, *b), key=repr))
                terms[product] = terms.get(product, 0) + n * m
        return _simple(terms)

    def __floordiv__(self, other: SizeLike) -> SizeLike:
        return floor_divided(self, other) if isinstance(other, int) else NotImplemented

    __radd__ = __add__
    __rmul__ = __mul__
    __bool__ = _refuse("a decision about a size")
    __int__ = __index__ = _refuse("a size as a Python int")
    __float__ = _refuse("a size as a Python float")
    __lt__ = __le__ = __gt__ = __ge__ = _refuse("a comparison of sizes")

    def __repr__(self) -> str:
        parts = [
            "*".join([*map(_shown, product), *([str(n)] if n != 1 or not product else [])])
            for product, n in self.terms.items()
        ]
        return "+".join(parts) or "0"


SizeLike = int | Size


def symbol(name: str) -> Size:
    """A named size."""
    return Size({(name,): 1})


def floor_divided(size: Size, divisor: int) -> SizeLike:
    """Floor division; exact where every coefficient is a multiple."""
    if all(count % divisor == 0 for count in size.terms.values()):
        return _simple({product: count // divisor for product, count in size.terms.items()})
    return Size({((size, divisor),): 1})


def _terms(size: SizeLike) -> Mapping[tuple[Any, ...], int]:
    return size.terms if isinstance(size, Size) else {(): size} if size else {}


def _simple(terms: Mapping[tuple[Any, ...], int]) -> SizeLike:
    """An int where no atom is left."""
    left = {product: count for product, count in terms.items() if count}
    if not left:
        return 0
    return left[()] if list(left) == [()] else Size(left)


def _shown(atom: Atom) -> str:
    return atom if isinstance(atom, str) else f"(({atom[0]!r})//{atom[1]})"
