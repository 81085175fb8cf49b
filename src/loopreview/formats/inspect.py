"""Inspect's logs (`.eval` archives and JSON): samples are transcripts, scores verdicts, their edits people's answers.

The form is that of inspect_ai: https://inspect.aisi.org.uk/eval-logs.html
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loopreview.formats.archive import Archive, Bomb, Damaged, leaves_archive
from loopreview.formats.conversation import GivenAnswer, Unusable
from loopreview.formats.fields import MAX_NAME_CHARS
from loopreview.formats.messages import transcript_of_messages
from loopreview.formats.reading import Skip, Value, value_of
from loopreview.models.settings import RESERVED_BACKENDS
from loopreview.models.transcript import Transcript
from loopreview.models.verdict import JudgeAnswer

HEADERS = ("header.json", "_journal/start.json")
"""Where an archive says what was run; a run that did not end has the second alone."""
ANSWERS: dict[str, JudgeAnswer] = {
    "c": "YES", "correct": "YES", "yes": "YES", "true": "YES", "1": "YES", "1.0": "YES", "pass": "YES",
    "i": "NO", "incorrect": "NO", "no": "NO", "false": "NO", "0": "NO", "0.0": "NO", "fail": "NO",
    "p": "NO", "n": "NO",
    "na": "NA", "n/a": "NA",
}  # fmt: skip
"""What a score's value says. Inspect's P is partly correct and N no answer given: neither meets a criterion."""
UNCHANGED = "UNCHANGED"

_SAMPLE = re.compile(r"samples/.+_epoch_\d+\.json")
_CHUNKED = re.compile(r"(samples/.+_epoch_\d+)/sample\.json")
_ATTACHMENT = re.compile(r"attachment://([0-9a-f]{32})")


def is_log(value: Any) -> bool:
    """Whether a JSON value is a whole log."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("eval"), Mapping)
        and "task" in value["eval"]
        and ("samples" in value or "status" in value)
    )


def is_sample(value: Any) -> bool:
    """Whether a JSON value is one sample of a log."""
    return isinstance(value, Mapping) and {"epoch", "input", "target"} <= value.keys()


def samples_of(path: Path, log: Value) -> Iterator[Value | Skip]:
    """The samples of a log in JSON, each with what the log's header says of the run."""
    found = log.value.get("samples")
    if not isinstance(found, list) or not found:
        yield Skip(path.name, log.line, "an Inspect log without samples (only its header?)")
        return
    for position, sample in enumerate(found, 1):
        yield _sample(sample, log.value["eval"], Value(None, None, str(position), log.notes if position == 1 else ()))


def read_archive(path: Path) -> Iterator[Value | Skip]:
    """The samples of an `.eval` archive, one at a time; what cannot be read comes as a Skip."""
    try:
        with Archive(path) as archive:
            yield from _entries(path, archive)
    except Damaged as error:
        yield Skip(path.name, None, str(error))
    except OSError as error:
        yield Skip(path.name, None, f"cannot be read: {error.strerror or error}")


def _entries(path: Path, archive: Archive) -> Iterator[Value | Skip]:
    names = archive.names()
    header_name = next((name for name in HEADERS if name in names), None)
    if header_name is None:
        yield Skip(path.name, None, f"an archive, but no Inspect log (it has no {HEADERS[0]})")
        return
    header = _read(archive, header_name, path.name, 1)
    if isinstance(header, Skip):
        yield header
        return
    run = header.value.get("eval") if isinstance(header.value, Mapping) else None
    chunked = {match[1] for name in names if (match := _CHUNKED.fullmatch(name))}
    entries = [name for name in names if name.startswith("samples/") and name.endswith(".json")]
    position = 0
    for name in entries:
        if any(name.startswith(f"{prefix}/") for prefix in chunked):
            if not name.endswith("/sample.json"):
                continue
            reason = f"{name[:80]}: a sample in pieces, which is not read; convert the log to JSON with inspect"
        elif leaves_archive(name):
            reason = f"{name[:80]}: the path leads out of the archive"
        elif not _SAMPLE.fullmatch(name):
            reason = f"{name[:80]}: no sample's name"
        else:
            reason = ""
        position += 1
        source = f"{path.name}#{position}"
        if reason:
            yield Skip(source, None, reason)
            continue
        found = _read(archive, name, source, position)
        yield found if isinstance(found, Skip) else _sample(found.value, run, found)
    if not position:
        yield Skip(path.name, None, "an Inspect log without samples")


def _read(archive: Archive, name: str, source: str, position: int) -> Value | Skip:
    """Raises Bomb."""
    try:
        text = archive.read(name).decode("utf-8")
    except Bomb:
        raise
    except Damaged as error:
        return Skip(source, None, f"{name[:80]} {error}")
    except UnicodeDecodeError:
        return Skip(source, None, f"{name[:80]} is not UTF-8")
    return value_of(text, source, position)


def _sample(sample: Any, run: Any, place: Value) -> Value:
    """What a transcript needs of a sample and of the header; its events are let go."""
    if not isinstance(sample, Mapping):
        return place._replace(value=sample)
    run = run if isinstance(run, Mapping) else {}
    kept = ("epoch", "input", "target", "messages", "output", "scores", "metadata", "attachments", "error", "limit")
    id, epoch = sample.get("id"), sample.get("epoch")
    record = {
        **{key: sample.get(key) for key in (*kept, "invalidation")},
        "id": f"{id}_epoch_{epoch}" if id is not None and epoch not in (None, 1) else id,
        "run": {key: run.get(key) for key in ("task", "model", "scorers")},
    }
    return place._replace(value=record)


def transcript_of_sample(value: Any, notes: list[str], max_chars: int) -> Transcript:
    """A transcript of one sample: its messages, with tool calls as OpenAI writes them. Raises Unusable."""
    if not is_sample(value):
        raise Unusable("no sample of an Inspect log")
    for key, what in (("error", "message"), ("limit", "type"), ("invalidation", "reason")):
        found = value.get(key)
        if found:
            said = str(found.get(what) if isinstance(found, Mapping) else found)
            notes.append(f"the sample has {'an' if key[0] in 'aei' else 'a'} {key}: {' '.join(said.split())[:100]}")
    attachments = value.get("attachments")
    attachments = attachments if isinstance(attachments, Mapping) else {}
    record = {
        "messages": [_message(message, attachments) for message in _messages(value)],
        "metadata": value.get("metadata"),
        "model": _mapping(value.get("run")).get("model") or _mapping(value.get("output")).get("model"),
    }
    return transcript_of_messages(record, notes, max_chars)


def _messages(sample: Mapping[str, Any]) -> list[Any]:
    """The conversation as it stood at the end; the model's output joins it where a solver left it out."""
    found = sample.get("messages")
    messages = list(found) if isinstance(found, list) else []
    if not messages:
        given = sample.get("input")
        given = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages = given if isinstance(given, list) else []
    completion = _mapping(sample.get("output")).get("completion")
    if completion and not any(_mapping(message).get("role") == "assistant" for message in messages):
        messages.append({"role": "assistant", "content": completion})
    return messages


def _message(message: Any, attachments: Mapping[str, Any]) -> Any:
    if not isinstance(message, Mapping):
        return message
    found = {"role": message.get("role"), "content": _content(message.get("content"), attachments)}
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        found["tool_calls"] = [_call(call) for call in calls]
    if message.get("role") == "tool":
        found |= {"tool_call_id": message.get("tool_call_id"), "name": message.get("function")}
        found["error"] = _mapping(message.get("error")).get("message")
    return found


def _content(content: Any, attachments: Mapping[str, Any]) -> Any:
    """Long texts may stand elsewhere in the sample."""
    if isinstance(content, str):
        return _ATTACHMENT.sub(lambda found: str(attachments.get(found[1], found[0])), content)
    if isinstance(content, list):
        return [
            {**part, "text": _content(part["text"], attachments)}
            if isinstance(part, Mapping) and isinstance(part.get("text"), str)
            else part
            for part in content
        ]
    return content


def _call(call: Any) -> Any:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), str):
        return call
    arguments = call.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return {"id": call.get("id"), "type": "function", "function": {"name": call["function"], "arguments": text}}


def answers_of_sample(value: Any) -> tuple[GivenAnswer, ...]:
    """The scores of a sample as answers of judges, and the edits of people as theirs, oldest first.

    A score of one value answers the criterion of its name, one of several values a criterion for each.
    """
    scores = _mapping(value).get("scores")
    found: list[GivenAnswer] = []
    for name, score in _mapping(scores).items():
        if isinstance(score, Mapping):
            found += _of_score(str(name), score, _mapping(value.get("run")))
    return tuple(found)


def _of_score(name: str, score: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[GivenAnswer]:
    history = score.get("history")
    edits = [edit for edit in history if isinstance(edit, Mapping)] if isinstance(history, list) else []
    backend = _backend(name, edits[0] if edits else score, run)
    before: dict[str, Any] = {}
    for edit in edits or [score]:
        made_by = _mapping(edit.get("provenance"))
        reviewer = _name(made_by.get("author"))
        # Without an author it is the scorer's own value, or a program's correction of it.
        said = made_by.get("reason") if reviewer else edit.get("explanation")
        given = GivenAnswer(
            criterion=name,
            answer=None,
            text=said if isinstance(said, str) and said != UNCHANGED else "",
            backend="" if reviewer else backend,
            reviewer=reviewer,
            at=_time(made_by.get("timestamp")) if reviewer else "",
        )
        if edit.get("value") == UNCHANGED:
            if reviewer and given.text:
                yield from (given._replace(criterion=criterion) for criterion in before)
            continue
        after = _by_criterion(name, edit.get("value"))
        changed = {criterion: value for criterion, value in after.items() if before.get(criterion, UNCHANGED) != value}
        for criterion, value in (changed or after).items():
            yield given._replace(criterion=criterion, **_answer(value))
        before = after


def _answer(value: Any) -> dict[str, Any]:
    if value is None:
        return {"problem": "has no value"}
    answer = None if isinstance(value, list | Mapping) else ANSWERS.get(str(value).strip().lower())
    return {"answer": answer} if answer else {"problem": f"is {str(value)[:40]}, neither yes nor no"}


def _by_criterion(name: str, value: Any) -> dict[str, Any]:
    """Each criterion's own value; an edit of a score of several values gives all of them anew."""
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}


def _backend(name: str, score: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """Who scored: the grader's model, else the scorer of several criteria, else the task, as the name of a scorer of
    one criterion is the criterion's."""
    scorers = run.get("scorers")
    named = (_mapping(scorer) for scorer in scorers) if isinstance(scorers, list) else iter(())
    options = next((_mapping(s.get("options")) for s in named if str(s.get("name")).rpartition("/")[2] == name), {})
    grading = _mapping(score.get("metadata")).get("grading")
    graders = [_mapping(message).get("model") for message in grading] if isinstance(grading, list) else []
    model = options.get("model")
    asked = _mapping(model).get("model") if isinstance(model, Mapping) else model
    itself = name if isinstance(score.get("value"), Mapping) else _name(run.get("task")).rpartition("/")[2]
    for wanted in (asked, *reversed(graders), itself, name):
        found = _name(wanted)
        if found:
            return f"inspect {found}" if found in RESERVED_BACKENDS else found
    return "inspect"


def _name(value: Any) -> str:
    return " ".join(value.split())[:MAX_NAME_CHARS] if isinstance(value, str) else ""


def _time(value: Any) -> str:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return ""
    try:
        return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC).isoformat(timespec="microseconds")
    except OverflowError:
        return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
