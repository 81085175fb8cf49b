"""What is made of a run's result: full weights that any program loads."""

import shutil
import warnings
from pathlib import Path

from loopreview.models.errors import UserError
from loopreview.runs import Run, writing
from loopreview.train.backend import trainer
from loopreview.train.base import fetch
from loopreview.train.plan import read_plan
from loopreview.train.proposal import gigabytes
from loopreview.train.start import result_of


def merged(run: Run, to: Path | None = None) -> Path:
    """The folder with base and adapter merged, made if it is not there; `runs/<id>/merged` unless told.

    Raises UserError where the run is not done, something else is in the way, or the disk is too small.
    """
    adapter = result_of(run)
    target = (to or run.merged).expanduser().absolute()
    if target.is_dir() and any(target.iterdir()):
        if to is None:
            return target
        raise UserError(f"{target}: something is there already; choose another place with --to")
    plan = read_plan(run.plan_file)
    base = fetch(plan.base)
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise UserError(
            f"{target}: the merged model takes about {gigabytes(size)}, {gigabytes(free)} are free; make room, or "
            "choose another place with --to",
            exit_code=3,
        )
    beside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        try:
            with writing(target), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # libraries speaking to each other
                trainer(plan.backend).merge(plan, base, adapter, beside)
        except UserError:
            raise
        except Exception as error:  # each library raises its own
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{run.id}: could not be merged ({type(error).__name__}: {said})", exit_code=3) from error
        if target.is_dir():
            target.rmdir()
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target
