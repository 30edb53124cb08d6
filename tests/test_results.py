"""Every number of README.md and docs/results.md is that of committed rows, or quoted.

Comments of the pages, which no reader sees, say where numbers are from:

    <!-- rows run=correlation/lenet level=3 n=3 -->       of all that follows
    57.2 ± 0.3 <!-- fine_tune lr=0.1 -->                  of the numbers before the mark
    by 6.8 (2.4 to 11.2) <!-- fine_tune less ticket -->   of replicates in pairs

A mark's words set columns, a word alone sets the branch; `less` (and `plus`, `over`)
go on with another network. In a table, a mark in the head is for a column, and one in
the first cell for a line. What is not from rows has to stand in a file or list that the
section names, `<!-- quoted configs/lenet.py; stated 3 0.1 -->`.

± is the standard deviation of a sample; `(a to b)` the paired 95 % t interval, or the
range where the mark says `samples`, which takes every pair of copies by itself.
"""

import functools
import math
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from lth_jax.numbers import frames, rows
from lth_jax.numbers.titles import unit

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/results.md"]

MARK = re.compile(r"<!--(.*?)-->", re.DOTALL)
N = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?"
SHOWN = re.compile(
    rf"({N})(?: ± ({N}))?(?: (?:%|points?|degrees))?"
    rf"(?:\s\(({N}) to ({N})(?:; p ([=<] {N}))?\))?\s*$"
)
# Not numbers: code, the targets of links, names such as LeNet-300-100, and years.
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
WORDS = r"`[^`]*`|\]\([^)]*\)|(?:Figures?|Tables?) [\d, and]*|\b(?:19|20)\d\d\b"
WORDS = re.compile(WORDS + r"|(?<!\w)[^\W\d_][\w.]*(?:-[\w.]+)*")
SYNTHETIC = {
    "test_error": "test_accuracy",
    "last_test_error": "last_test_accuracy",
}
NAMES = {"lr": "learning_rate", "k": "rewind_step"}
COLUMNS = ("learning_rate", "rewind_step", "level", "branch", "step", "copy")


@functools.cache
def of_run(run):
    return rows.load(ROOT / "results" / run)


@functools.cache
def values(words):
    """The numbers of one network, by replicate, as they are shown."""
    where = {"layer": None, "alpha": None} | dict(words)
    found, measure = of_run(where.pop("run")), where.pop("measure")
    replicates, samples = where.pop("replicate", None), where.pop("samples", None)
    for column in {*where} & {*COLUMNS}:
        found = found[found[column].isin(where.pop(column))]
    known = SYNTHETIC.get(measure, measure)
    if samples:
        numbers = frames._ends(found, known, where)["value"]
    else:
        numbers = frames.frame(found, known, **where).set_index("replicate")["value"]
    assert samples or numbers.index.is_unique, f"{words}: several numbers a replicate"
    numbers = 1 - numbers if measure in SYNTHETIC else numbers
    if replicates is not None:
        numbers = numbers[numbers.index == replicates]
    return numbers * unit(of_run(dict(words)["run"]), known).factor


def parsed(mark):
    """A mark's words as terms: the operator, and the columns of a network."""
    terms = [("plus", {})]
    for word in mark.split():
        if word in ("less", "plus", "over"):
            terms.append((word, dict(terms[-1][1])))
            continue
        name, _, value = word.rpartition("=")
        name = NAMES.get(name, name) or ("samples" if value == "samples" else "branch")
        several = tuple(float(v) if re.fullmatch(N, v) else v for v in value.split(","))
        single = name in ("run", "measure", "n", "replicate")
        terms[-1][1][name] = several[0] if single else several
    return terms


@functools.cache
def computed(mark):
    """Mean, deviation, lower and upper end, p: what a mark's numbers should be."""
    total, n = None, None
    for operator, words in parsed(mark):
        n = words.pop("n")
        numbers = values(tuple(words.items()))
        assert len(numbers) == n, f"{mark}: n = {len(numbers)}"
        if operator == "over":
            return total.mean() / numbers.mean(), math.nan, math.nan, math.nan, math.nan
        sign = -1 if operator == "less" else 1
        total = numbers if total is None else total + sign * numbers
    found = frames.interval(total)
    ends = (found.low, found.high)
    if "samples" in words:
        ends = (total.min(), total.max())
    return found.mean, total.std(), *ends, found.p


def as_printed(value, printed):
    """A value with as many digits as what is printed."""
    if math.isnan(value):
        return "nothing"
    if printed[0] in "=<":  # p
        return "< 0.001" if value < 0.001 else "= " + as_printed(value, "0.000")
    digits = len(printed.partition(".")[2])
    exact = Decimal(repr(round(float(value), 9))).quantize(
        Decimal(10) ** -digits, ROUND_HALF_UP
    )
    return f"{exact + 0:,.{digits}f}"  # -0.0 is 0.0


def wrong(text, mark):
    """What of the numbers that end a text is not what the mark's rows give."""
    found = SHOWN.search(text)
    if not found:
        return [f"{text[-40:]!r} ends with no number for {mark!r}"], len(text)
    pairs = [(f, as_printed(v, f)) for f, v in zip(found.groups(), computed(mark)) if f]
    faults = [f"{f} is {v}: {mark}" for f, v in pairs if f.lstrip("+") != v]
    return faults, found.start()


def numbers_of(text):
    """The numbers of a text, one with its deviation as one: 98.3±0.1."""
    return re.findall(rf"{N}(?:±{N})?", re.sub(r"\s*(?:±|\+-)\s*", "±", text))


def joined(*marks):
    """The words of several marks as those of one: what is subtracted comes last."""
    last = re.compile(r"\b(less|over)\b")
    return " ".join(
        sorted(filter(None, marks), key=lambda mark: bool(last.search(mark)))
    )


class Section:
    """A section of a page: what its marks give, and numbers without a mark."""

    def __init__(self, text):
        self.faults, self.rest, self.known, self.marks = [], [], set(), ""
        self.checked = []  # numbers and their marks
        prose, head = [], None
        for line in [*FENCED.sub("", text).split("\n"), "|"]:
            if not line.startswith("|"):
                prose, head = [*prose, line], None
                continue
            self.prose("\n".join(prose))
            prose, head = [], self.line(line.strip().strip("|").split("|"), head)

    def line(self, cells, head):
        marks = [" ".join(MARK.findall(cell)).strip() for cell in cells]
        if head is None:
            for cell in cells:
                self.loose(cell)
            return marks
        self.loose(cells[0])
        for cell, column in list(zip(cells, head))[1:]:
            if MARK.search(cell):
                self.prose(cell, column)
            elif column and marks[0] != "quoted" and re.search(r"\d", cell):
                self.check(cell, joined(self.marks, column, marks[0]))
            else:
                self.loose(cell)
        return head

    def prose(self, text, column=""):
        begin = 0
        for mark in MARK.finditer(text):
            before, begin = text[begin : mark.start()], mark.end()
            if re.match(r"\s*(rows|quoted|stated)\b", mark[1]):
                self.loose(before)
                self.told(mark[1])
            else:
                self.check(before, joined(self.marks, column, mark[1].strip()))
        self.loose(text[begin:])

    def told(self, mark):
        for part in mark.split(";"):
            kind, *rest = part.split()
            if kind == "rows":
                self.marks = " ".join(rest)
            elif kind == "stated":
                self.known |= {*rest}
            for file in rest if kind == "quoted" else ():
                self.known |= {*numbers_of((ROOT / file).read_text())}

    def check(self, text, mark):
        faults, begin = wrong(text, mark)
        self.faults += faults
        self.checked.append((text[begin:], mark))
        self.loose(text[:begin])
        self.known |= {mark_n[2:] for mark_n in re.findall(r"n=\d+", mark)}

    def loose(self, text):
        self.rest += numbers_of(WORDS.sub(" ", MARK.sub("", text)))


def sections(text):
    return [Section(part) for part in re.split(r"\n(?=#)", text)]


def faults(text):
    for section in sections(text):
        yield from section.faults
        for number in section.rest:
            if number not in section.known and number.strip("+-") not in section.known:
                yield f"{number} has no mark and no source"


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_that_of_rows_or_quoted(page):
    assert not list(faults((ROOT / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_every_other_digit_is_found(page):
    changed = 0
    for section in sections((ROOT / page).read_text()):
        for text, mark in section.checked:
            for digit in re.finditer(r"\d", text):
                other = str((int(digit[0]) + 1) % 10)
                text_then = text[: digit.start()] + other + text[digit.end() :]
                assert wrong(text_then, mark)[0], text_then
                changed += 1
    assert changed > 100


@pytest.mark.parametrize(
    "said",
    [
        "Tickets win by 7.7 points.",
        "| | ticket |\n| --- | --- |\n| 3.5 % | 1.69 |",
        "1.69 ± 0.17 <!-- run=lenet_mnist measure=test_error level=15 ticket n=3 -->",
        "<!-- quoted configs/lenet.py -->\nThe paper has 1.86.",
        "<!-- stated 3 -->\n\n4 replicates\n",
        "1.69 <!-- stated 3 -->",
    ],
)
def test_a_number_without_its_rows_or_source_is_found(said):
    assert list(faults(said))


def test_marks_are_read_in_prose_and_in_tables():
    page = """
# Title
<!-- rows run=lenet_mnist measure=test_error n=3; stated 3.5 -->
At 3.5 % tickets have 1.69 ± 0.16 % <!-- level=15 ticket -->.

| error | ticket <!-- ticket --> | random reinit <!-- random_reinit --> | published |
| --- | --- | --- | --- |
| 3.5 % <!-- level=15 --> | 1.69 ± 0.16 | 2.52 | 3.5 |
| less | 0.8 (0.2 to 1.5; p = 0.030) <!-- level=15 random_reinit less ticket --> | | |
"""
    assert not list(faults(page))
    assert len(sections(page)[1].checked) == 4


@pytest.mark.parametrize(
    "freedom, t", [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (17, 2.1098)]
)
def test_intervals_are_those_of_tables_of_t(freedom, t):
    """Of n numbers 0, 0, ... and 1, whose mean 1 / n is as large as its error."""
    n = freedom + 1
    found = frames.interval([0.0] * freedom + [1.0])
    assert found.n == n and found.mean == pytest.approx(1 / n)
    assert found.high == pytest.approx((1 + t) / n, abs=1e-4 / n)
    assert found.low == pytest.approx((1 - t) / n, abs=1e-4 / n)


def test_p_is_that_of_a_paired_t_test():
    assert frames.interval([3.08, 4.14, 0.44]).p == pytest.approx(0.1460, abs=1e-4)
    assert frames.interval([1.0, 2.0, 3.0, 5.0]).p == pytest.approx(0.0486, abs=1e-4)
    assert frames.interval([-1.0, 1.0]).p == 1


def test_numbers_that_are_equal_or_alone():
    assert frames.interval([1.0, 1.0]) == (1, 1, 1, 0, 2)
    assert frames.interval([0.0, 0.0]).p == 1
    assert math.isnan(frames.interval([1.0]).low)
    assert math.isnan(frames.interval([1.0, 2.0, math.nan]).mean)
