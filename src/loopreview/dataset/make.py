"""The whole of `export`: the tokenizer, the dataset, and its way to the Hub."""

from pathlib import Path
from typing import Any

from loopreview import jobs
from loopreview.dataset import push as hub
from loopreview.dataset.examples import Wanted
from loopreview.dataset.export import check, export
from loopreview.dataset.which_tokenizer import tokenizer_meant
from loopreview.progress import Progress, Together
from loopreview.workspace import Workspace


def make_dataset(
    workspace: Workspace,
    wanted: Wanted,
    *,
    to: Path | None = None,
    tokenizer: str | None = None,
    push: str | None = None,
    public: bool = False,
    watcher: Progress,
) -> dict[str, Any]:
    """Export a dataset, as a job that can be found, and push it where `push` names a repository.

    `tokenizer`: as `tokenizer_meant` takes it. Returns what `export --json` prints, with `pushed`, the address or
    null. Raises UserError; what can be refused early is refused before anything is written.
    """
    check(wanted)
    token = hub.check(push) if push else ""
    loaded, meant = None, tokenizer_meant(workspace, tokenizer)
    if meant is not None:
        from loopreview.tokens.hub import load

        loaded = load(meant)
    with jobs.exclusive(workspace.root, "export") as log:
        result = export(
            workspace,
            wanted,
            to=to,
            tokenizer=loaded,
            progress=Together(watcher, log),
        )
        log.write("done", dataset=result["dataset"])
    pushed = None
    if push:
        watcher.note(f"pushing to {push} …")
        pushed = hub.push(Path(result["dataset"]), push, token=token, public=public, hash=result["hash"])
    return {**result, "pushed": pushed}
