"""A model's tokenizer: ids of a text, piece by piece, and of a growing conversation in linear time."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from tokenizers import AddedToken, Tokenizer

from loopreview.models.errors import UserError
from loopreview.tokens.growth import Observed
from loopreview.tokens.template import FIXED_DATE, ChatMessage, ChatTemplate, TemplateRefused

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that a template may name."""
_BATCH_CHARS = 4_000_000
"""Characters encoded at once: enough for every core, little enough for the memory."""
_PROBE = "⟦probe⟧"

System = Literal["kept", "merged"]


class ChatTokenizer:
    """A tokenizer with its chat template, as a model's folder holds them."""

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate, *, name: str, config: Mapping[str, Any] | None = None
    ) -> None:
        """Raises UserError where the template takes no user's message with a reply."""
        self.template, self.name = template, name
        self._tokenizer = tokenizer
        # What a tokenizer.json says of padding and cutting is meant for other uses; here nothing is ever cut.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _add_missing(tokenizer, config or {})
        self.hash = sha256(
            "\0".join([tokenizer.to_str(), template.source, json.dumps(template.special, sort_keys=True)]).encode()
        ).hexdigest()[:16]
        added = tokenizer.get_added_tokens_decoder().values()
        special = (token.content for token in added if token.special and token.content)
        self.control = tuple(sorted(content for content in special if content in template.source))
        """The special tokens by which the template tells messages apart."""
        self.added = frozenset(token.content for token in added)
        """Texts that are one token wherever they stand, a person's message included."""
        self.observed = Observed(template)
        raw = [token for token in added if not token.normalized and token.content]
        self._raw = _any_of([token.content for token in raw])
        self._cuts = frozenset(token.content for token in raw if _is_cut(token))
        self._reach = max((len(content) for content in self._cuts), default=0)
        self.end_of_turn = self._probe_end()
        """What the template writes after a reply up to its first special token, that token included; may be empty."""
        self.system: System = self._probe_system()
        """Whether the template has a system message; else it is put before the first user's message."""

    @classmethod
    def load(cls, folder: Path, *, name: str | None = None, today: date = FIXED_DATE) -> "ChatTokenizer":
        """Read `tokenizer.json` and the chat template (`chat_template.jinja`, else the one in
        `tokenizer_config.json`) of a model's folder. Raises UserError for what is missing or broken."""
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise UserError(f"{folder}: no tokenizer.json in it; name a folder of a model with a fast tokenizer")
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises nothing more precise
            raise UserError(f"{file}: is no tokenizer that can be read ({_line(error)})") from None
        config = _object(folder / "tokenizer_config.json")
        return cls(
            tokenizer,
            ChatTemplate(_template_source(folder, config), _special(folder, config), today=today),
            name=name or folder.resolve().name,
            config=config,
        )

    def prepared(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """The messages as the template takes them: a leading system message that it has no place for stands before
        the first user's words, a blank line between."""
        given = list(messages)
        if self.system == "kept" or len(given) < 2 or given[0]["role"] != "system" or given[1]["role"] != "user":
            return given
        return [{**given[1], "content": f"{given[0]['content']}\n\n{given[1]['content']}"}, *given[2:]]

    def encode(self, text: str) -> list[int]:
        """The ids of a text that has its special tokens in it already."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def spans(self, text: str) -> list[tuple[int, int]]:
        """From which to which character each id of `encode(text)` reaches."""
        found: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return found

    def encode_all(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """The ids of each text, in order, on all cores."""
        batch: list[str] = []
        chars = 0
        for text in texts:
            batch.append(text)
            chars += len(text)
            if chars >= _BATCH_CHARS:
                yield from self._encode_batch(batch)
                batch, chars = [], 0
        yield from self._encode_batch(batch)

    def cuts(self, text: str, start: int = 0) -> list[int]:
        """Where, from `start` on, a text can be cut so that the ids of the pieces are the ids of the whole: before
        its special tokens.

        A special token that is found in the raw text, before anything is normalized, splits it: what stands on its two
        sides is encoded apart, as if the other side were not there. `start` must be 0 or such a place.
        """
        if self._raw is None:
            return []
        return [found.start() for found in self._raw.finditer(text, start) if found.group() in self._cuts]

    @property
    def reach(self) -> int:
        """Characters after a cut that decide whether it is one."""
        return self._reach

    def _encode_batch(self, batch: list[str]) -> Iterator[list[int]]:
        for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield encoding.ids

    def _probe_end(self) -> str:
        rendered = self.template.render([_message("user", "Hello."), _message("assistant", _PROBE)])
        after = rendered.partition(_PROBE)[2]
        found = _any_of(token for token in self.added if token.strip())
        first = found.search(after) if found else None
        return after[: first.end()] if first else after.rstrip()

    def _probe_system(self) -> System:
        messages = [_message("system", _PROBE), _message("user", "Hello."), _message("assistant", "Hello.")]
        try:
            return "kept" if _PROBE in self.template.render(messages) else "merged"
        except TemplateRefused:
            return "merged"


def _message(role: str, content: str) -> ChatMessage:
    return {"role": role, "content": content}


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that finds what tokenizers finds: the first place, and there the longest text."""
    ordered = sorted(set(texts), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def _is_cut(token: AddedToken) -> bool:
    """Whether a text may be cut before this token: neither the token nor one that ends there asks what stands on the
    other side."""
    first = token.content[0]
    return not (token.lstrip or token.single_word or first.isspace() or first.isalnum() or first == "_")


def _add_missing(tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    """Tokens that `tokenizer_config.json` has and `tokenizer.json` has not, as transformers adds them."""
    listed = config.get("added_tokens_decoder")
    known = tokenizer.get_added_tokens_decoder()
    for id, token in sorted((int(id), token) for id, token in (listed if isinstance(listed, dict) else {}).items()):
        if id in known or not isinstance(token, dict):
            continue
        fields = {key: value for key, value in token.items() if key != "__type"}
        tokenizer.add_tokens([AddedToken(**fields)])
        if tokenizer.token_to_id(str(fields["content"])) != id:
            raise UserError(f"tokenizer_config.json: the token {fields['content']!r} cannot have the number {id}")


def _template_source(folder: Path, config: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return _text(file)
    for holder in (config, _object(folder / "chat_template.json")):
        found = holder.get("chat_template")
        if isinstance(found, list):
            named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
            found = named.get("default")
        if isinstance(found, str):
            return found
    raise UserError(
        f"{folder}: has a tokenizer but no chat template; take the folder of an instruction-tuned model, or put the "
        "template there as chat_template.jinja"
    )


def _special(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The named special tokens. Older folders have them in a file of their own, which counts there."""
    older = {} if "added_tokens_decoder" in config else _object(folder / "special_tokens_map.json")
    found = {}
    for name in NAMED:
        value = older.get(name, config.get(name))
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            found[name] = value
    return found


def _object(file: Path) -> dict[str, Any]:
    """A JSON file's object; empty where there is no such file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(_text(file))
    except ValueError as error:
        raise UserError(f"{file}: is not JSON ({_line(error)})") from None
    return found if isinstance(found, dict) else {}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
