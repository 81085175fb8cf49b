"""Chat templates: Jinja in a sandbox, rendered as transformers renders them.

What transformers 5.23 gives a template, and so is given here: blocks trimmed, `loopcontrols`, `raise_exception`,
`strftime_now`, a `tojson` that does not escape HTML, `{% generation %}`, the named special tokens.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from loopreview.models.errors import UserError

FIXED_DATE = date(2024, 7, 26)
"""The day that a template with a date in it is told, so that an export is the same tomorrow. Llama's templates name it
themselves where they are told none."""

ChatMessage = dict[str, Any]
"""`role` and `content`, and what else the template knows: `tool_calls`, `tool_call_id`, `name`."""


class TemplateRefused(UserError):
    """The template does not take these messages; the text says why, in the template's own words where it has some."""


class ChatTemplate:
    """A chat template and the special tokens it may name (`bos_token`, `eos_token`, …)."""

    def __init__(self, source: str, special: Mapping[str, str], *, today: date = FIXED_DATE) -> None:
        """Raises UserError where `source` is no Jinja template."""
        self.source, self.special, self.today = source, dict(special), today
        self.environment = _environment(today)
        try:
            self._template = self.environment.from_string(source)
        except TemplateSyntaxError as error:
            raise UserError(f"the chat template is no Jinja template: line {error.lineno}: {error.message}") from None

    @property
    def names_the_date(self) -> bool:
        return "strftime_now" in self.source

    def variables(
        self, messages: Sequence[ChatMessage], tools: list[Any] | None, *, add_generation_prompt: bool = False
    ) -> dict[str, Any]:
        """What the template is given."""
        return {
            **self.special,
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = False,
        tools: list[Any] | None = None,
    ) -> str:
        """The text that the model sees. `add_generation_prompt`: with what comes before a reply at inference.

        Raises TemplateRefused.
        """
        given = self.variables(list(messages), tools, add_generation_prompt=add_generation_prompt)
        try:
            return self._template.render(given)
        except RecursionError:
            raise TemplateRefused("the chat template does not end") from None
        except Exception as error:  # a template is a program of somebody else's: it may fail in any way
            raise TemplateRefused(f"the chat template does not take it: {_reason(error)}") from None


class _Generation(Extension):
    """`{% generation %} … {% endgeneration %}` stands around a reply: its content, as it is. It is a block with a
    scope of its own, as it is for transformers."""

    tags = {"generation"}  # noqa: RUF012  # the name and form that jinja2 asks for

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(Namespace):
    """A namespace that holds no name with an underscore before it: those lead into Python's internals."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, given = args[0], dict(*args[1:], **kwargs)
        for name in given:
            _check_name(name)
        Namespace.__init__(self, given)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}")


def _environment(today: date) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = datetime.combine(today, time()).strftime
    environment.globals["namespace"] = _Namespace
    return environment


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return said or type(error).__name__
