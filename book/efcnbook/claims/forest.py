"""A small forest plot as SVG that stands in a page: a line for each effect, its mean and interval against zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

from efcnbook.claims.effects import Effects
from efcnbook.claims.finding import Scale
from efcnbook.statistics.intervals import Interval, signed
from efcnbook.statistics.wording import escaped

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 380, 20, 78, 104, 16, 34  # of the picture, in its own units


@dataclass(frozen=True)
class Row:
    """One line: its name, interval, and on which side of zero that lies."""

    name: str
    interval: Interval
    side: str


def rows(effects: Effects) -> list[Row]:
    """A line for each effect, relax times first."""
    return [Row(str(label), of, effects.side(label)) for label, of in effects.intervals.items()]


def svg(lines: Sequence[Row], scale: Scale, title: str) -> str:
    """The picture; ``title`` says in words what it shows. An interval that goes on beyond the axis ends in an arrow."""
    height = TOP + ROW * len(lines) + BOTTOM
    low, high = _range(lines, scale.factor)

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    bottom = height - BOTTOM
    parts = [
        f'<svg class="forest" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escaped(title)}">',
        f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{TOP}" y2="{bottom}"/>',
    ]
    for tick in _ticks(low, high):
        parts.append(f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 15}" text-anchor="middle">{_number(tick)}</text>')
    heading = '<tspan font-style="italic">t</tspan><tspan dy="3" font-size="9">w</tspan>'
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 4}" text-anchor="end">{heading}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{height - 4}" text-anchor="middle">{escaped(scale.unit)}</text>')
    for place, line in enumerate(lines):
        y = TOP + ROW * (place + 0.5)
        mean, *ends = (scale.factor * value for value in (line.interval.mean, line.interval.low, line.interval.high))
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escaped(line.name)}</text>')
        if isfinite(ends[0]):
            left, right = (x(min(max(end, low), high)) for end in ends)
            parts.append(f'<line class="{line.side}" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"/>')
            if ends[0] < low:
                parts.append(f'<path class="{line.side}" d="M{left:.1f} {y}l7 -4v8z"/>')
            if ends[1] > high:
                parts.append(f'<path class="{line.side}" d="M{right:.1f} {y}l-7 -4v8z"/>')
        parts.append(f'<circle class="{line.side}" cx="{x(mean):.1f}" cy="{y}" r="3.5"/>')
        words = signed(mean, scale.digits) + (f" ± {ends[1] - mean:.{scale.digits}f}" if isfinite(ends[1]) else "")
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4}">{words}</text>')
    return "".join([*parts, "</svg>"])


def _range(lines: Sequence[Row], factor: float) -> tuple[float, float]:
    """What the axis shows: zero, every mean, and every interval unless it is five times as wide as the others."""
    of = [line.interval for line in lines]
    halves = [factor * one.half if isfinite(one.half) else 0.0 for one in of]
    known = sorted(half for half in halves if half)
    most = 5 * known[len(known) // 2] if known else 0.0
    ends = [
        factor * one.mean + sign * min(half, most) for one, half in zip(of, halves, strict=True) for sign in (-1, 1)
    ]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two others."""
    step = 10 ** floor(log10((high - low) / 3))
    step *= next(times for times in (1, 2, 5, 10) if (high - low) / (times * step) <= 6)
    return [step * number for number in range(ceil(low / step), floor(high / step) + 1)]


def _number(value: float) -> str:
    return f"{round(value, 10):g}".replace("-", "−")
