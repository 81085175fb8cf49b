"""Tool calls as a person reads them."""

from typing import Any

import pytest

from loopreview.models.transcript import Message
from loopreview.rules.tool_calls import MAX_CHARACTERS, calls_of


def call(name: Any, arguments: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def said(**extra: Any) -> list[str]:
    return calls_of(Message(role="assistant", text="", extra=extra))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"x": 2, "name": "ü"}', 'f(x=2, name="ü")'),
        ({"x": [1, None]}, "f(x=[1, null])"),
        ("{}", "f()"),
        ("", "f()"),
        (None, "f()"),
        ("not json", "f(not json)"),
        ('["a"]', 'f(["a"])'),
        ("7", "f(7)"),
    ],
)
def test_a_call_is_a_name_with_its_arguments(arguments: Any, shown: str) -> None:
    assert said(tool_calls=[call("f", arguments)]) == [shown]


def test_several_calls_and_the_older_form_are_shown_in_order() -> None:
    older = {"name": "h", "arguments": '{"a": 1}'}
    assert said(tool_calls=[call("f", "{}"), call("g", "{}")], function_call=older) == ["f()", "g()", "h(a=1)"]


def test_a_message_without_calls_has_none() -> None:
    assert said() == said(weight=0) == said(tool_calls=[]) == said(tool_calls=None) == []


@pytest.mark.parametrize("odd", ["text", 7, {"function": None}, {"function": {"name": 7}}, {"name": "f"}])
def test_what_is_no_call_is_shown_as_it_came(odd: Any) -> None:
    (shown,) = said(tool_calls=[odd])
    assert shown


def test_a_long_argument_is_cut_and_that_is_shown() -> None:
    (shown,) = said(tool_calls=[call("f", {"text": "x" * 100_000})])
    assert len(shown) < MAX_CHARACTERS + 100 and shown.endswith("… (100,002 characters))")


def test_arguments_nested_too_deeply_stop_nothing() -> None:
    (shown,) = said(tool_calls=[call("f", "[" * 100_000)])
    assert shown.startswith("f([[[")
