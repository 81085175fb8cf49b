"""What `train plan` takes from the workspace."""

import re
import shutil
from pathlib import Path

import pytest

from loopreview.train.tiny import build

pytest.importorskip("safetensors")


@pytest.fixture
def based(small: Path, tmp_path: Path, cli) -> Path:
    """A workspace whose assistant goes by the base model's name, with ten judged conversations and an export."""
    base = build(tmp_path / "assistant")
    settings = (small / "loopreview.toml").read_text(encoding="utf-8")
    settings = settings.replace("exchanges = [2, 3]", f'exchanges = [3, 3]\nbase_model = "{base}"')
    (small / "loopreview.toml").write_text(settings, encoding="utf-8")
    for seed in (1, 2):
        cli("generate", "-w", small, "--seed", seed, "--assess")
    for batch in (1, 2):
        for number in range(1, 6):
            cli("review", "answer", f"{batch}-{number}", "S1", "yes", "-w", small)
            cli("review", "approve", f"{batch}-{number}", "-w", small)
    cli("export", "-w", small)
    return small


def test_the_base_is_that_of_the_settings_and_its_own_pass_rate_is_told(based, cli):
    rate = cli("status", "-w", based, "--json").json["gate"]["pass_rate"]
    found = cli("train", "plan", "-w", based, "--backend", "mlx", "--dry-run", "--json", code=None).json
    assert Path(found["plan"]["base"]).name == "assistant"
    (check,) = [check for check in found["checks"] if check["name"] == "Base model"]
    assert f"{rate:.0%}" in check["text"] and (check["level"] == "warning") == (rate > 0.7)
    # Another model's conversations say nothing of this one.
    shutil.copytree(found["plan"]["base"], based / "other")
    text = (based / "loopreview.toml").read_text(encoding="utf-8")
    (based / "loopreview.toml").write_text(re.sub(r'base_model = ".*"', 'base_model = "other"', text), encoding="utf-8")
    found = cli("train", "plan", "-w", based, "--backend", "mlx", "--dry-run", "--json", code=None).json
    assert found["plan"]["base"] == str(based / "other")
    assert not [check for check in found["checks"] if check["name"] == "Base model"]
