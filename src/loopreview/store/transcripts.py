"""Transcripts and their messages."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from loopreview.models.errors import UserError
from loopreview.models.transcript import (
    Message,
    Origin,
    Transcript,
    exchanges_of,
    is_complete,
    persona_name,
    transcript_hash,
)
from loopreview.store.database import Row, Store
from loopreview.store.values import dump, dump_or_none, load, now, storable, storable_or_none

_CHUNK_TRANSCRIPTS, _CHUNK_CHARACTERS = 256, 2_000_000
_INSERT_MESSAGE = (
    "INSERT INTO messages (transcript, position, role, text, tokens, latency_s, cost_usd, model, extra)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_HEAD = (
    "id, batch, number, origin, exchanges, complete, target_exchanges, content_hash, revision, persona_name, source,"
    " created_at"
)


class Head(NamedTuple):
    """A transcript without its messages. `exchanges`: how many it has."""

    id: str
    batch: int
    number: int
    origin: Origin
    exchanges: int
    complete: bool
    target_exchanges: int | None
    hash: str
    revision: int
    """Counts the writes to its messages, verdicts, panel and events."""
    persona_name: str
    source: str | None
    created_at: str


def add_imported(store: Store, batch_id: int, transcripts: Iterable[Transcript]) -> list[tuple[Head, str | None]]:
    """Add transcripts from elsewhere to a batch, numbered on; `id`, `batch` and `number` of those given are not used.

    Returns, in the order given, the head of each that was stored with None, or the head it would have had with the
    id of the earlier transcript of the same content, which is skipped. `transcripts` is read piece by piece, and each
    piece is committed by itself, so that other processes can write meanwhile; inside `store.writing()` all of it is
    one transaction.
    """
    number = int(store.one("SELECT coalesce(max(number), 0) FROM transcripts WHERE batch = ?", (batch_id,))[0])
    added: list[tuple[Head, str | None]] = []
    at = now()
    for chunk in _chunks(transcripts):
        prepared = [_prepare(transcript, at) for transcript in chunk]
        messages: list[Row] = []
        with store.writing():
            for transcript, head, texts in prepared:
                earlier = _same_content(store, head.hash)
                head = head._replace(id=f"{batch_id}-{number + 1}", batch=batch_id, number=number + 1)
                if earlier is None:
                    number += 1
                    _insert(store, transcript, head)
                    messages += [_message_row(head.id, position, text) for position, text in enumerate(texts)]
                added.append((head, earlier))
            last = int(store.one("SELECT coalesce(max(id), 0) FROM messages")[0])
            store.executemany(_INSERT_MESSAGE, messages)
            _index(store, last)
            store.execute("UPDATE batches SET count = ? WHERE id = ?", (number, batch_id))
    return added


def get(store: Store, id: str) -> Transcript:
    """A transcript with its messages. Raises UserError where there is none."""
    row = store.row(
        "SELECT id, batch, number, origin, source, persona, target_exchanges, dice FROM transcripts WHERE id = ?",
        (storable(id),),
    )
    if row is None:
        raise _unknown(id)
    id, batch, number, origin, source, persona, target_exchanges, dice = row
    return Transcript(
        id=id,
        batch=batch,
        number=number,
        origin=origin,
        source=source,
        persona=load(persona),
        target_exchanges=target_exchanges,
        dice=load(dice),
        messages=_messages(store, id),
    )


def append_message(store: Store, id: str, position: int, message: Message) -> None:
    """Store the message at `position` (from 0), which must be the next one; the very same message again is no error.

    Raises UserError where another message stands there already, or there is no such transcript.
    """
    message = _storable(message)
    with store.writing():
        head = store.row("SELECT origin, target_exchanges FROM transcripts WHERE id = ?", (storable(id),))
        if head is None:
            raise _unknown(id)
        messages = _messages(store, id)
        if not 0 <= position <= len(messages):
            raise ValueError(f"{id}: message {position} does not follow {len(messages)} messages")
        if position < len(messages):
            there = messages[position]
            if (there.role, there.text) == (message.role, message.text):
                return
            raise UserError(f"{id}: another run has written message {position + 1} already; start again", exit_code=3)
        messages.append(message)
        exchanges = len(exchanges_of(messages))
        last = int(store.one("SELECT coalesce(max(id), 0) FROM messages")[0])
        store.execute(_INSERT_MESSAGE, _message_row(id, position, message))
        _index(store, last)
        store.execute(
            "UPDATE transcripts SET exchanges = ?, complete = ?, content_hash = ?, revision = revision + 1"
            " WHERE id = ?",
            (exchanges, is_complete(head[0], head[1], exchanges), transcript_hash(messages), id),
        )


def resolve(store: Store, reference: str) -> str:
    """The id of the transcript that `reference` names: its id, its whole source, the part of the source after `#`, or
    the file's name alone, in this order. Raises UserError where it names none or several."""
    wanted = storable(reference)
    file = f"{wanted}#"
    for condition, parameters in (
        ("id = ?", (wanted,)),
        ("source = ?", (wanted,)),
        ("source_id = ?", (wanted,)),
        # Every source that begins with the file's name and `#`, by the index: `$` is the character after `#`.
        ("source >= ? AND source < ?", (file, f"{wanted}$")),
        # A file's name may hold a `#` itself.
        ("source LIKE '%#%#%' AND substr(source, -?) = ?", (len(wanted) + 1, f"#{wanted}")),
    ):
        found = store.rows(f"SELECT id, source FROM transcripts WHERE {condition} LIMIT 4", parameters)
        if len(found) == 1:
            return str(found[0][0])
        if found:
            shown = ", ".join(f"{id} ({source!r})" if source else id for id, source in found[:3])
            more = ", …" if len(found) > 3 else ""
            raise UserError(f"{reference!r} names several transcripts: {shown}{more}; give the id of one")
    raise _unknown(reference)


def ids(store: Store, batch: int | None = None) -> list[str]:
    """The ids of a batch, or of all, in the order of batch and number."""
    rows = store.rows(
        "SELECT id FROM transcripts WHERE batch = ? ORDER BY number" if batch is not None
        else "SELECT id FROM transcripts ORDER BY batch, number",
        () if batch is None else (batch,),
    )  # fmt: skip
    return [id for (id,) in rows]


def incomplete(store: Store) -> dict[int, int]:
    """Batch → how many of its transcripts are not complete; batches without any are left out."""
    return dict(store.rows("SELECT batch, count(*) FROM transcripts WHERE NOT complete GROUP BY batch"))


def head(store: Store, id: str) -> Head:
    """One transcript without its messages. Raises UserError where there is none."""
    row = store.row(f"SELECT {_HEAD} FROM transcripts WHERE id = ?", (storable(id),))
    if row is None:
        raise _unknown(id)
    return _head(row)


def heads(store: Store, *, batch: int | None = None, after: str | None = None, limit: int | None = None) -> list[Head]:
    """Transcripts without their messages, in the order of batch and number: those of a batch, or all; the next
    `limit` that follow the transcript `after`."""
    conditions, parameters = ["1"], list[Any]()
    if batch is not None:
        conditions.append("batch = ?")
        parameters.append(batch)
    if after is not None:
        last = head(store, after)
        conditions.append("(batch, number) > (?, ?)")
        parameters += [last.batch, last.number]
    rows = store.rows(
        f"SELECT {_HEAD} FROM transcripts WHERE {' AND '.join(conditions)} ORDER BY batch, number LIMIT ?",
        [*parameters, -1 if limit is None else limit],
    )
    return [_head(row) for row in rows]


def bump(store: Store, ids: Iterable[str]) -> None:
    """Say that what is derived from these transcripts may have changed. Inside the transaction that changed it."""
    store.executemany("UPDATE transcripts SET revision = revision + 1 WHERE id = ?", [(id,) for id in ids])


def _chunks(transcripts: Iterable[Transcript]) -> Iterator[list[Transcript]]:
    """Pieces that are written in a fraction of a second."""
    chunk: list[Transcript] = []
    characters = 0
    for transcript in transcripts:
        chunk.append(transcript)
        characters += sum(len(message.text) for message in transcript.messages)
        if len(chunk) == _CHUNK_TRANSCRIPTS or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _prepare(transcript: Transcript, at: str) -> tuple[Transcript, Head, list[Message]]:
    """All that can be computed before the write lock is held."""
    messages = [_storable(message) for message in transcript.messages]
    exchanges = len(exchanges_of(messages))
    made = Head(
        id="",
        batch=0,
        number=0,
        origin="imported",
        exchanges=exchanges,
        complete=is_complete("imported", transcript.target_exchanges, exchanges),
        target_exchanges=transcript.target_exchanges,
        hash=transcript_hash(messages),
        revision=0,
        persona_name=storable(persona_name(transcript.persona)),
        source=storable_or_none(transcript.source),
        created_at=at,
    )
    return transcript, made, messages


def _same_content(store: Store, hash: str) -> str | None:
    """A generated transcript that is still being written is no earlier one."""
    row = store.row(
        "SELECT id FROM transcripts WHERE content_hash = ? AND (complete OR origin = 'imported')"
        " ORDER BY batch, number",
        (hash,),
    )
    return None if row is None else str(row[0])


def _insert(store: Store, transcript: Transcript, made: Head) -> None:
    source_id = made.source.partition("#")[2] if made.source else ""
    store.execute(
        f"INSERT INTO transcripts ({_HEAD}, source_id, persona, dice) VALUES ({', '.join('?' * 15)})",
        (
            *made,
            source_id or None,
            None if transcript.persona is None else dump(transcript.persona),
            None if transcript.dice is None else dump(transcript.dice.model_dump()),
        ),
    )


def _index(store: Store, last: int) -> None:
    """Let the words of the messages after the one numbered `last` be found; in the transaction that added them."""
    store.execute("INSERT INTO message_words (rowid, text) SELECT id, text FROM messages WHERE id > ?", (last,))


def _storable(message: Message) -> Message:
    text = storable(message.text)
    return message if text is message.text or text == message.text else message.model_copy(update={"text": text})


def _message_row(transcript: str, position: int, message: Message) -> Row:
    return (
        transcript,
        position,
        message.role,
        message.text,
        message.tokens,
        message.latency_s,
        message.cost_usd,
        storable_or_none(message.model),
        dump_or_none(message.extra),
    )


def _messages(store: Store, id: str) -> list[Message]:
    rows = store.rows(
        "SELECT role, text, tokens, latency_s, cost_usd, model, extra FROM messages WHERE transcript = ?"
        " ORDER BY position",
        (id,),
    )
    return [
        Message(
            role=role,
            text=text,
            tokens=tokens,
            latency_s=latency_s,
            cost_usd=cost_usd,
            model=model,
            extra=load(extra) or {},
        )
        for role, text, tokens, latency_s, cost_usd, model, extra in rows
    ]


def _head(row: Row) -> Head:
    return Head._make((*row[:5], bool(row[5]), *row[6:]))


def _unknown(reference: str) -> UserError:
    return UserError(
        f"there is no transcript {reference!r}; give an id such as 6-1, or the source of an import (file.jsonl#12)"
    )
