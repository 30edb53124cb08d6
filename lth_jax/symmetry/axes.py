"""Axes: which positions along an array's axis move together with which others.

An axis is written as a number with several digits, the first of which counts most: of
features that were flattened, one digit is the row, one the column, one the channel. A
digit is made of segments, one after another, as channels that were concatenated are. A
segment is fixed, or it is that of a group: of units that may be permuted, the same way
wherever the group is.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

FIXED = 0  # the group of what stays where it is


class Segment(NamedTuple):
    """Units of a group, one after another."""

    group: int
    size: int


Digit = tuple[Segment, ...]  # not empty
Axis = tuple[Digit, ...]  # () of one position alone
Axes = tuple[Axis, ...]  # of an array


def size(axis: Axis) -> int:
    """Return the number of positions along an axis."""
    return math.prod(length(digit) for digit in axis)


def length(digit: Digit) -> int:
    """Return the number of values of a digit."""
    return sum(segment.size for segment in digit)


def fixed(number: int) -> Axis:
    """Return an axis of so many positions that stay where they are."""
    return () if number == 1 else ((Segment(FIXED, number),),)


class Solver:
    """What is known of groups: every call that relates axes may make them fewer.

    Groups begin with every axis its own. What an operation asks of its operands binds
    groups: to others, to parts of their own, or to be fixed. What was said of an axis
    before stays true of it after that.
    """

    def __init__(self) -> None:
        self.draws = True  # random numbers differ from call to call
        self._bound: dict[int, Axis] = {}
        self._made = FIXED

    def new(self, number: int) -> Axis:
        """Return an axis whose positions are a group of their own."""
        return (self._group(number),) if number > 1 else fixed(number)

    def resolve(self, axis: Axis) -> Axis:
        """Return what an axis is by all that is known now."""
        digits: list[Digit] = []
        for digit in axis:
            first, *others = digit
            if others:
                digits.append(tuple(chain(*(self.flat(((s,),)) for s in digit))))
            elif first.group in self._bound:
                digits += self.resolve(self._bound[first.group])
            else:
                digits.append(digit)
        return _normal(digits)

    def pin(self, axis: Axis) -> None:
        """Leave the positions along an axis where they are."""
        for group, number in chain(*self.resolve(axis)):
            if group:
                self._bound[group] = fixed(number)

    def unify(self, a: Axis, b: Axis) -> None:
        """Say that two axes of as many positions are permuted alike."""
        a, b = self.resolve(a), self.resolve(b)
        if a == b:
            return
        for one, other in ((a, b), (b, a)):
            if _is_group(one):
                self._bound[one[0][0].group] = other
                return
        pairs = None if len(a) == len(b) == 1 else _aligned(a, b)
        if pairs is None:
            self._meet(self.flat(a), self.flat(b))
        for one, other in pairs or ():
            self.unify(one, other)

    def flat(self, axis: Axis) -> Digit:
        """Return an axis as segments one after another; if it cannot be, pin it."""
        *outer, last = self.resolve(axis) or ((Segment(FIXED, 1),),)
        if all(map(_is_fixed, outer)):
            return last * size((*outer,))
        self.pin(axis)
        return (Segment(FIXED, size(axis)),)

    def refold(self, axes: Axes, shape: Sequence[int]) -> Axes:
        """Return the axes of an array that is reshaped, last index fastest."""
        rest, folded = self.resolve((*chain(*axes),)), []
        for number in shape:
            axis: Axis = ()
            while (left := number // size(axis)) > 1:
                first, *others = rest
                if left % length(first) == 0:
                    axis, rest = (*axis, first), (*others,)
                elif len(first) == 1 and length(first) % left == 0:
                    rest = self._divided(first[0], left) + (*others,)
                    rest = rest if not first[0].group else self.resolve(rest)
                    axis, rest = (*axis, rest[0]), rest[1:]
                else:
                    self.pin(axis + rest)
                    return (*folded, *map(fixed, shape[len(folded) :]))
            folded.append(axis)
        return (*folded,)

    def joined(self, parts: Iterable[Axis]) -> Axis:
        """Return the axis along which arrays are concatenated."""
        return self.resolve(((*chain(*map(self.flat, parts)),),))

    def part(self, axis: Axis, start: int, stop: int) -> Axis:
        """Return the axis of a slice; groups are divided where it begins and ends."""
        if (start, stop) == (0, size(axis)):
            return axis
        kept, at = [], 0
        for cut in (start, stop):
            self._cut(axis, cut)
        for group, number in self.flat(axis):
            inside = min(stop, at + number) - max(start, at)
            kept += [Segment(group, inside)] if inside > 0 else []
            at += number
        return _normal([(*kept,)])

    def _group(self, number: int) -> Digit:
        self._made += 1
        return (Segment(self._made, number),)

    def _cut(self, axis: Axis, cut: int) -> None:
        """Divide the group on both sides of a position, if it is one."""
        at = 0
        for group, number in self.flat(axis):
            if group and at < cut < at + number:
                parts = self._group(cut - at) + self._group(at + number - cut)
                self._bound[group] = (parts,)
                return
            at += number

    def _divided(self, segment: Segment, outer: int) -> Axis:
        """Return a segment as two digits, the first of so many values."""
        inner = segment.size // outer
        if not segment.group:
            return fixed(outer) + fixed(inner)
        parts = self._group(outer), self._group(inner)
        self._bound[segment.group] = parts
        return parts

    def _meet(self, a: Digit, b: Digit) -> None:
        """Unify segments one after another."""
        while a and b:
            a, b = (b, a) if a[0].size > b[0].size else (a, b)
            (one, *rest), (other, *others) = a, b
            if one.size < other.size and other.group:
                self._cut(((other,),), one.size)
                a, b = self.flat((a,)), self.flat((b,))
                continue
            if one.size < other.size:
                others = [Segment(FIXED, other.size - one.size), *others]
            self.unify(((one,),), ((Segment(other.group, one.size),),))
            a, b = (self.flat((x,)) if x else () for x in ((*rest,), (*others,)))


def _is_group(axis: Axis) -> bool:
    """Return whether an axis is one group as a whole."""
    return len(axis) == 1 and len(axis[0]) == 1 and axis[0][0].group != FIXED


def _normal(digits: Iterable[Digit]) -> Axis:
    """Return digits in the one form of all that mean the same."""
    found: list[Digit] = []
    for digit in digits:
        for one in _repeated(_merged(digit)):
            if length(one) == 1:
                continue
            if found and _is_fixed(one) and _is_fixed(found[-1]):
                one = (Segment(FIXED, length(one) * length(found.pop())),)
            found.append(one)
    return (*found,)


def _merged(digit: Digit) -> Digit:
    """Return a digit whose fixed segments are as long as can be."""
    found: list[Segment] = []
    for group, number in digit:
        group = group if number > 1 else FIXED
        if found and not group and not found[-1].group:
            number += found.pop().size
        found.append(Segment(group, number))
    return (*found,)


def _repeated(digit: Digit) -> Axis:
    """Return a digit, or two if it is a shorter one again and again."""
    for period in range(1, len(digit) // 2 + 1):
        times, rest = divmod(len(digit), period)
        if not rest and digit == digit[:period] * times:
            return (*fixed(times), digit[:period])
    return (digit,)


def _aligned(a: Axis, b: Axis) -> list[tuple[Axis, Axis]] | None:
    """Return parts of two axes that are permuted alike; None if they do not fit."""
    pairs: list[tuple[Axis, Axis]] = []
    while a and b:
        if length(a[0]) < length(b[0]):
            a, b = b, a
        first, whole = a[0], length(a[0])
        taken = next((i for i in range(1, len(b) + 1) if size(b[:i]) >= whole), 0)
        if taken and size(b[:taken]) == whole and (taken == 1 or _is_group(a[:1])):
            pairs.append((a[:1], b[:taken]))
            a, b = a[1:], b[taken:]
        elif _is_fixed(first) and whole % length(b[0]) == 0:
            pairs.append((fixed(length(b[0])), b[:1]))
            a, b = fixed(whole // length(b[0])) + a[1:], b[1:]
        else:
            return None
    return None if a or b else pairs


def _is_fixed(digit: Digit) -> bool:
    return not any(segment.group for segment in digit)
