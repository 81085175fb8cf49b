"""Where the words to search for are typed."""

from textual import events
from textual.widgets import Input

from loopreview.rules.safe_text import safe


class SearchField(Input):
    """Takes pasted text without what a terminal would obey."""

    def _on_paste(self, event: events.Paste) -> None:
        event.text = safe(event.text, keep_newlines=False)
        super()._on_paste(event)
