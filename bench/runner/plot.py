"""Lines in an SVG picture, for the README: no library, and the same bytes for the same figures."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 820, 440
LEFT, RIGHT, TOP, BOTTOM = 72, 190, 46, 56
LABEL_HEIGHT = 17
# Told apart by people who see colours differently, too (after Okabe and Ito); the first is Sluice's.
COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#555555",
           "#999933"]


def ticks(low, high, log):
    """Round values that cover low to high: 1, 2 and 5 times a power of ten."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        wide = len(powers) > 4
        found = [digit * 10.0 ** power for power in powers for digit in ([1] if wide else [1, 2, 5])]
        below = max((tick for tick in found if tick <= low), default=low)
        above = min((tick for tick in found if tick >= high), default=high)
        return [tick for tick in found if below <= tick <= above]
    rough = (high - low) / 6 or 1
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, last + 1)]


def number(value):
    """1,000 or 0.5: as few digits as the value needs."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


class Axis:
    """Maps values between the outer ticks to places between start and end."""

    def __init__(self, values, log, start, end):
        self.log = log
        self.ticks = ticks(min(values) if log else min(0, *values, 0), max(values), log)
        self.start, self.end = start, end

    def place(self, value):
        scale = math.log10 if self.log else float
        low, high = scale(self.ticks[0]), scale(self.ticks[-1])
        share = (scale(value) - low) / ((high - low) or 1)
        return round(self.start + share * (self.end - self.start), 1)


def spread(wanted):
    """Moves the labels' heights apart, as little as it takes, in their order."""
    placed = []
    for height in wanted:
        placed.append(max(height, placed[-1] + LABEL_HEIGHT) if placed else height)
    lowest = HEIGHT - BOTTOM
    for place in range(len(placed) - 1, -1, -1):
        placed[place] = min(placed[place], lowest)
        lowest = placed[place] - LABEL_HEIGHT
    return placed


def text(x, y, words, anchor="middle", extra=""):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def grid(x_axis, y_axis, x_label, y_label):
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" class="grid"/>')
        parts.append(text(LEFT - 8, y + 4, number(tick), "end"))
    for tick in x_axis.ticks:
        x = x_axis.place(tick)
        parts.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" class="grid"/>')
        parts.append(text(x, HEIGHT - BOTTOM + 18, number(tick)))
    parts.append(text((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 12, x_label))
    middle = (TOP + HEIGHT - BOTTOM) // 2
    parts.append(text(18, middle, y_label, extra=f' transform="rotate(-90 18 {middle})"'))
    return parts


def line(points, colour, x_axis, y_axis, first):
    places = [(x_axis.place(x), y_axis.place(y)) for x, y, _, _ in points]
    joined = " ".join(f"{x},{y}" for x, y in places)
    parts = [f'<polyline points="{joined}" fill="none" stroke="{colour}" '
             f'stroke-width="{3.5 if first else 2}"/>']
    for (x, y), (_, _, low, high) in zip(places, points):
        parts.append(f'<circle cx="{x}" cy="{y}" r="{4 if first else 3}" fill="{colour}"/>')
        if low != high:
            parts.append(f'<line x1="{x}" y1="{y_axis.place(low)}" x2="{x}" '
                         f'y2="{y_axis.place(high)}" stroke="{colour}"/>')
    return parts


def lines(title, x_label, y_label, series, log_x=True, log_y=False):
    """The picture of {name: [(x, y, low, high), …]}, each from left to right; low and high are the
    spread of y, drawn as a bar. The first name is drawn stronger. On a logarithmic axis values are
    above 0. Returns the SVG, or raises ValueError when there is nothing to draw."""
    series = {name: sorted(points) for name, points in series.items() if points}
    every = [point for points in series.values() for point in points]
    if not every:
        raise ValueError(f"nothing to draw in '{title}'")
    x_axis = Axis([point[0] for point in every], log_x, LEFT, WIDTH - RIGHT)
    y_axis = Axis([value for point in every for value in point[1:]], log_y, HEIGHT - BOTTOM, TOP)

    drawn = []
    names = list(series)
    # The first is drawn last, over the others.
    for place in range(len(names) - 1, -1, -1):
        drawn += line(series[names[place]], COLOURS[place % len(COLOURS)], x_axis, y_axis,
                      place == 0)
    ends = sorted((y_axis.place(series[name][-1][1]), place) for place, name in enumerate(names))
    for height, (_, place) in zip(spread([end for end, _ in ends]), ends):
        weight = ";font-weight:bold" if place == 0 else ""
        drawn.append(text(WIDTH - RIGHT + 12, round(height + 4, 1), names[place], "start",
                          f' style="fill:{COLOURS[place % len(COLOURS)]}{weight}"'))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">',
        "<style>text{font:13px sans-serif;fill:#333}.grid{stroke:#ddd}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(LEFT, 26, title, "start", ' style="font-size:15px;font-weight:bold"'),
        *grid(x_axis, y_axis, x_label, y_label), *drawn, "</svg>"]) + "\n"
