"""Pushing: private unless asked otherwise, never without a token of the environment, never a word of that token."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopreview.dataset import push as hub
from loopreview.models.errors import UserError

TOKEN = "hf_secretsecretsecret"


class Hub:
    """The library's door to the Hub, as far as it is used."""

    def __init__(self, *, private: bool = True, fails: Exception | None = None) -> None:
        self.private, self.fails = private, fails
        self.made: dict[str, Any] = {}
        self.uploaded: dict[str, Any] = {}

    def create_repo(self, id: str, **options: Any) -> Any:
        if self.fails:
            raise self.fails
        self.made = {"id": id, **options}
        return SimpleNamespace(repo_id=f"nia/{id}" if "/" not in id else id)

    def repo_info(self, id: str, **options: Any) -> Any:
        return SimpleNamespace(private=self.private)

    def upload_folder(self, **options: Any) -> None:
        self.uploaded = options


def push(api: Hub, folder: Path, *, id: str = "nia/talks", public: bool = False) -> str:
    return hub.push(folder, id, token=TOKEN, public=public, hash="abc", api=api)


def test_a_dataset_is_pushed_to_a_private_repository(tmp_path: Path) -> None:
    api = Hub()
    assert push(api, tmp_path) == "https://huggingface.co/datasets/nia/talks"
    assert api.made == {"id": "nia/talks", "repo_type": "dataset", "private": True, "exist_ok": True}
    assert api.uploaded["folder_path"] == str(tmp_path) and api.uploaded["repo_type"] == "dataset"
    assert "abc" in api.uploaded["commit_message"]
    assert push(api, tmp_path, id="talks").endswith("/nia/talks")


def test_it_is_public_only_where_that_is_said(tmp_path: Path) -> None:
    api = Hub(private=False)
    push(api, tmp_path, public=True)
    assert api.made["private"] is False and api.uploaded
    there_already = Hub(private=False)
    with pytest.raises(UserError, match="that repository is public"):
        push(there_already, tmp_path)
    assert not there_already.uploaded


def test_a_failure_is_one_line_without_the_token(tmp_path: Path) -> None:
    api = Hub(fails=RuntimeError(f"403 Forbidden\n for Bearer {TOKEN}"))
    with pytest.raises(UserError, match=r"could not be pushed \(403 Forbidden for Bearer …\)") as raised:
        push(api, tmp_path)
    assert raised.value.exit_code == 3 and TOKEN not in str(raised.value)


def test_what_stands_in_the_way_is_said_before_anything_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(UserError, match="HF_TOKEN is not set"):
        hub.check("nia/talks")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert hub.check("nia/talks") == TOKEN
    for bad in ("a/b/c", "", "nia/", "/talks", "nia talks", "nia/-x", "nia/x--y", "../x", "nia/x."):
        with pytest.raises(UserError, match="is no name of a repository"):
            hub.check(bad)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        hub.check("nia/talks")


def test_the_library_has_what_is_asked_of_it() -> None:
    # the fake above stands for these
    import inspect

    from huggingface_hub import HfApi

    def names(method: str) -> set[str]:
        return set(inspect.signature(getattr(HfApi, method)).parameters)

    assert {"repo_id", "repo_type", "private", "exist_ok"} <= names("create_repo")
    assert {"repo_id", "repo_type"} <= names("repo_info")
    assert {"repo_id", "repo_type", "folder_path", "commit_message"} <= names("upload_folder")
