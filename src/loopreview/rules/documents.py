"""YAML documents that know their lines, and models built from them.

YAML 1.2's core schema: `NO`, `yes` and `on` are text. Keys are always text, as typed. Duplicate keys are refused.
"""

import difflib
import re
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from loopreview.models.errors import UserError

Path = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 60
_SHALLOW = 5_000
"""Fewer marks that can begin a collection cannot nest deep enough to do harm."""
MAX_VALUES = 200_000
"""More values than this come from aliases that multiply, not from a person."""


class Problem(NamedTuple):
    """One thing wrong in a file. Line and column count from 1; 0 where unknown."""

    line: int
    column: int
    message: str


class DocumentError(UserError):
    """A file that cannot be used. The message names the first problem; `problems` holds all, by line."""

    def __init__(self, where: str, problems: Sequence[Problem]) -> None:
        self.where = where
        self.problems = sorted(problems, key=lambda p: (p.line, p.column))
        first = self.problems[0]
        place = f"{where} line {first.line}" if first.line else where
        more = len(self.problems) - 1
        rest = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
        super().__init__(f"{place}: {first.message}{rest}")


@dataclass(frozen=True)
class Document:
    """A parsed file: its value (dicts, lists, scalars) and where each part of it stands."""

    value: Any
    where: str
    positions: dict[Path, tuple[int, int]] = field(repr=False)
    """path → (line, column) of its key or list item, from 1."""

    def line(self, *path: str | int) -> int:
        """The line of `path`, or of its nearest known ancestor."""
        return self._position(path)[0]

    def problem(self, path: Sequence[str | int], message: str) -> Problem:
        return Problem(*self._position(tuple(path)), message)

    def at(self, path: Iterable[str | int]) -> Any:
        """The value at `path`, or None where there is none."""
        value = self.value
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _position(self, path: Path) -> tuple[int, int]:
        while path not in self.positions and path:
            path = path[:-1]
        return self.positions.get(path, (0, 0))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Composes nodes with the scalars of YAML 1.2 instead of PyYAML's 1.1."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("null", r"(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


def read_yaml(text: str, where: str) -> Document:
    """Parse `text`; `where` is the file's name for messages.

    Raises DocumentError for text that is not YAML, is empty, or repeats a key.
    """
    text = text.removeprefix("\ufeff")
    if odd := re.search("[\ud800-\udfff]", text):
        line = text.count("\n", 0, odd.start()) + 1
        raise DocumentError(where, [Problem(line, 0, "a character that is not valid Unicode; save the file as UTF-8")])
    try:
        if line := _too_deep(text):
            raise DocumentError(where, [Problem(line, 0, _TOO_MUCH)])
        node = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        raise DocumentError(where, [_syntax_problem(error, text)]) from None
    if node is None:
        raise DocumentError(where, [Problem(1, 1, "the file is empty")])
    reader = _Reader()
    value = reader.value(node, (), 0)
    if value is None:
        reader.problems.append(Problem(1, 1, "the file is empty"))
    if reader.problems:
        raise DocumentError(where, reader.problems)
    return Document(value, where, reader.positions)


def _too_deep(text: str) -> int:
    """The line at which collections nest deeper than MAX_DEPTH; 0 where none does. The fast loader's composer would
    overflow the stack, and end the program, before anything is returned that could be looked at."""
    if sum(map(text.count, "[{-?:")) < _SHALLOW:
        return 0
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return event.start_mark.line + 1 if event.start_mark else 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return 0


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "not valid YAML"
        if "cannot start any token" in what:
            what += " (indent with spaces, not tabs; put text that begins with a special character in quotes)"
        elif "mapping values are not allowed" in what:
            what += " (put text that holds a colon in quotes, or look for a wrong indent)"
        elif "single document" in what or "another document" in what:
            what = "a second document begins here; keep one in a file"
        if error.context_mark and mark and error.context_mark.line != mark.line:
            what += f"; what it belongs to begins at line {error.context_mark.line + 1}"
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        if line > (last := text.rstrip().count("\n") + 1):  # it is only noticed at the end of the file
            line, column = last, 1
        return Problem(line, column, f"not valid YAML: {what}")
    position = getattr(error, "position", None)
    line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
    return Problem(line, 0, f"not valid YAML: {getattr(error, 'reason', error)}")


class _Reader:
    """Turns nodes into values, noting lines and what is wrong."""

    def __init__(self) -> None:
        self.positions: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self._count = 0

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.positions.setdefault(path, (line, column))
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_VALUES:
            if not self.problems or self.problems[-1].message != _TOO_MUCH:
                self.problems.append(Problem(line, column, _TOO_MUCH))
            return None
        if isinstance(node, yaml.MappingNode):
            if node.tag == _TAG + "map":
                return self._mapping(node, path, depth)
        elif isinstance(node, yaml.SequenceNode):
            if node.tag == _TAG + "seq":
                return [self.value(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        elif node.tag.removeprefix(_TAG) in _SCALARS:
            try:
                return _SCALARS[node.tag.removeprefix(_TAG)](node.value)
            except ValueError:
                pass
        self.problems.append(Problem(line, column, f"`{node.tag.replace(_TAG, '!!')}` is not supported here"))
        return None

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(line, column, "a key must be one word or text, not a list or mapping"))
                continue
            key = key_node.value
            if key in found:
                first = self.positions[(*path, key)][0]
                self.problems.append(Problem(line, column, f"`{key}` is here twice, first at line {first}; keep one"))
                continue
            self.positions[(*path, key)] = (line, column)
            found[key] = self.value(value_node, (*path, key), depth + 1)
        return found


_TOO_MUCH = "nested too deep, or too many values; write it out flat, without aliases that repeat one another"


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Any] = {
    "str": str,
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _int,
    "float": _float,
}


def build(model: type[M], document: Document, *, root: Path = ()) -> M:
    """`model` from the part of `document` at `root`. Raises DocumentError with a line for each problem."""
    try:
        return model.model_validate(document.at(root))
    except ValidationError as error:
        raise DocumentError(document.where, problems_of(error, document, model=model, root=root)) from None


def problems_of(
    error: ValidationError, document: Document, *, model: type[BaseModel] | None = None, root: Path = ()
) -> list[Problem]:
    """The problems pydantic found, in plain words, by line. With `model`, unknown keys get the nearest known one."""
    details = error.errors(include_url=False)
    paths = [(*root, *_known_path(document.at(root), detail["loc"])) for detail in details]
    meant = {
        (*path[:-1], _close(str(path[-1]), _fields(model, path[len(root) : -1])))
        for detail, path in zip(details, paths, strict=True)
        if detail["type"] == "extra_forbidden"
    }  # a misspelt key is one problem, not also a missing one
    return sorted(
        document.problem(path, _message(detail, path, document, model, root))
        for detail, path in zip(details, paths, strict=True)
        if detail["type"] != "missing" or path not in meant
    )


def _close(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.6)), None)


def nearest(name: str, known: Sequence[str], listed_as: str) -> str:
    """The end of a message about an unknown name: `; did you mean …?`, else all known ones; empty without any."""
    if near := _close(name, known):
        return f"; did you mean `{near}`?"
    return f"; {listed_as} {', '.join(known)}" if known else ""


def _known_path(value: Any, location: Path) -> Path:
    """Pydantic's location without the labels of union members that it puts between the keys."""
    path: list[str | int] = []
    for position, key in enumerate(location):
        last = position == len(location) - 1
        if isinstance(value, dict) and (key in value or last):
            value = value.get(key) if isinstance(key, str) else None
        elif isinstance(value, list) and isinstance(key, int) and (key < len(value) or last):
            value = None if last else value[key]
        elif value is not None or not last:
            continue
        path.append(key)
    return tuple(path)


def _message(detail: ErrorDetails, path: Path, document: Document, model: type[BaseModel] | None, root: Path) -> str:
    kind, name = detail["type"], str(path[-1]) if path else ""
    inside = _inside(path[:-1], document)
    if kind == "extra_forbidden":
        known = _fields(model, path[len(root) : -1])
        return f"unknown key `{name}`{inside}{nearest(name, known, 'known keys:')}"
    if kind == "missing":
        return f"a value is missing{inside}" if isinstance(path[-1], int) else f"`{name}` is missing{inside}"
    subject = f"{_entry(path, document)}: " if path else ""
    if kind == "value_error":
        return subject + str(detail["ctx"]["error"])
    if kind in ("too_short", "too_long"):
        least, most = detail["ctx"].get("min_length"), detail["ctx"].get("max_length")
        return f"{subject}must hold at {f'least {least}' if least is not None else f'most {most}'} entries"
    said = detail["msg"].removeprefix("Input ")
    must = _MUST_BE.get(kind, said[:1].lower() + said[1:])
    advice = "; put it in quotes" if kind == "string_type" and not isinstance(detail["input"], dict | list) else ""
    return f"{subject or 'the file '}{must}, not {_shown(detail['input'])}{advice}"


_MUST_BE = {
    **dict.fromkeys(("model_type", "dict_type", "model_attributes_type"), "must be `key: value` lines"),
    **dict.fromkeys(("list_type", "tuple_type"), "must be a list"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be text",
}


def _entry(path: Path, document: Document) -> str:
    return _item(path, document) if isinstance(path[-1], int) else f"`{path[-1]}`{_inside(path[:-1], document)}"


def _inside(path: Path, document: Document) -> str:
    """` in tone`, ` in U1`: the nearest named thing that holds a key; empty at the top of the file."""
    if not path:
        return ""
    return f" in {_item(path, document)}" if isinstance(path[-1], int) else f" in {path[-1]}"


def _item(path: Path, document: Document) -> str:
    value = document.at(path)
    label = (value.get("id") or value.get("name")) if isinstance(value, dict) else None
    if isinstance(label, str):
        return label
    number = int(path[-1]) + 1
    return (
        f"item {number} of {_item(path[:-1], document) if isinstance(path[-2], int) else path[-2]}"
        if path[:-1]
        else f"item {number}"
    )


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = str(value)
    return repr(text if len(text) <= 40 else text[:39] + "…") if isinstance(value, str) else text[:40]


def _fields(model: type[BaseModel] | None, path: Path) -> list[str]:
    """Names of the fields that the model at `path` below `model` knows."""
    kinds: list[Any] = [model] if model else []
    for key in path:
        kinds = [inner for kind in kinds for inner in _step(kind, key)]
    names: dict[str, None] = {}
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names.update((info.alias or name, None) for name, info in kind.model_fields.items())
    return list(names)


def _step(kind: Any, key: str | int) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if key in (name, info.alias):
                yield from _members(info.annotation)
        return
    arguments = get_args(kind)
    if get_origin(kind) is dict and len(arguments) == 2:
        yield from _members(arguments[1])
    elif get_origin(kind) in (list, tuple) and arguments:
        yield from _members(arguments[0])


def _members(kind: Any) -> Iterator[Any]:
    if get_origin(kind) in (Union, types.UnionType):
        for member in get_args(kind):
            yield from _members(member)
    elif get_origin(kind) is Annotated:
        yield from _members(get_args(kind)[0])
    else:
        yield kind
