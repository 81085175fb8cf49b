"""Finding words in a transcript."""

from collections.abc import Sequence

from loopreview.tui.page import Section

LIMIT = 2000
"""Matches that are gone through; a search for one letter finds more than anyone reads."""


def matches(sections: Sequence[Section], query: str) -> list[tuple[int, int, int]]:
    """(section, start, end) of each place in the shown texts, capital or small."""
    wanted = query.casefold()
    found: list[tuple[int, int, int]] = []
    if not wanted.strip():
        return found
    for number, section in enumerate(sections):
        text = section.text.casefold()
        if len(text) != len(section.text):  # `ß` and its like change places: compare them as they stand
            text, needle = section.text, query
        else:
            needle = wanted
        start = text.find(needle)
        while start >= 0:
            found.append((number, start, start + len(needle)))
            if len(found) == LIMIT:
                return found
            start = text.find(needle, start + len(needle))
    return found


class Search:
    """What is searched for, and which match is lit."""

    def __init__(self) -> None:
        self.query = ""
        self.found: list[tuple[int, int, int]] = []
        self.at = 0

    def run(self, sections: Sequence[Section], query: str) -> None:
        self.query, self.found, self.at = query, matches(sections, query), 0

    def step(self, step: int) -> None:
        if self.found:
            self.at = (self.at + step) % len(self.found)

    def clear(self) -> None:
        self.query, self.found, self.at = "", [], 0

    def __str__(self) -> str:
        number = f"{self.at + 1}/{len(self.found)}" if self.found else "nothing"
        return f"“{self.query}” {number} · esc leaves" if self.query else ""
