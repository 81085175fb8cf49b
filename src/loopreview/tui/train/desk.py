"""What the Train screen knows: the machine, the plan, the answers, the runs, and the command that is under way. No
widgets."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.models.errors import UserError
from loopreview.tui.train import starting
from loopreview.tui.train.following import Followed, Following
from loopreview.tui.train.proposal import Backend, Dataset, Proposal, Question, backends_of
from loopreview.tui.train.starting import QUESTIONS, Answer, Command, Runner, Wish

LETTERS = "abcdef"
"""Marks of the runs that are compared."""
TRAINED = {"qlora": "a QLoRA adapter", "lora": "a LoRA adapter", "full": "all weights"}
RESUMABLE = ("cancelled", "failed")
NO_GPU = "no GPU here: t, Who trains, cuda or mlx: a slow try on the processor"


class Pending(NamedTuple):
    """A command that waits for `enter`, and what it would do in a line."""

    command: Command
    said: str


class TrainDesk:
    """`changed` is called whenever there is something new to show, `ended` when a run that was watched ends."""

    def __init__(
        self,
        root: Path,
        wish: Wish,
        changed: Callable[[], None],
        ended: Callable[[Followed], None],
        *,
        base_model: str = "",
        looking: Runner = starting.LOOKING,
        doing: Runner = starting.DOING,
    ) -> None:
        """`base_model`: that of the workspace's settings. `looking` runs commands that only look, `doing` those that
        start and stop runs."""
        self.root, self.wish, self._changed = root, wish, changed
        self.base_model = base_model
        self._look, self._do = looking, doing
        self.following = Following(root, ended)
        self.machine: Mapping[str, Any] | None = None
        self.machine_trouble = ""
        self.dataset: Dataset | None = None
        self.proposal: Proposal | None = None
        self.trouble = ""
        """Why there is no plan."""
        self.at_work = ""
        """What is being found out."""
        self.busy = ""
        """What a command of ours is doing to a run."""
        self.pending: Pending | None = None
        self.answers: dict[str, Answer] = {}
        self.answered_for = ""
        """The dataset that the answers are about."""
        self.chosen = ""
        """The id of the run in view."""
        self.marked: list[str] = []

    # What is asked for

    def see_dataset(self) -> bool:
        """See which dataset is meant; True where it is another one than before."""
        folder = Path(self.wish.dataset) if self.wish.dataset else starting.newest_export(self.root)
        found = Dataset.read(folder) if folder is not None else None
        changed, self.dataset = found != self.dataset, found
        return changed

    @property
    def dataset_named(self) -> str:
        return self.wish.dataset or (str(self.dataset.folder) if self.dataset else "")

    @property
    def base(self) -> str:
        """That of the run to go on from stands in its plan."""
        return self.wish.base or (self._base_of(self.wish.start) if self.wish.start else self.base_model)

    def _base_of(self, id: str) -> str:
        one = self.following.get(id)
        return str((one.plan.get("base") if one else None) or "")

    @property
    def given(self) -> dict[str, Answer]:
        """The answers to the TRAIN gate, where they are about this dataset."""
        return self.answers if self.answered_for == self.dataset_named else {}

    @property
    def questions(self) -> list[Question]:
        """Of the TRAIN gate: as the plan asks them, and before there is one as they always are."""
        if self.proposal is not None and self.proposal.questions:
            return self.proposal.questions
        from loopreview.train.gates import QUESTIONS as ASKED

        return [Question(one.key, one.asks, one.why) for one in ASKED]

    @property
    def start(self) -> Command:
        return starting.start(self.root, self.wish, self.dataset_named, self.given)

    @property
    def backends(self) -> list[Backend]:
        return backends_of(self.machine) if self.machine else []

    @property
    def fix(self) -> str | None:
        """What to install where nothing can train here; None where something can."""
        wanted = [one for one in self.backends if one.name == (self.wish.backend or one.name)]
        if not wanted or any(one.ready for one in wanted):
            return None
        return next((one.fix for one in wanted if one.fix), "") or wanted[0].why

    def refusal(self) -> str | None:
        """Why nothing can be started, and what to do, in a line."""
        if self.busy:
            return self.busy
        if self.dataset is None:
            if self.wish.dataset:
                return f"{self.wish.dataset}: no exported dataset is there; t names another, or 4 Data, e exports"
            return "nothing is exported yet: 4 Data, e exports first"
        if (fix := self.fix) is not None:
            return f"no trainer is ready here: {fix}"
        if not self.base and not self.wish.start:
            return "t names the base model: a folder, or its name on the Hub"
        if self.trouble:
            return NO_GPU if self.without_gpu else self.trouble
        if self.proposal is None:
            return "the plan is being made; a moment"
        if (no := self.proposal.refusal) is not None:
            return no
        missing = len(QUESTIONS) - len(self.given)
        if missing:
            return f"a answers the five questions before training ({missing} left)"
        device = self.proposal.plan.get("device")
        for one in self.following.live:
            if one.plan.get("device") == device:
                return f"{one.id} is training on this device; it ends first, or x stops it"
        return None

    @property
    def without_gpu(self) -> bool:
        """Whether there is no plan because nobody said who trains, and this machine has only its processor."""
        kinds = {one.get("kind") for one in (self.machine or {}).get("devices") or () if isinstance(one, dict)}
        return bool(self.trouble) and not self.wish.backend and kinds == {"cpu"} and "--backend" in self.trouble

    # Finding out

    async def find_out(self) -> None:
        """Ask what the machine can run, and what a plan would be."""
        self.at_work = "looking at the machine …"
        self._changed()
        try:
            self.machine, self.machine_trouble = await starting.doctor(self._look), ""
        except (UserError, OSError) as error:
            self.machine_trouble = str(error)
        self.at_work = ""
        await self.plan()

    async def plan(self) -> None:
        """Ask for the plan, where enough is known for one. The one before stays until then."""
        self.trouble = ""
        if self.dataset is None or not (self.base or self.wish.start):
            self.proposal = None
            self._changed()
            return
        wish, self.at_work = self.wish, "planning …"
        self._changed()
        try:
            command = starting.plan(self.root, wish, self.dataset_named)
            self.proposal = Proposal(await starting.asked(self._look, command.args, refusing=True))
        except (UserError, OSError) as error:
            self.proposal, self.trouble = None, str(error)
        finally:
            self.at_work = ""
        self._changed()

    # The runs

    @property
    def run(self) -> Followed | None:
        """The run in view: the chosen one, else the newest that lives, else the newest."""
        found = self.following.get(self.chosen)
        if found is None and self.following.runs:
            found = (self.following.live or self.following.runs)[-1]
        return found

    def choose(self, step: int) -> None:
        """Another run, `step` further down in a list with the newest on top."""
        ids = [one.id for one in reversed(self.following.runs)]
        if ids and self.run is not None:
            self.chosen = ids[max(0, min(len(ids) - 1, ids.index(self.run.id) + step))]

    def mark(self) -> str | None:
        """Mark the chosen run for comparing, or take the mark back; why not, if not."""
        if self.run is None:
            return "there is no run yet"
        if self.run.id in self.marked:
            self.marked.remove(self.run.id)
        elif len(self.marked) == len(LETTERS):
            return f"{len(LETTERS)} runs are marked; space on one of them takes its mark back"
        else:
            self.marked.append(self.run.id)
        return None

    @property
    def compared(self) -> list[tuple[str, Followed]]:
        """The marked runs that are still there, each with its letter."""
        found = [one for id in self.marked if (one := self.following.get(id)) is not None]
        return list(zip(LETTERS, found, strict=False))

    @property
    def wanted(self) -> list[str]:
        """Runs that are in view, to be read before others."""
        newest = self.following.runs[-1].id if self.following.runs else ""
        return [*([self.run.id] if self.run else []), *self.marked, newest]

    def to_cancel(self) -> Followed | None:
        """The chosen run where it lives, else the newest that does."""
        if self.run is not None and self.run.alive:
            return self.run
        return self.following.live[-1] if self.following.live else None

    # Commands. Each gives what to say of it, and whether it went well.

    def ask_to_start(self) -> str | None:
        """Wait for `enter`; why that makes no sense, if it does not."""
        why = self.refusal()
        if why is None and self.proposal is not None and self.dataset is not None:
            data, values = self.proposal.data, self.proposal.values
            train = data.get("train", self.dataset.train)
            adapter = str(values.get("adapter", ""))
            said = f"trains {TRAINED.get(adapter, adapter)} on {train} examples, {values.get('epochs', '?')} epochs"
            self.pending = Pending(self.start, said)
        return why

    def ask_to_resume(self) -> str | None:
        """The same for the chosen run: one that was cancelled or failed, or only planned."""
        run = self.run
        if self.busy:
            return self.busy
        if run is None:
            return "there is no run yet"
        state = run.standing.state
        if state == "planned":
            # Answers that are not given here are asked for by the command.
            self.pending = Pending(starting.start_planned(self.root, run.id, self.given), f"starts {run.id} as planned")
        elif state in RESUMABLE:
            where = (
                f"step {run.checkpoint:,}" if run.checkpoint is not None else "the beginning: it saved no checkpoint"
            )
            self.pending = Pending(starting.resume(self.root, run.id), f"goes on with {run.id} from {where}")
        else:
            return f"{run.id} is {state}; a run that was cancelled or failed can go on"
        return None

    async def do(self, pending: Pending) -> tuple[str, bool]:
        """Start or resume. The run is in view then."""
        self.busy = "starting …"
        self._changed()
        try:
            document = await starting.asked(self._do, pending.command.args)
        except (UserError, OSError) as error:
            return str(error), False
        finally:
            self.busy = ""
            self.following.look()
        self.chosen = str(document.get("run", ""))
        self.following.expect(self.chosen)
        return f"{self.chosen} has started", True

    async def cancel(self, id: str, *, now: bool) -> tuple[str, bool]:
        """Stop a run, with a checkpoint or as it is."""
        self.busy = f"stopping {id} …"
        self.following.waiting.add(id)
        self._changed()
        try:
            await starting.asked(self._do, starting.cancel(self.root, id, now=now).args)
        except (UserError, OSError) as error:
            return str(error), False
        finally:
            self.busy = ""
            self.following.waiting.discard(id)
            self.following.look()
        return f"{id}: {'stopped as it was' if now else 'saves a checkpoint and stops'}", True
