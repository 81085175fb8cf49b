"""How each transcript stands: verdicts and reviews, merged and scored, kept under the hash of what they derive from."""

from loopreview.models.hashing import content_hash
from loopreview.models.rubric import Criterion
from loopreview.models.transcript import Transcript, exchanges_of
from loopreview.models.verdict import Answer, Assessment, PanelMember, Verdict
from loopreview.rules.checks import CheckResult, measure, run_check
from loopreview.rules.merge import assign, merge_answers
from loopreview.rules.repeats import as_new
from loopreview.rules.review import Flags, TranscriptReview, flags, fold
from loopreview.rules.score import assess_transcript, score_answers
from loopreview.rules.stale import imported_key, shown_examples, verdict_key
from loopreview.rules.tally import letters
from loopreview.store import events, standing, transcripts, verdicts
from loopreview.workspace import Workspace


def wanted_key(workspace: Workspace, transcript: Transcript, criterion: Criterion, fingerprint: str) -> str:
    """The key a verdict must have to be an answer to what would be asked now."""
    return _asked_key(workspace, transcript, transcript.hash, criterion, fingerprint)


def _asked_key(workspace: Workspace, transcript: Transcript, hash: str, criterion: Criterion, fingerprint: str) -> str:
    shown = shown_examples(criterion, transcript.id, transcript.source)
    return verdict_key(hash, criterion, shown, workspace.assessor_version, fingerprint)


class Panel:
    """The verdicts of one transcript that answer what would be asked now, and those that are stale."""

    def __init__(self, workspace: Workspace, transcript: Transcript) -> None:
        members: list[PanelMember] = verdicts.panel(workspace.store, transcript.id)
        self.backends = list(dict.fromkeys(member.backend for member in members))
        self.current: dict[str, dict[str, Verdict]] = {}
        """criterion → backend → verdict; of the panel, and of today's judges although not asked yet."""
        self.stale_imported: list[Verdict] = []
        """The latest imported answers whose wording has changed since, where no other answer took their place."""
        # A judge that left the settings is held to the model and parameters it was last asked with.
        asked_as = {member.backend: member.asked_as for member in members if member.asked_as}
        asked_as |= {name: judge.fingerprint for name, judge in workspace.settings.judges.items()}
        criteria = {criterion.id: criterion for criterion in workspace.rubric.criteria}
        backends = {*self.backends, *asked_as}
        content = transcript.hash
        keys: dict[tuple[str, str], set[str]] = {}
        old: dict[tuple[str, str], Verdict] = {}
        for verdict in verdicts.of(workspace.store, transcript.id):
            if verdict.criterion not in criteria or verdict.backend not in backends:
                continue
            place = (verdict.criterion, verdict.backend)
            if place not in keys:
                criterion = criteria[verdict.criterion]
                keys[place] = {imported_key(content, criterion, verdict.backend)}
                if verdict.backend in asked_as:
                    keys[place].add(_asked_key(workspace, transcript, content, criterion, asked_as[verdict.backend]))
            if verdict.key in keys[place]:
                self.current.setdefault(verdict.criterion, {})[verdict.backend] = verdict
            elif verdict.origin == "imported":
                old[place] = verdict
        self.stale_imported = [v for place, v in old.items() if not self.has_answer(*place)]

    def has_answer(self, criterion: str, backend: str) -> bool:
        """Whether there is a current, usable answer."""
        verdict = self.current.get(criterion, {}).get(backend)
        return verdict is not None and verdict.answer != "ERROR"


class Standing:
    """One transcript with all that is known about it."""

    def __init__(self, workspace: Workspace, transcript: Transcript) -> None:
        self.transcript = transcript
        self.exchanges = exchanges_of(transcript.messages)
        self.panel = Panel(workspace, transcript)
        self.checks = run_checks(workspace, transcript)
        self.raw = {
            criterion: {b: verdict.answer for b, verdict in by_backend.items() if b in self.panel.backends}
            for criterion, by_backend in self.panel.current.items()
        }
        self.review: TranscriptReview
        self.assessment: Assessment
        self.fold(workspace)

    def fold(self, workspace: Workspace, *, repeat_of: str | None = None) -> None:
        """Read the reviewers' events anew and score again; what judges and code said stays as it was read.
        `repeat_of`: the reviewer to whom this is a hidden repeat, and who is to see nothing of what they said."""
        said = events.of(workspace.store, self.transcript.id)
        folded = fold(said if repeat_of is None else as_new(said, repeat_of))
        self.review = folded.transcripts.get(self.transcript.id, TranscriptReview())
        self.assessment = assess_transcript(
            workspace.rubric,
            transcript=self.transcript.id,
            exchange_count=len(self.exchanges),
            complete=self.transcript.complete,
            panel=self.panel.backends,
            raw=self.raw,
            checks=self.checks,
            review=self.review,
            rule=workspace.settings.merge,
        )


def of(workspace: Workspace, id: str) -> Standing:
    """How the transcript `id` stands now, computed afresh."""
    return Standing(workspace, transcripts.get(workspace.store, id))


def assessment(workspace: Workspace, id: str) -> Assessment:
    return of(workspace, id).assessment


def run_checks(workspace: Workspace, transcript: Transcript) -> dict[str, CheckResult]:
    """The answers of code, by criterion."""
    exchanges = exchanges_of(transcript.messages)
    measured = measure(exchanges)
    return {
        criterion.id: run_check(criterion, exchanges, measured)
        for criterion in workspace.rubric.criteria
        if criterion.kind == "check"
    }


def context(workspace: Workspace) -> str:
    """Hash of what, beside a transcript's own rows, decides how it stands."""
    judges = {name: judge.fingerprint for name, judge in workspace.settings.judges.items()}
    return content_hash(workspace.rubric.version, workspace.prompts["assessor"], judges, workspace.settings.merge)


def rules_compared(workspace: Workspace, found: Standing) -> dict[str, bool | None]:
    """Judged pass under each merging rule: strictest, majority, each backend alone; and under `-NAME`, by the rule in
    force, what the panel would say without that backend."""
    if not found.transcript.complete:
        return {}
    rubric, backends = workspace.rubric, found.panel.backends
    passes: dict[str, bool | None] = {}
    kinds = [(rule, rule, backends) for rule in ("strictest", "majority", *backends)]
    if len(backends) > 1 and workspace.settings.merge in ("strictest", "majority"):
        kinds += [(f"-{name}", workspace.settings.merge, [b for b in backends if b != name]) for name in backends]
    for named, rule, panel in kinds:
        merged: dict[str, Answer | None] = {}
        for criterion in rubric.criteria:
            answers = found.assessment.answers.get(criterion.id, {})
            if "check" in answers:
                merged[criterion.id] = answers["check"]
            else:
                raw = {b: answer for b, answer in found.raw.get(criterion.id, {}).items() if b in panel}
                assigned = assign(criterion, raw, len(found.exchanges))
                merged[criterion.id] = merge_answers(rule, assigned, panel)
        passes[named] = score_answers(rubric, merged).passed
    return passes


def refresh(workspace: Workspace, *, batch: int | None = None, limit: int | None = None) -> str:
    """Bring the kept rows up to date (of one `batch`; `limit`: about that many of them) and return the context they
    are kept under. A thousand at a time, so that an interrupted run has kept most of its work."""
    now, done = context(workspace), 0
    while (limit is None or done < limit) and (stale := standing.stale(workspace.store, now, batch=batch, limit=1000)):
        done += len(stale)
        standing.save(workspace.store, now, [_kept(workspace, id, revision) for id, revision in stale.items()])
    return now


def _kept(workspace: Workspace, id: str, revision: int) -> standing.Standing:
    found = of(workspace, id)
    return standing.Standing(
        found.assessment,
        revision,
        *_counted(flags(found.assessment, found.review)),
        rules=rules_compared(workspace, found),
        letters=letters(workspace.rubric, found.assessment),
    )


def _counted(found: Flags) -> tuple[int, int, int, int, bool, bool]:
    return (
        len(found.false_positive),
        len(found.false_negative),
        len(found.na),
        found.gaps,
        found.transcript_false_positive,
        found.transcript_false_negative,
    )
