"""A dataset to the Hugging Face Hub: private unless it is to be public, and the token only from the environment."""

import os
from pathlib import Path
from typing import Any

from loopreview.models.errors import UserError

TOKEN = "HF_TOKEN"


def check(id: str) -> str:
    """The token to push to the repository `id` with. Raises UserError where there is none, or `id` is no name; asked
    before anything is exported."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # it is there

    try:
        validate_repo_id(id)
    except HFValidationError:
        raise UserError(
            f"{id!r} is no name of a repository; it is `user/name`, in letters, digits, '-', '_' and '.'"
        ) from None
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise UserError("HF_HUB_OFFLINE is set, so nothing is pushed; unset it, or export without --push")
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(f"{TOKEN} is not set; put a token that may write to {id} in it, and export again")
    return token


def push(folder: Path, id: str, *, token: str, public: bool, hash: str, api: Any = None) -> str:
    """Upload the folder and return the address of the repository, which is made where it is missing.

    Raises UserError where it is public already but was not asked to be, and (exit 3) where the Hub refuses or cannot
    be reached.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi(token=token)
    try:
        made = api.create_repo(id, repo_type="dataset", private=not public, exist_ok=True)
        name = getattr(made, "repo_id", id)
        if not public and not api.repo_info(name, repo_type="dataset").private:
            raise UserError(
                f"{id}: that repository is public, so nothing was uploaded; make it private, or say --public"
            )
        api.upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=str(folder),
            commit_message=f"loopreview dataset {hash}",
            ignore_patterns=["revoked.json"],
        )
    except UserError:
        raise
    except Exception as error:  # the library raises its own, the network's and the operating system's
        said = " ".join(str(error).replace(token, "…").split())[:300] or type(error).__name__
        raise UserError(
            f"{id}: could not be pushed ({said}); the dataset is in {folder}, and the same command tries again",
            exit_code=3,
        ) from None
    return f"https://huggingface.co/datasets/{name}"
