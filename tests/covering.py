"""Parametrising a test over several axes: few combinations that are always tried, and all others marked exhaustive.

Most faults need one value, or two together: a backend with a dtype, a rule with a kind of embeddings. So a covering set
holds every value (strength 1), every pair (strength 2) or every triple of values in some combination. ``make test``
takes that set and ``make test-full`` the rest of the product.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest


def combinations(strength: int, **axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise a test over the product of ``axes``; all but a covering set of that strength are exhaustive.

    Values may be ``pytest.param``, whose marks are kept.
    """
    values = [[x if hasattr(x, "marks") else pytest.param(x) for x in axis] for axis in axes.values()]
    chosen = covering([len(axis) for axis in values], strength)
    parameters = []
    for indices in itertools.product(*(range(len(axis)) for axis in values)):
        parts = [axis[i] for axis, i in zip(values, indices)]
        marks = [mark for part in parts for mark in part.marks]
        marks += [] if indices in chosen else [pytest.mark.exhaustive]
        name = "-".join(part.id or str(part.values[0]) for part in parts)
        parameters.append(pytest.param(*(part.values[0] for part in parts), marks=marks, id=name))
    return pytest.mark.parametrize(",".join(axes), parameters)


def pairwise(**axes: Iterable[Any]) -> pytest.MarkDecorator:
    """:func:`combinations` in which every pair of values meets."""
    return combinations(2, **axes)


def each_value(**axes: Iterable[Any]) -> pytest.MarkDecorator:
    """:func:`combinations` in which every value comes up."""
    return combinations(1, **axes)


def exhaustive_except(chosen: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    """Parameters of which all but some are exhaustive; tuples are several parameters."""
    kept, parameters = list(chosen), []
    for value in values:
        parts = value if isinstance(value, tuple) else (value,)
        whole = value if hasattr(value, "marks") else pytest.param(*parts)
        marks = [] if value in kept else [pytest.mark.exhaustive]
        parameters.append(pytest.param(*whole.values, marks=[*whole.marks, *marks], id=whole.id))
    return parameters


def covering(sizes: list[int], strength: int) -> set[tuple[int, ...]]:
    """A small set of index tuples that holds every tuple of values of any ``strength`` axes, chosen greedily.

    Example:
        >>> len(covering([3, 2, 3, 2, 2, 2], 2)) <= 12
        True
    """
    groups = list(itertools.combinations(range(len(sizes)), min(strength, len(sizes))))
    numbers: dict[tuple[Any, ...], int] = {}
    covers = {}
    for indices in itertools.product(*map(range, sizes)):
        covers[indices] = 0
        for group in groups:
            part = (group, tuple(indices[axis] for axis in group))
            covers[indices] |= 1 << numbers.setdefault(part, len(numbers))
    left, chosen = (1 << len(numbers)) - 1, set()
    used = [[0] * size for size in sizes]
    while left:
        # Of those that cover most, the one whose values were used least.
        best = max(
            covers, key=lambda c: ((covers[c] & left).bit_count(), -sum(used[axis][i] for axis, i in enumerate(c)))
        )
        chosen.add(best)
        left &= ~covers.pop(best)
        for axis, i in enumerate(best):
            used[axis][i] += 1
    return chosen
