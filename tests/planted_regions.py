"""How often the number of regions chosen is that of planted ones: `python tests/planted_regions.py`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from taskdepth.selection import detect_regions


def steps(n_layers: int, ends: Sequence[int], levels: Sequence[float]) -> np.ndarray:
    """Constant from one end to the next."""
    return np.repeat(np.array(levels), np.diff([0, *ends, n_layers]))


def lines(n_layers: int, ends: Sequence[int], values: Sequence[float]) -> np.ndarray:
    """Straight between `values`: those at the first layer, between the regions, at the last layer."""
    knots = [1.0, *(end + 0.5 for end in ends), n_layers]
    return np.interp(np.arange(1, n_layers + 1), knots, values)


# where regions end, in shares of all layers, and their levels
STEPS = {
    "up": ((0.5,), (0, 1)),
    "down, down": ((0.3, 0.75), (1, 0.4, 0)),
    "up, half down": ((0.3, 0.75), (0, 1, 0.5)),
    "up, down": ((0.3, 0.75), (0, 1, 0)),
    "up, up, down": ((0.25, 0.5, 0.75), (0, 0.6, 1, 0.3)),
    "up, up, up": ((0.25, 0.5, 0.75), (0, 0.3, 0.6, 1)),
}
# and where straight lines meet
LINES = {
    "calm, climb": ((0.5,), (0, 0, 1)),
    "slow, fast": ((0.5,), (0, 0.2, 1)),
    "climb, fall": ((0.5,), (0, 1, 0.2)),
    "calm, fall, calm": ((0.3, 0.75), (1, 1, 0, 0)),
    "slow, fast, slow": ((0.3, 0.75), (1, 0.9, 0.1, 0)),
    "calm, climb, calm, fall": ((0.25, 0.5, 0.75), (0, 0, 1, 1, 0.2)),
}
NOISES = (0.01, 0.02, 0.05)  # standard deviation, of the curve's range
KINDS = {"steps": (STEPS, steps), "lines": (LINES, lines)}


def planted(
    kind: str, name: str, n_layers: int, n_signals: int, noise: float, rng: np.random.Generator
) -> np.ndarray:
    """Signals that follow one curve, each with its own sign, size and noise."""
    shapes, drawn = KINDS[kind]
    shares, values = shapes[name]
    curve = drawn(n_layers, [round(share * n_layers) for share in shares], values)
    size = rng.uniform(0.3, 0.6, (n_signals, 1)) * rng.choice([-1, 1], (n_signals, 1))
    return size * (curve + noise * rng.standard_normal((n_signals, n_layers)))


def count(signals: np.ndarray) -> int:
    """How many regions are found where their number is chosen; 1 for none."""
    return detect_regions(signals, None, n_bootstrap=1).n_regions


def main(numbers_of_layers: Sequence[int], n_curves: int = 12, n_noises: int = 300) -> None:
    """Print shares of `n_curves` draws of every curve, and of `n_noises` draws of white noise."""
    print(f"noise {', '.join(f'{noise:.0%}' for noise in NOISES)} of the range in turn")
    print("layers  signals  curves  regions   right  fewer   none   more")
    for n_layers in numbers_of_layers:
        for n_signals in (1, 4):
            rng = np.random.default_rng([n_layers, n_signals])
            for kind, (shapes, _) in KINDS.items():
                found: dict[int, Counter[int]] = {2: Counter(), 3: Counter(), 4: Counter()}
                for name, (shares, _) in shapes.items():
                    for draw in range(n_curves):
                        noise = NOISES[draw % len(NOISES)]
                        signals = planted(kind, name, n_layers, n_signals, noise, rng)
                        found[len(shares) + 1][count(signals)] += 1
                for n, counts in found.items():
                    rows = (counts[n], sum(counts[k] for k in range(2, n)), counts[1])
                    shown = [*rows, counts.total() - sum(rows)]
                    cells = "".join(f"{row / counts.total():7.0%}" for row in shown)
                    print(f"{n_layers:6}{n_signals:9}  {kind:6}{n:9} {cells}", flush=True)
            noises = rng.standard_normal((n_noises, n_signals, n_layers))
            seen = sum(count(noise) > 1 for noise in noises)
            print(f"{n_layers:6}{n_signals:9}  noise: regions in {seen / n_noises:.1%}", flush=True)


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]] or (8, 16, 32))
