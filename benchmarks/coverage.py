"""Measure how often the intervals cover the truth, and how often two runs of one model are called different.

    uv run python benchmarks/coverage.py            # a few minutes
    uv run python benchmarks/coverage.py --draws 1000

Prints the least and the mean coverage of each interval over its grid, and writes reports/benchmarks/coverage.json.
The coverage of a share of prompts that were asked once is computed exactly; everything else is simulated, 100 draws
a point of the grid, so a point is sure to about 4 points. Below them, the share of 2,000 comparisons of a model with
itself that are called different at the 5% level.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import typer
from scipy.stats import binom

from punie.evals.power import ALPHA
from punie.evals.statistics import cluster_interval, difference_interval, paired_test, share
from punie.pages.benchmarks import keep_benchmark

MEASURED = ("punie.evals.statistics",)

Interval = tuple[float, float] | None
TRUTHS = np.linspace(0.005, 0.995, 199)
RNG = np.random.default_rng(0)


def exact(n: int) -> np.ndarray:
    """Compute the coverage of the interval of a share of n prompts that were asked once, for each true share."""
    low, high = np.array([(each.low, each.high) for each in (share(hits, n) for hits in range(n + 1))]).T[..., None]
    return (binom.pmf(np.arange(n + 1)[:, None], n, TRUTHS) * ((low <= TRUTHS) & (TRUTHS <= high))).sum(axis=0)


def tries(n: int, truth: float, alike: float, draws: int) -> Iterator[Interval]:
    """Give the intervals of n prompts that were asked five times, each with a chance of its own."""
    for chances in RNG.beta(truth * alike, (1 - truth) * alike, size=(draws, n)):
        found = share(RNG.binomial(5, chances).sum() / 5, n)
        yield found.low, found.high


def sizes(templates: int, uneven: bool) -> list[int]:
    """Say how many prompts each template has."""
    return [1 + (12 * (number % 3 == 0) if uneven else 4) for number in range(templates)]


def templates(count: int, truth: float, alike: float, uneven: bool, draws: int) -> Iterator[Interval]:
    """Give the intervals over templates whose prompts share a chance."""
    many = sizes(count, uneven)
    for chances in RNG.beta(truth * alike, (1 - truth) * alike, size=(draws, count)):
        hits = RNG.binomial(many, chances)
        yield cluster_interval({each: [hits[each] / many[each]] * many[each] for each in range(count)})


def gains(
    count: int, moved: tuple[float, float], alike: float, uneven: bool, asked: int, draws: int
) -> Iterator[Interval]:
    """Give the intervals of a difference over templates that gain and lose with chances of their own."""
    part = np.maximum([*moved, 1 - sum(moved)], 1e-9)
    for chances in RNG.dirichlet(part * alike, size=(draws, count)):
        drawn = {}
        for each, many in enumerate(sizes(count, uneven)):
            counts = RNG.multinomial(asked, chances[each], size=many)
            drawn[each] = ((counts[:, 0] - counts[:, 1]) / asked).tolist()
        yield difference_interval(drawn)


def covered(intervals: Iterator[Interval], truth: float) -> float:
    """Compute the share of the intervals that hold the truth."""
    found = [each for each in intervals if each is not None]
    return sum(low - 1e-9 <= truth <= high + 1e-9 for low, high in found) / len(found)


def false_alarms(count: int, prompts: int, asked: int, luck: float, draws: int = 2000) -> float:
    """Compare two runs of one model; in each run, the prompts of a template share some luck."""
    called = 0
    for _ in range(draws):
        own = RNG.normal(1, 1, size=(count, prompts))
        first, second = (
            RNG.binomial(asked, 1 / (1 + np.exp(-own - RNG.normal(0, luck, size=(count, 1))))) / asked for _ in range(2)
        )
        called += paired_test(dict(enumerate(np.round(second - first, 9).tolist())))[0] < ALPHA
    return called / draws


def summary(name: str, figures: list[float], show: Callable[[str], None] = print) -> dict[str, float]:
    """Print and return the least and the mean of some figures."""
    least, mean = float(min(figures)), float(np.mean(figures))
    show(f"{name:45} least {least:.3f}, mean {mean:.3f}, {len(figures)} points")
    return {"least": least, "mean": mean, "points": len(figures)}


def main(draws: int = 100) -> None:
    """Measure everything."""
    shares, alike = (0.5, 0.7, 0.9, 0.95, 0.99), (0.02, 0.5, 3.0, 30.0)
    moves = ((0.02, 0.0), (0.1, 0.0), (0.05, 0.05), (0.3, 0.1), (0.5, 0.5), (0.1, 0.4))
    once = [exact(n) for n in (3, 5, 7, 10, 20, 27, 40, 60, 100, 260, 1000)]
    several = product((3, 10, 27, 100, 1000), shares, alike)
    over = product((2, 3, 5, 14, 26, 60), shares, alike, (False, True))
    paired = product((2, 3, 5, 14, 26, 60), moves, alike, (False, True), (1, 5))
    measured = {
        "share, asked once (exact)": summary("share, asked once (exact)", [*np.concatenate(once).tolist()]),
        "share, five tries": summary(
            "share, five tries", [covered(tries(n, truth, each, draws), truth) for n, truth, each in several]
        ),
        "share over templates": summary(
            "share over templates",
            [covered(templates(n, truth, each, uneven, draws), truth) for n, truth, each, uneven in over],
        ),
        "difference over templates": summary(
            "difference over templates",
            [
                covered(gains(n, move, each, uneven, asked, draws), move[0] - move[1])
                for n, move, each, uneven, asked in paired
            ],
        ),
    }
    alarms = {
        "27 prompts, one try": false_alarms(27, 1, 1, 0.0),
        "27 prompts, five tries": false_alarms(27, 1, 5, 0.0),
        "26 templates of 10 prompts": false_alarms(26, 10, 1, 0.0),
        "26 templates of 10 prompts, shared luck": false_alarms(26, 10, 1, 2.0),
        "8 templates of 10 prompts, shared luck": false_alarms(8, 10, 1, 2.0),
    }
    for name, called in alarms.items():
        print(f"{name:45} called different {called:.1%}")
    keep_benchmark("coverage", {"draws": draws, "coverage": measured, "false_alarms": alarms}, MEASURED)


if __name__ == "__main__":
    typer.run(main)
