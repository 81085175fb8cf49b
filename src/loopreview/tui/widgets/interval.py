"""A pass rate with its interval on a line from 0 to 100 %."""

from collections.abc import Sequence

from textual.content import Content


def interval_bar(rate: float | None, interval: Sequence[float] | None, width: int, *, target: float = 0.7) -> Content:
    """`├────●──┼──┤`: the interval, the rate, and the target where it lies. `rate`, `interval` and `target` are
    shares from 0 to 1; without a rate only the target is drawn."""
    if width < 3:
        return Content("")
    cells = [" "] * width

    def at(share: float) -> int:
        return max(0, min(width - 1, round(share * (width - 1))))

    goal = at(target)
    cells[goal] = "│"
    if rate is None or interval is None:
        return Content.assemble(("".join(cells), "dim"))
    low, high = at(interval[0]), at(interval[1])
    for x in range(low, high + 1):
        cells[x] = "─"
    cells[low], cells[high] = "├", "┤"
    if low <= goal <= high:
        cells[goal] = "┼"
    dot = at(rate)
    cells[dot] = "●"
    tone = "bold $text-success" if rate >= target else "bold $text-warning"
    return Content.assemble("".join(cells[:dot]), ("●", tone), "".join(cells[dot + 1 :]))


def scale_line(width: int, *, target: float = 0.7) -> str:
    """The scale above the bars: `0          70%   100%`, as far as it has room."""
    text = [" "] * width

    def put(x: int, label: str) -> None:
        x = max(0, min(width - len(label), x))
        for i, character in enumerate(label):
            text[x + i] = character

    if width < 14:
        return " " * max(0, width)
    put(0, "0")
    put(width - 4, "100%")
    label = f"{target:.0%}"
    x = round(target * (width - 1)) - len(label) // 2
    if x + len(label) < width - 4:
        put(x, label)
    return "".join(text)
