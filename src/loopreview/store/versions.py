"""Every version of a rubric, prompt or other file that was used, under its hash."""

from loopreview.models.hashing import content_hash
from loopreview.store.database import Store
from loopreview.store.values import now, storable


def keep(store: Store, kind: str, text: str, name: str = "", hash: str | None = None) -> str:
    """Keep `text` and return its hash: the one given (that of what the text says), else `content_hash(text)`. What is
    kept already is not written again."""
    hash = hash or content_hash(text)
    key = (hash, storable(kind), storable(name))
    if store.row("SELECT 1 FROM versions WHERE hash = ? AND kind = ? AND name = ?", key) is None:
        with store.writing():
            store.execute("INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?)", (*key, now(), storable(text)))
    return hash


def get(store: Store, hash: str) -> str | None:
    """The text, or None where that version was never kept."""
    row = store.row("SELECT text FROM versions WHERE hash = ?", (storable(hash),))
    return None if row is None else str(row[0])


def listed(store: Store, kind: str) -> list[tuple[str, str, str]]:
    """(hash, name, first kept at), oldest first."""
    rows = store.rows("SELECT hash, name, created_at FROM versions WHERE kind = ? ORDER BY rowid", (storable(kind),))
    return [(hash, name, created_at) for hash, name, created_at in rows]
