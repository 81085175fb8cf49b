"""The datasets and runs that a workspace knows, read from their own folders, and which of them hold a transcript."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopreview import jobs, runs
from loopreview.formats.exported import MANIFEST, Exported
from loopreview.models.errors import UserError
from loopreview.models.training import Plan
from loopreview.progress import read_events
from loopreview.rules.documents import build, read_yaml
from loopreview.runs import Run

LEARNT, MEASURED = "train", "valid"
"""The splits that a run uses: it learns from one, and is measured on the other."""

Line = dict[str, Any]


def plan_of(run: Run) -> Plan:
    """Raises UserError where the run's plan cannot be read."""
    try:
        text = run.plan_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{run.plan_file}: cannot be read ({error})") from None
    return build(Plan, read_yaml(text, str(run.plan_file)))


class Dataset(NamedTuple):
    """An exported dataset by its hash. Copies of it are the same dataset."""

    hash: str
    folders: tuple[Path, ...]
    gone: tuple[Path, ...]
    """Where runs found it, and it is no more."""


class Rows(NamedTuple):
    """The lineage lines of a dataset or run. `problem`: why there are none, or not all."""

    lines: list[Line]
    problem: str | None = None


class Use(NamedTuple):
    """What a run learns from. `hash` and `folder`: of its dataset; `start`: the run that it went on from."""

    hash: str | None
    folder: Path | None
    rows: Rows
    start: str | None


class Ancestor(NamedTuple):
    """A run that another one went on from. `run`: none where its folder is gone."""

    id: str
    run: Run | None


class Known:
    """Everything is read when it is first asked for, and once."""

    def __init__(self, root: Path, also: Sequence[Path] = ()) -> None:
        """`also`: datasets or runs that lie elsewhere, a copy for example. Raises UserError where one is neither."""
        self.root = root.expanduser().absolute()
        self.runs = runs.listed(self.root)
        self._also: list[Path] = []
        self._plans: dict[Path, Plan | None] = {}
        self._uses: dict[Path, Use] = {}
        self._rows: dict[str, Rows] = {}
        self._datasets: dict[str, Dataset] | None = None
        for path in also:
            folder = path.expanduser().absolute()
            if (folder / "plan.yaml").is_file():
                self.add(Run(folder))
            elif (folder / MANIFEST).is_file():
                self.add_dataset(folder)
            else:
                raise UserError(f"{folder}: is neither an exported dataset nor a run; name the folder of one")

    def add(self, run: Run) -> Run:
        """A run that may lie elsewhere."""
        known = next((one for one in self.runs if one.folder == run.folder), None)
        if known is None:
            self.runs.append(run)
            self._datasets = None
        return known or run

    def add_dataset(self, folder: Path) -> str:
        """The hash of a dataset that may lie elsewhere. Raises UserError where it cannot be read."""
        hash = Exported.open(folder).hash
        if folder not in self._also:
            self._also.append(folder)
            self._datasets = None
        return hash

    def plan(self, run: Run) -> Plan | None:
        """None where it cannot be read."""
        if run.folder not in self._plans:
            try:
                self._plans[run.folder] = plan_of(run)
            except UserError:
                self._plans[run.folder] = None
        return self._plans[run.folder]

    @property
    def datasets(self) -> dict[str, Dataset]:
        """By hash: those in exports/, those that the last exports wrote elsewhere, those that runs name, and `also`."""
        if self._datasets is None:
            self._datasets = self._look()
        return self._datasets

    def _look(self) -> dict[str, Dataset]:
        there: dict[str, list[Path]] = {}
        gone: dict[str, list[Path]] = {}
        uses = [self.use(run) for run in self.runs]
        named = {use.folder: use.hash for use in uses if use.hash and use.folder}
        for folder in dict.fromkeys([*_in_exports(self.root), *_by_exports(self.root), *self._also, *named]):
            try:
                hash = Exported.open(folder).hash
            except UserError:
                hash = None
            if hash is not None:
                there.setdefault(hash, []).append(folder)
            if folder in named and named[folder] != hash:
                gone.setdefault(named[folder], []).append(folder)
        return {
            hash: Dataset(hash, tuple(there.get(hash, ())), tuple(gone.get(hash, ())))
            for hash in dict.fromkeys([*there, *(use.hash for use in uses if use.hash)])
        }

    def lines(self, hash: str) -> Rows:
        """The lineage of a dataset: its own, else what the runs that used it kept of it."""
        if hash not in self._rows:
            self._rows[hash] = self._read(self.datasets[hash])
        return self._rows[hash]

    def _read(self, dataset: Dataset) -> Rows:
        problem = f"the folder {dataset.gone[0]} is gone" if dataset.gone and not dataset.folders else None
        for folder in dataset.folders:
            try:
                found = [line for line in Exported.open(folder).lineage() if isinstance(line, dict)]
            except UserError as error:
                problem = str(error)
                continue
            if found:
                return Rows(found)
            problem = f"{folder}: has no lineage.jsonl"
        for run in self.runs:
            use = self.use(run)
            if use.hash == dataset.hash and use.rows.lines:
                return Rows(use.rows.lines, f"{problem}; what {run.id} kept of it has no test split")
        return Rows([], problem or "it has no lineage")

    def use(self, run: Run) -> Use:
        if run.folder not in self._uses:
            self._uses[run.folder] = self._read_use(run)
        return self._uses[run.folder]

    def ancestors(self, run: Run) -> list[Ancestor]:
        """The runs that this one went on from: its start, and one whose result is its base model."""
        plan, start = self.plan(run), self.use(run).start
        found: dict[str, Ancestor] = {}
        if start:
            beside = Run(run.folder.parent / start)
            found[start] = Ancestor(start, self.add(beside) if beside.plan_file.is_file() else None)
        for path in (plan.start_adapter, Path(plan.base)) if plan else ():
            for parent in path.parents if path and path.is_absolute() else ():
                if (parent / "plan.yaml").is_file() and parent != run.folder:
                    found[parent.name] = Ancestor(parent.name, self.add(Run(parent)))
                    break
        return list(found.values())

    def _read_use(self, run: Run) -> Use:
        kept, plan = run.read_json(run.lineage_file), self.plan(run)
        dataset = kept.get("dataset")
        dataset = dataset if isinstance(dataset, dict) else {}
        hash = dataset.get("hash") or (plan.data.hash if plan else None)
        where = dataset.get("folder") or (plan.data.folder if plan else None)
        folder = Path(where) if where else None
        start = kept.get("start_run")
        if isinstance(kept.get("rows"), list):
            rows = Rows([line for line in kept["rows"] if isinstance(line, dict)])
        else:
            rows = _of_dataset(run, hash, folder)
        return Use(str(hash) if hash else None, folder, rows, start if isinstance(start, str) else None)


class Holding(NamedTuple):
    """A run that holds a transcript. `through`: the runs that it went on from and that hold it."""

    run: Run
    learnt: int
    measured: int
    through: tuple[str, ...]
    ids: tuple[str, ...]
    """What the transcript is called in the lineage of the run, and of those it went on from."""


def is_of(line: Line, transcript: str, hash: str | None) -> bool:
    """Whether an example is of this transcript. Ids count anew in each workspace, contents do not: where both
    contents are known they decide."""
    versions = line.get("versions")
    content = versions.get("transcript") if isinstance(versions, dict) else None
    if content and hash:
        return bool(content == hash)
    return line.get("transcript") == transcript


def holding(known: Known, transcript: str, hash: str | None) -> tuple[list[Holding], list[str]]:
    """The runs that learnt from a transcript, or were measured on it, or went on from such a run; and a line for each
    of which it cannot be told."""
    found: dict[Path, Holding | None] = {}
    unknown: dict[str, None] = {}

    def look(run: Run) -> Holding | None:
        if run.folder in found:
            return found[run.folder]
        found[run.folder] = None  # two runs that name each other are no way out
        rows = known.use(run).rows
        if rows.problem:
            unknown[f"{run.id}: {rows.problem}"] = None
        mine = [line for line in rows.lines if is_of(line, transcript, hash)]
        earlier = []
        for ancestor in known.ancestors(run):
            if ancestor.run is None:
                unknown[f"{run.id}: it went on from {ancestor.id}, which is gone"] = None
            elif held := look(ancestor.run):
                earlier.append(held)
        if mine or earlier:
            splits = [line.get("split") for line in mine]
            ids = {str(line.get("transcript")): None for line in mine} | {id: None for one in earlier for id in one.ids}
            through = tuple(one.run.id for one in earlier)
            found[run.folder] = Holding(run, splits.count(LEARNT), splits.count(MEASURED), through, tuple(ids))
        return found[run.folder]

    # `look` adds runs that lie elsewhere to those known; they are looked at on the way.
    held = [one for run in list(known.runs) if (one := look(run))]
    seen = {one.run.folder for one in held}
    held += [one for folder, one in found.items() if one and folder not in seen]
    return held, list(unknown)


def _of_dataset(run: Run, hash: Any, folder: Path | None) -> Rows:
    """What a run without a lineage of its own learnt from, by the dataset that its plan names."""
    if folder is None:
        return Rows([], f"neither its {run.lineage_file.name} nor its plan can be read")
    try:
        dataset = Exported.open(folder)
        if dataset.hash != hash:
            return Rows([], f"it has no {run.lineage_file.name}, and {folder} is another dataset now")
        lines = [line for line in dataset.lineage() if isinstance(line, dict)]
    except UserError as error:
        return Rows([], f"it has no {run.lineage_file.name} ({error})")
    return Rows([line for line in lines if line.get("split") in (LEARNT, MEASURED)])


def _in_exports(root: Path) -> Iterable[Path]:
    found = (path.parent for path in (root / "exports").glob(f"*/{MANIFEST}"))
    return sorted(folder for folder in found if not folder.name.startswith("."))  # those are being written


def _by_exports(root: Path) -> Iterator[Path]:
    """Where the last exports wrote to."""
    for path in sorted(jobs.folder(root).glob("export-*.jsonl")):
        for event in read_events(path)[0]:
            if event.get("event") == "done" and isinstance(event.get("dataset"), str):
                yield Path(event["dataset"])
