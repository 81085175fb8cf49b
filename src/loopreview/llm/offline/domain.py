"""The kind of conversation that the simulated user and assistant know how to have: support, coaching, lessons."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple


class Matter(NamedTuple):
    """One kind of thing a user brings up. Texts are templates (`chance.expand`)."""

    keys: str
    """A regular expression that finds it in a topic or a sentence."""
    things: tuple[str, ...]
    """What `{thing}` is in one conversation."""
    tells: tuple[str, ...]
    """The user, about what happened."""
    asks: tuple[str, ...]
    """The user's requests."""
    answers: tuple[str, ...]
    """The assistant's answers to them."""
    steps: tuple[str, ...]
    """What the assistant proposes to do."""


class Domain(NamedTuple):
    """Material of one domain. `faults` holds what the assistant says where it does wrong, by the fault's name."""

    name: str
    keys: str
    matters: Mapping[str, Matter]
    general: Matter
    """For topics that none of `matters` knows."""
    life: tuple[str, ...]
    """The user, about everything around it."""
    episodes: tuple[str, ...]
    """The same with many choices in each: what fills long messages without saying a thing twice."""
    upset: tuple[str, ...]
    glad: tuple[str, ...]
    push_back: tuple[str, ...]
    detail: tuple[str, ...]
    """The user gives a detail that a careless assistant asks for again."""
    feelings: tuple[str, ...]
    """The assistant takes up that the user is upset, in words that are no stock opener."""
    holds: tuple[str, ...]
    """The assistant keeps its position after pushback."""
    thoughts: tuple[str, ...]
    """The assistant, to fill the room it has."""
    remarks: tuple[str, ...]
    """The same with many choices in each."""
    next_steps: tuple[str, ...]
    questions: tuple[str, ...]
    """Questions the assistant may end with."""
    faults: Mapping[str, tuple[str, ...]]

    def matter(self, text: str) -> Matter:
        """The matter that most words of `text` belong to."""
        return self.matters.get(self.matter_name(text), self.general)

    def matter_name(self, text: str) -> str:
        found = {name: len(re.findall(matter.keys, text, re.IGNORECASE)) for name, matter in self.matters.items()}
        best = max(found, key=lambda name: found[name])
        return best if found[best] else "general"


NAMES = ("support", "coaching", "study")


@cache
def domains() -> dict[str, Domain]:
    """The domains by name, from the `.toml` files beside this module."""
    return {name: _read(name) for name in NAMES}


def choose(texts: Iterable[str]) -> Domain:
    """The domain that these texts (prompt, persona, topics, first message) speak of; support if none."""
    joined = "\n".join(texts)
    found = {name: len(re.findall(domain.keys, joined, re.IGNORECASE)) for name, domain in domains().items()}
    return domains()[max(found, key=lambda name: found[name])]


def table(name: str) -> dict[str, Any]:
    """The content of a `.toml` file beside this module."""
    return tomllib.loads(resources.files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))


def _read(name: str) -> Domain:
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table(name).items()}
    values["matters"] = {key: _matter(matter) for key, matter in values["matters"].items()}
    values["general"] = _matter(values["general"])
    values["faults"] = {fault: tuple(lines) for fault, lines in values["faults"].items()}
    return Domain(name=name, **values)


def _matter(table: Mapping[str, Any]) -> Matter:
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
    return Matter(**values)
