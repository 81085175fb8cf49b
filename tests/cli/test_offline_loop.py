"""The offline loop teaches the right thing: forbid a fault in the prompt, and fewer transcripts fail."""

from pathlib import Path

import pytest

from loopreview import report
from loopreview.loop.batch import make_batch
from loopreview.progress import Silent
from loopreview.workspace import Workspace, init

PERSONAS = 15
SEED = 4


def passed(root: Path) -> int:
    """How many of the personas pass; all of them get a score."""
    with Workspace.open(root) as workspace:
        batch = make_batch(workspace, count=PERSONAS, seed=SEED, judged=True, watcher=Silent())["batch"]
        row = next(row for row in report.status(workspace)["batches"] if row["id"] == batch)
    assert row["unscored"] == 0
    return int(row["passed"])


@pytest.mark.parametrize("template", ["support-agent", "therapy-coach", "tutor"])
def test_forbidding_faults_raises_the_pass_rate_and_allowing_them_lowers_it(tmp_path, template):
    root = init(tmp_path / "w", template=template)
    prompt = root / "prompts" / "assistant.md"
    text = prompt.read_text(encoding="utf-8")
    shipped = passed(root)
    assert 0 < shipped < PERSONAS, "a batch leaves something to review"
    prompt.write_text(text[: text.index("## Anti-patterns")], encoding="utf-8")
    assert passed(root) < shipped
    if template == "support-agent":
        # The shipped prompt leaves two faults for its reader to forbid.
        more = "\nDo not end every reply with a question.\nDo not open replies with stock phrases.\n"
        prompt.write_text(text + more, encoding="utf-8")
        assert passed(root) > shipped
