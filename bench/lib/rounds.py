"""Rounds, in which the sides take turns, and what is told of them.

Median and range, not mean and deviation: on a shared machine the outliers are the neighbours'.
A ratio is taken round by round, so that what slows both sides for a while drops out of it.
Whether a figure that is wanted was reached is told by the medians.

A figure may be None: the round measured something else. A line does without the rounds that lack
a figure on one side, and tells nothing if fewer than half are left.
"""

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reach:
    """A figure that is wanted, of the ratio, or with `absolute` of the engine's own."""

    figure: float
    is_most: bool
    absolute: bool = False

    def is_reached(self, line):
        found = statistics.median(line.engine if self.absolute else line.ratios)
        return found <= self.figure if self.is_most else found >= self.figure

    def told(self, line):
        unit = f" {line.unit}" if self.absolute else ""
        return f"{'<=' if self.is_most else '>='} {self.figure:,}{unit}"


def at_least(figure, **what):
    return Reach(figure, False, **what)


def at_most(figure, **what):
    return Reach(figure, True, **what)


@dataclass
class Line:
    """One comparison. Figures are by round, and of equal rounds on both sides; once made, it has
    none that is None."""

    name: str
    unit: str
    engine: list
    limit: list
    limit_name: str
    digits: int = 0
    reach: tuple = ()  # of Reach: what is wanted, all of it
    rounds: int = field(init=False)  # of the measurement; figures may be of fewer

    def __post_init__(self):
        pairs = list(zip(self.engine, self.limit, strict=True))
        self.rounds = len(pairs)
        whole = [pair for pair in pairs if None not in pair]
        self.engine = [ours for ours, _ in whole]
        self.limit = [theirs for _, theirs in whole]

    @property
    def is_void(self):
        return 2 * len(self.engine) < self.rounds

    @property
    def missed(self):
        if self.is_void:
            return list(self.reach)
        return [wanted for wanted in self.reach if not wanted.is_reached(self)]

    @property
    def ratios(self):
        return [ours / theirs for ours, theirs in zip(self.engine, self.limit, strict=True)]

    def __str__(self):
        kept = f"{len(self.engine)} of {self.rounds} rounds"
        if self.is_void:
            return f"{self.name}: only {kept} are good"
        told = (
            f"{self.name}: {_spread(self.engine, self.digits)} {self.unit}, "
            f"{self.limit_name}: {_spread(self.limit, self.digits)}, "
            f"ratio {_spread(self.ratios, 2)}"
        )
        return told if len(self.engine) == self.rounds else f"{told}, of {kept}"

    def cells(self, judged):
        """Its row of the table."""
        figures, mark = ["-", "-", "-", "-"], "TOO FEW ROUNDS"
        if not self.is_void:
            figures = [
                f"{statistics.median(self.engine):,.{self.digits}f}",
                f"{statistics.median(self.limit):,.{self.digits}f}",
                f"{statistics.median(self.ratios):.2f}",
                f"{min(self.ratios):.2f}-{max(self.ratios):.2f}",
            ]
            mark = "NOT REACHED" if judged and self.missed else ""
        wanted = ", ".join(wanted.told(self) for wanted in self.reach)
        return [self.name, self.unit, *figures[:2], self.limit_name, *figures[2:], wanted, mark]


def _spread(figures, digits):
    low, high = min(figures), max(figures)
    return f"{statistics.median(figures):,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"


def take_turns(settings, sides, warm_up=True):
    """Measures {name: function} in turns, the order reversed in every other round; gives
    {name: figures by round}. Each side has one round before, which does not count."""
    figures = {name: [] for name in sides}
    if warm_up:
        for measure in sides.values():
            measure()
    for number in range(settings.rounds):
        order = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in order:
            figures[name].append(sides[name]())
        told = ", ".join(f"{name} {_short(figures[name][-1])}" for name in sides)
        print(f"  round {number + 1}: {told}", flush=True)
    return figures


def _short(figure):
    if figure is None:
        return "left out"
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def finish(line):
    """Tells the line and gives it."""
    print(line, flush=True)
    return line


HEAD = ["measurement", "unit", "engine", "limit", "", "ratio", "lowest-highest", "reach", ""]


def table(lines, judged=True):
    """A Markdown table. The ratio is the median of the rounds' ratios. `judged`: the last column
    marks what is wanted and was not reached. It marks lines of too few good rounds anyway."""
    rows = [HEAD, ["-", "-", "-:", "-:", "-", "-:", "-", "-", "-"]]
    rows += [line.cells(judged) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    rows[1] = [_rule(mark, width) for mark, width in zip(rows[1], widths, strict=True)]
    return "\n".join("| " + " | ".join(map(_fill, row, widths, rows[1])) + " |" for row in rows)


def verdict(lines, broken=0):
    """How many of the lines that want something have all of it; of `broken` measurements there are
    none to count."""
    wanting = [line for line in lines if line.reach]
    missing = [line.name for line in wanting if line.missed]
    told = f"{len(wanting) - len(missing)} of {len(wanting)} lines reach what is wanted"
    if missing:
        told += f"; not: {', '.join(missing)}"
    if broken:
        told += f"; {broken} measurement{'' if broken == 1 else 's'} broke"
    return told


def _rule(mark, width):
    return "-" * (width - 1) + ":" if mark.endswith(":") else "-" * width


def _fill(cell, width, rule):
    return cell.rjust(width) if rule.endswith(":") else cell.ljust(width)
