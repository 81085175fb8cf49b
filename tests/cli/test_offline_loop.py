"""The offline loop teaches the right thing: forbid a fault in the prompt, and fewer transcripts fail."""

from pathlib import Path

import pytest

from loopreview import report
from loopreview.loop.batch import make_batch
from loopreview.progress import Silent
from loopreview.workspace import Workspace, init

PERSONAS = 20
SEED = 5


def passed(root: Path) -> int:
    """How many of 20 personas pass, of those all get a score."""
    with Workspace.open(root) as workspace:
        batch = make_batch(workspace, count=PERSONAS, seed=SEED, judged=True, watcher=Silent())["batch"]
        row = next(row for row in report.status(workspace)["batches"] if row["id"] == batch)
    assert row["unscored"] == 0
    return int(row["passed"])


def test_forbidding_a_fault_in_the_assistants_prompt_moves_the_pass_rate_up(root):
    before = passed(root)
    prompt = root / "prompts" / "assistant.md"
    text = prompt.read_text(encoding="utf-8")
    more = "Do not end every reply with a question.\nDo not open replies with stock phrases.\n"
    prompt.write_text(text.replace("## Anti-patterns\n", "## Anti-patterns\n\n" + more), encoding="utf-8")
    assert passed(root) > before


@pytest.mark.parametrize("template", ["support-agent", "therapy-coach", "tutor"])
def test_without_its_anti_patterns_a_domains_pass_rate_falls(tmp_path, template):
    root = init(tmp_path / "w", template=template)
    whole = passed(root)
    prompt = root / "prompts" / "assistant.md"
    text = prompt.read_text(encoding="utf-8")
    prompt.write_text(text[: text.index("## Anti-patterns")], encoding="utf-8")
    assert passed(root) < whole


def test_a_batch_leaves_something_to_review(root):
    """Neither all nor none passes under the shipped prompt."""
    assert 0 < passed(root) < PERSONAS
