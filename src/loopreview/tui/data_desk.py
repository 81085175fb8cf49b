"""What the Data screen knows: the plan of an export, the audit, the coverage, one example. No widgets."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from loopreview.dataset.which_tokenizer import NO_TOKENIZER
from loopreview.models.errors import UserError
from loopreview.store import batches
from loopreview.store import events as acts
from loopreview.tui import data_view
from loopreview.tui.auditing import ALL, APPROVED, audit_of, coverage_of
from loopreview.tui.data_view import Plan
from loopreview.tui.exporting import Exporter, Wish
from loopreview.tui.planning import Planning
from loopreview.workspace import Workspace

QUICK_S = 5.0
"""What took longer to find out is not found out anew by itself, only when asked."""
APART_S = 2.0
"""The plan is made anew by itself at most this often."""

Audit = Callable[[Path, str], Awaitable[dict[str, Any]]]
Coverage = Callable[[Path], Awaitable[dict[str, Any]]]


class DataDesk:
    """Asks the planner and our own commands; `changed` is called whenever there is something new to show."""

    def __init__(
        self,
        workspace: Workspace,
        wish: Wish,
        changed: Callable[[], None],
        *,
        audit: Audit = audit_of,
        coverage: Coverage = coverage_of,
    ) -> None:
        """`audit` and `coverage` give what the commands of that name print under `--json`."""
        self.workspace, self.wish, self._changed = workspace, wish, changed
        self._audit, self._coverage = audit, coverage
        self.planning = Planning(workspace.root, self.heard)
        self.exporter = Exporter(workspace.root)
        self.plan: Plan | None = None
        self.trouble = ""
        """Why the plan could not be made as wished."""
        self.progress = ""
        """What the planner is at; empty while it rests."""
        self.scope = ""
        """What is audited: all, approved, or `batch 3`; empty until the first plan says what there is."""
        self.chosen = 0
        """The number of the chosen example."""
        self.example: dict[str, Any] | None = None
        """The chosen example as the planner answered it; an answer `error` says why not."""
        self.found: dict[str, Any] = {}
        """What was counted (`coverage`, or `audit` and a scope) → its report, or a text saying why there is none."""
        self.counting = False
        self._begun: dict[str, tuple[object, float]] = {}
        self._planned: tuple[object, float] | None = None
        self._asked_with = ""
        self._asked_for_plan = self._asked_for_example = 0

    def close(self) -> None:
        self.planning.close()

    def stamp(self) -> object:
        """Another one whenever something was stored, here or by another process."""
        try:
            latest = acts.log(self.workspace.store, limit=1)
            return self.workspace.store.data_version(), latest[-1].id if latest else 0
        except UserError:
            return None

    # The plan and the examples

    def look(self) -> None:
        """Ask what an export would write."""
        self._planned = (self.stamp(), time.monotonic())
        self._ask_for_plan(self.wish.tokenizer)

    def look_anew(self) -> None:
        """Find everything out once more."""
        self.found.clear()
        self.trouble = ""
        self.look()

    def look_if_changed(self, *, apart: float = APART_S) -> None:
        """The same where something was stored since, unless that takes long."""
        if self._planned is None or self._asked_for_plan or self.exporter.running:
            return
        stamp, at = self._planned
        slow = self.plan is not None and self.plan.seconds > QUICK_S
        if not slow and time.monotonic() - at > apart and stamp != self.stamp():
            self.look()

    @property
    def plan_is_old(self) -> bool:
        """Whether something was stored since the plan was asked for."""
        return self._planned is not None and not self._asked_for_plan and self._planned[0] != self.stamp()

    def _ask_for_plan(self, tokenizer: str) -> None:
        wish, self._asked_with = self.wish, tokenizer
        try:
            self._asked_for_plan = self.planning.ask(
                ask="plan", tokenizer=tokenizer, kind=wish.kind, form=wish.form, supervise=wish.supervise
            )
        except UserError as error:
            self.trouble = str(error)
        else:
            self.progress = "looking …"
        self._changed()

    def choose(self, number: int) -> None:
        """Choose an example; `ask_for_example` then asks for it."""
        if self.plan is not None and self.plan.examples:
            self.chosen = max(0, min(number, len(self.plan.examples) - 1))

    def ask_for_example(self) -> None:
        if self.plan is None or not self.plan.examples:
            return
        one = self.plan.examples[self.chosen]
        try:
            self._asked_for_example = self.planning.ask(ask="example", transcript=one.transcript, at=one.at)
        except UserError as error:
            self.example = {"answer": "error", "why": str(error)}

    def heard(self, answer: dict[str, Any]) -> None:
        """An answer of the planner; one to an earlier question is passed over."""
        if answer["id"] == self._asked_for_example and answer["answer"] in ("example", "error"):
            self.example = answer
        elif answer["id"] != self._asked_for_plan:
            return
        elif answer["answer"] == "progress":
            self.progress = data_view.progress_said(answer)
        elif answer["answer"] == "plan":
            self._take(Plan(answer))
        else:
            self._not_planned(str(answer.get("why", "")))
        self._changed()

    def _take(self, plan: Plan) -> None:
        self.plan, self.progress, self._asked_for_plan = plan, "", 0
        if not self.scope:
            self.scope = APPROVED if plan.chosen else ALL
        self.chosen = max(0, min(self.chosen, len(plan.examples) - 1))
        self.example = None
        self.ask_for_example()

    def _not_planned(self, why: str) -> None:
        self.progress, self._asked_for_plan = "", 0
        self.trouble = why
        if self._asked_with != NO_TOKENIZER and (self.plan is None or self.plan.tokenizer is not None):
            self._ask_for_plan(NO_TOKENIZER)  # what can be said without it is said

    # Audit and coverage

    def audited(self) -> dict[str, Any] | None:
        """The audit of the present scope, once it is there."""
        return self._report(f"audit {self.scope}")

    def covered(self) -> dict[str, Any] | None:
        return self._report("coverage")

    def _report(self, what: str) -> dict[str, Any] | None:
        found = self.found.get(what)
        return found if isinstance(found, dict) else None

    def missing(self) -> str | None:
        """What is not counted yet, or was before something was stored."""
        if not self.scope:
            return None
        for what in (f"audit {self.scope}", "coverage"):
            if what not in self.found or self.is_old(what, QUICK_S):
                return what
        return None

    def is_old(self, what: str, quick: float = float("inf")) -> bool:
        """Whether something was stored since this was counted, in less than `quick` seconds."""
        before, seconds = self._begun.get(what, (None, 0.0))
        return what in self.found and before != self.stamp() and seconds < quick

    async def count(self) -> None:
        """Count what is missing. One after the other: the processors are shared with whatever else runs."""
        self.counting = True
        try:
            while (what := self.missing()) is not None:
                began, stamp = time.monotonic(), self.stamp()
                root = self.workspace.root
                try:
                    scope = what.removeprefix("audit ")
                    found: Any = await (self._coverage(root) if what == "coverage" else self._audit(root, scope))
                except (UserError, OSError) as error:
                    found = str(error)
                self.found[what], self._begun[what] = found, (stamp, time.monotonic() - began)
                self._changed()
                await asyncio.sleep(0)
        finally:
            self.counting = False
        self._changed()

    def batches(self) -> list[int]:
        """Oldest first. Raises UserError."""
        return [batch.id for batch in batches.listed(self.workspace.store)]

    def next_scope(self) -> str:
        """All, the approved, the newest batch in turn."""
        ids = self.batches()
        after = {ALL: APPROVED, APPROVED: f"batch {ids[-1]}" if ids else ALL}
        return after.get(self.scope, ALL)

    def other_batch(self, step: int) -> str | None:
        """The batch before or after the one that is audited, else the newest."""
        ids = self.batches()
        present = self.scope.removeprefix("batch ")
        at = ids.index(int(present)) + step if present.isdigit() and int(present) in ids else len(ids) - 1
        return f"batch {ids[max(0, min(at, len(ids) - 1))]}" if ids else None
