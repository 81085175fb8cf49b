"""Ingest: transcripts, verdicts and labels that were made elsewhere come into the store."""

from loopreview.ingest.answers import import_labels, import_verdicts
from loopreview.ingest.transcripts import import_transcripts

__all__ = ["import_labels", "import_transcripts", "import_verdicts"]
