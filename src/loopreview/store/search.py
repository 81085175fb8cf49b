"""Finding transcripts by their words, with SQLite's full-text index (FTS5)."""

import re

from loopreview.store.database import Store
from loopreview.store.values import storable

LIMIT = 500
"""Transcripts that a search finds at most."""
_WORD = re.compile(r"\w+", re.UNICODE)
_PHRASE = re.compile(r'"([^"]*)"?|(\S+)')


def transcripts_with(store: Store, words: str, *, batch: int | None = None, limit: int = LIMIT) -> list[str]:
    """Ids of the transcripts with a message that has all these words, the last one also as the beginning of a word,
    in the order of batch and number. Words in double quotes must stand together. Capitals and accents do not count;
    in scripts without spaces a word is found by how its run of characters begins. Without a word: nothing."""
    query = _query(words)
    if not query:
        return []
    rows = store.rows(
        "SELECT t.id FROM message_words w JOIN messages m ON m.id = w.rowid JOIN transcripts t ON t.id = m.transcript"
        f" WHERE message_words MATCH ?{'' if batch is None else ' AND t.batch = ?'}"
        " GROUP BY t.id ORDER BY t.batch, t.number LIMIT ?",
        [query, *([] if batch is None else [batch]), limit],
    )
    return [id for (id,) in rows]


def _query(words: str) -> str:
    """What a person typed as an FTS5 expression: each word quoted, so that none of them is an operator."""
    parts = []
    for phrase, word in _PHRASE.findall(storable(words)):
        found = _WORD.findall(phrase or word)
        if found:
            parts.append('"' + " ".join(found) + '"')
    if parts and not words.rstrip().endswith('"'):
        parts[-1] += "*"
    return " ".join(parts)
