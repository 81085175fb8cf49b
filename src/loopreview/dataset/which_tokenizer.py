"""Which tokenizer an export takes."""

from loopreview.workspace import Workspace

NO_TOKENIZER = "none"


def tokenizer_meant(workspace: Workspace, given: str | None) -> str | None:
    """A folder, or a model on the Hub; None for none.

    `given` is such a name, or `none`. Where it is empty, the settings' `base_model` is meant: a folder as seen from the
    workspace, else a model on the Hub.
    """
    if given:
        return None if given == NO_TOKENIZER else given
    base = workspace.settings.base_model
    folder = workspace.root / base if base else None
    return str(folder) if folder is not None and folder.is_dir() else base or None
