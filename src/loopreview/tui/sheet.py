"""One transcript as the review desk sees it: its parts, its quotes, its verdicts and how it stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loopreview.models.rubric import Criterion, Rubric
from loopreview.models.transcript import Transcript, persona_name
from loopreview.models.verdict import Assessment, Evidence, Verdict
from loopreview.rules.lint import lint_verdict
from loopreview.rules.quotes import locate
from loopreview.rules.review import TranscriptReview
from loopreview.tui.page import Section, sections_of, shown_span


class Stop(NamedTuple):
    """A quote that `tab` stops at."""

    exchange: int
    role: str
    quote: str
    backends: tuple[str, ...]
    """The judges that gave it."""
    against: bool
    """The strongest quote against the judge's own answer."""
    section: int | None
    """Its part of the transcript, null where there is no such exchange."""
    span: tuple[int, int] | None
    """Its place in that part's shown text, null where it was not found there."""


@dataclass
class Sheet:
    """Mutable in `assessment` and `review` only, which a recorded act renews."""

    transcript: Transcript
    rubric: Rubric
    backends: Sequence[str]
    verdicts: Mapping[str, Mapping[str, Verdict]]
    """criterion → backend → the verdict that stands."""
    check_notes: Mapping[str, str]
    """criterion → how code came to its answer."""
    check_evidence: Mapping[str, Sequence[Evidence]]
    assessment: Assessment
    review: TranscriptReview
    to_answer: Sequence[str]
    not_asked: Sequence[str]
    because: str = "asked for"
    sections: list[Section] = field(default_factory=list)
    key: str = ""
    """The hash of the transcript's content."""
    _stops: dict[str, list[Stop]] = field(default_factory=dict)
    _lint: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sections:
            self.sections = sections_of(self.transcript.messages)
        if not self.key:
            self.key = self.transcript.hash

    @property
    def id(self) -> str:
        return self.transcript.id

    @property
    def exchange_count(self) -> int:
        last = self.sections[-1].exchange if self.sections else 0
        return last

    @property
    def title(self) -> str:
        """Id, persona and file, as far as they say something."""
        file, _, record = (self.transcript.source or "").rsplit("/", 1)[-1].partition("#")
        stem = file.removesuffix(".jsonl").removesuffix(".json")
        source = stem if record in ("", stem) else f"{stem}#{record}"
        return "  ".join(part for part in (self.id, persona_name(self.transcript.persona), source) if part)

    def criterion(self, id: str) -> Criterion:
        found = self.rubric.criterion(id)
        if found is None:
            raise KeyError(id)
        return found

    def section_of(self, exchange: int, role: str) -> int | None:
        for number, section in enumerate(self.sections):
            if section.exchange == exchange and section.role == role:
                return number
        return None

    def stops(self, criterion: str) -> list[Stop]:
        """The quotes about a criterion: first those of judges whose answer counts, in the judges' order, then quotes
        against an answer. The same quote of two judges is one stop."""
        if criterion not in self._stops:
            self._stops[criterion] = self._find_stops(criterion)
        return self._stops[criterion]

    def _find_stops(self, criterion: str) -> list[Stop]:
        given: list[tuple[Evidence, str, bool]] = []
        merged = counted(self.assessment.merged.get(criterion))
        verdicts = self.verdicts.get(criterion, {})
        judges = sorted(
            (backend for backend in self.backends if backend in verdicts),
            key=lambda backend: counted(verdicts[backend].answer) != merged,
        )
        for backend in judges:
            given += [(evidence, backend, False) for evidence in verdicts[backend].evidence]
        given += [(evidence, "check", False) for evidence in self.check_evidence.get(criterion, ())]
        for backend in judges:
            against = verdicts[backend].counter_evidence
            if against is not None and against.quote.strip():
                given.append((against, backend, True))
        found: dict[tuple[object, ...], Stop] = {}
        for evidence, backend, against_it in given:
            section = self.section_of(evidence.exchange, evidence.role)
            span = self._place(section, evidence)
            same = (section, span or evidence.quote)
            if same in found:
                stop = found[same]
                if backend not in stop.backends:
                    found[same] = stop._replace(backends=(*stop.backends, backend))
                continue
            found[same] = Stop(evidence.exchange, evidence.role, evidence.quote, (backend,), against_it, section, span)
        return list(found.values())

    def _place(self, section: int | None, evidence: Evidence) -> tuple[int, int] | None:
        if section is None:
            return None
        part = self.sections[section]
        quote = evidence.quote.strip()
        # Most quotes are exact; folding a long message to find them would take tens of milliseconds.
        start = part.raw.find(quote) if quote and evidence.occurrence == 1 else -1
        span = (start, start + len(quote)) if start >= 0 else locate(evidence.quote, part.raw, evidence.occurrence)
        return shown_span(part, *span) if span is not None else None

    def lint(self, criterion: str) -> list[str]:
        """What is wrong with the judges' evidence: `judge: remark`."""
        if criterion not in self._lint:
            exchanges = self.transcript.exchanges
            self._lint[criterion] = [
                f"{backend}: {remark}"
                for backend, verdict in self.verdicts.get(criterion, {}).items()
                for remark in lint_verdict(verdict, exchanges)
            ]
        return self._lint[criterion]

    def lint_known(self, criterion: str) -> bool:
        """Whether `lint` was computed for this criterion and found something."""
        return bool(self._lint.get(criterion))

    def mine(self, criterion: str, reviewer: str) -> str | None:
        """My answer that stands."""
        return self.assessment.human.get(criterion, {}).get(reviewer)


def spans_of(stops: Sequence[Stop], quote: int) -> tuple[list[tuple[int, int, int]], int | None]:
    """(section, start, end) of the quotes that were found, and which of them is the one numbered `quote`."""
    places = [n for n, stop in enumerate(stops) if stop.span is not None and stop.section is not None]
    here = quote % len(stops) if stops else -1
    spans = [(stops[n].section or 0, *(stops[n].span or (0, 0))) for n in places]
    return spans, places.index(here) if here in places else None


def counted(answer: str | None) -> str | None:
    """The answer as it counts: an invalid NA is a NO; an error or an open one is none."""
    if answer == "INVALID_NA":
        return "NO"
    return answer if answer in ("YES", "NO", "NA") else None


def is_split(sheet: Sheet, criterion: str) -> bool:
    """The judges do not all say the same."""
    answers = {counted(a) or a for a in sheet.assessment.answers.get(criterion, {}).values()}
    return len(answers) > 1
