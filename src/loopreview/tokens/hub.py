"""Where a model's files are: a folder of this machine, or a repository of the Hugging Face Hub."""

import os
from collections.abc import Sequence
from pathlib import Path

from loopreview.models.errors import UserError
from loopreview.tokens.tokenizer import ChatTokenizer

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def load(reference: str) -> ChatTokenizer:
    """The tokenizer of a folder, or of a model on the Hub, which is fetched once. Raises UserError."""
    folder = local(reference)
    return ChatTokenizer.load(folder) if folder else ChatTokenizer.load(fetched(reference, FILES), name=reference)


def local(reference: str) -> Path | None:
    """The folder of this machine that is meant; None for a name on the Hub. Raises UserError where it is neither."""
    folder = Path(reference).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{reference}: is a file; name the folder it lies in")
    if reference.startswith((".", "/", "~")) or reference.count("/") > 1 or "\\" in reference:
        raise UserError(f"{reference}: no such folder; name a model's folder, or a model on the Hub (`user/name`)")
    return None


def fetched(id: str, patterns: Sequence[str]) -> Path:
    """The files of these names, from the Hub or from what was fetched before. Only the environment's token is used."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        token = os.environ.get("HF_TOKEN", "").strip() or False
        return Path(snapshot_download(id, allow_patterns=list(patterns), token=token))
    except LocalEntryNotFoundError:
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
            raise UserError(
                f"{id}: is no folder here and was not fetched before, and HF_HUB_OFFLINE is set; unset it, or name the "
                "model's folder",
                exit_code=3,
            ) from None
        raise UserError(
            f"{id}: is no folder here, and the Hub cannot be reached; fetch the model on a machine with a network, and "
            "name its folder",
            exit_code=3,
        ) from None
    except Exception as error:  # the library raises its own, the network's and the operating system's
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{id}: is no folder here, and could not be fetched from the Hub ({said}); check the name, or set HF_TOKEN "
            "for a model that asks for a licence",
            exit_code=3,
        ) from None
