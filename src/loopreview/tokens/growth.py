"""Where a rendered conversation grows: most templates write one message after the other and never look back.

Rendering every prefix of a long conversation anew takes time in the square of its length. Whether a template can be
spared that is not guessed but observed: it is run once over messages that record when they are read.

    A template is a program without memory of other runs. What it has written before it first reads message k cannot
    depend on message k or a later one. So the rendering of messages[:k] begins with just that text; there the run finds
    no message k, leaves its loop, and writes what stands after the loop.

This holds where the messages are read by one loop that stands by itself, each at the head of that loop (not by looking
ahead, as `loop.last` does, and not by counting them), and where nothing but fixed text follows it. Any other template
is rendered prefix by prefix.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import Template, nodes

from loopreview.tokens.template import ChatMessage, ChatTemplate

_BEGINS, _ROUND, _ENDS = "_loopreview_begins", "_loopreview_round", "_loopreview_ends"


class Growth(NamedTuple):
    """messages[:k], without generation prompt, is rendered as `text[: at[k]] + tail`."""

    text: str
    at: Mapping[int, int]
    tail: str


class Observed:
    """A template prepared for being observed. `possible` is False where its form rules it out."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._program = _prepared(template)
        self.possible = self._program is not None

    def growth(self, messages: Sequence[ChatMessage], shortest: int, tools: list[Any] | None = None) -> Growth | None:
        """How the text grows from messages[:shortest] on, or None where the template looks ahead or back.

        Raises TemplateRefused where it does not take the whole conversation.
        """
        whole = self._template.render(messages, tools=tools)
        if self._program is None:
            return None
        watch = _Watch(shortest)
        given = self._template.variables(_Watched(messages, watch), tools)
        given |= {_BEGINS: watch.begins, _ROUND: watch.round, _ENDS: watch.ends}
        chunks: list[str] = []
        try:
            for chunk in self._program.root_render_func(self._program.new_context(given)):
                chunks.append(chunk)
                watch.written += len(chunk)
        except Exception:  # it takes a list, and not what stands in for one
            return None
        watch.at[len(messages)] = watch.end
        known = all(k in watch.at for k in range(shortest, len(messages) + 1))
        if watch.looked or not known or "".join(chunks) != whole:
            return None
        return Growth(whole, watch.at, whole[watch.end :])


class _Watch:
    """What was read when. `looked` is set once by anything that makes the rest of the reasoning void."""

    def __init__(self, shortest: int) -> None:
        self.shortest = shortest
        self.written = self.end = 0
        self.at: dict[int, int] = {}
        self.looked = False
        self._read = 0
        self._inside = self._in_round = False

    def begins(self) -> None:
        self._inside = True

    def round(self) -> None:
        self._in_round = False

    def ends(self) -> None:
        self._inside, self.end = False, self.written

    def next(self, number: int) -> None:
        """The loop asks for this message, which need not be there."""
        self.looked |= self._in_round or not self._inside
        self._in_round = True
        self._read = number + 1
        self.at.setdefault(number, self.written)

    def by_number(self, number: int) -> None:
        self.looked |= not 0 <= number < max(self.shortest, self._read)


class _Watched(Sequence[ChatMessage]):
    """Messages that tell the watch when they are read, and otherwise behave as a list."""

    def __init__(self, messages: Sequence[ChatMessage], watch: _Watch, start: int = 0) -> None:
        self._messages, self._watch, self._start = messages, watch, start

    def __iter__(self) -> Iterator[ChatMessage]:
        for number in range(self._start, len(self._messages)):
            self._watch.next(number)
            yield self._messages[number]
        self._watch.next(len(self._messages))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop is None and key.step is None and (key.start or 0) >= 0:
            return _Watched(self._messages, self._watch, self._start + (key.start or 0))
        if isinstance(key, int) and key >= 0:
            self._watch.by_number(self._start + key)
            return self._messages[self._start + key]
        self._watch.looked = True
        return self._messages[self._start :][key]

    def __len__(self) -> int:
        self._watch.looked = True
        return len(self._messages) - self._start

    def __bool__(self) -> bool:
        self._watch.looked |= self._start >= self._watch.shortest
        return len(self._messages) > self._start


def _prepared(template: ChatTemplate) -> Template | None:
    """The template with calls around its last loop, at the end of each round of it; or None where what follows that
    loop is not fixed."""
    environment = template.environment
    tree = environment.parse(template.source)
    places = [i for i, node in enumerate(tree.body) if isinstance(node, nodes.For)]
    if not places:
        return None
    loop = tree.body[places[-1]]
    after = tree.body[places[-1] + 1 :]
    assert isinstance(loop, nodes.For)
    fixed = {*template.special, "add_generation_prompt"}
    asked = [node for node in tree.find_all(nodes.Assign) if _stores(node.target, "add_generation_prompt")]
    if not all(isinstance(node.node, nodes.Const) and node.node.value is False for node in asked):
        return None
    if loop.else_ or loop.recursive or not all(_is_fixed(node, fixed) for node in after):
        return None
    loop.body.append(_call(_ROUND, loop.lineno))
    tree.body[places[-1] : places[-1] + 1] = [_call(_BEGINS, loop.lineno), loop, _call(_ENDS, loop.lineno)]
    code = environment.compile(tree)
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def _is_fixed(node: nodes.Node, fixed: set[str]) -> bool:
    """Whether a node writes the same whatever the messages are, where no generation prompt is asked for."""
    if isinstance(node, nodes.Output):
        return all(_is_fixed(part, fixed) for part in node.nodes)
    if isinstance(node, nodes.TemplateData | nodes.Const):
        return True
    if isinstance(node, nodes.Name):
        return node.name in fixed
    if isinstance(node, nodes.If) and not node.elif_ and _asks_for_prompt(node.test):
        return all(_is_fixed(part, fixed) for part in node.else_)
    return False


def _asks_for_prompt(test: nodes.Node) -> bool:
    """A condition that does not hold where no generation prompt is asked for, nor looks at anything else then."""
    if isinstance(test, nodes.And):
        return _asks_for_prompt(test.left)
    return isinstance(test, nodes.Name) and test.name == "add_generation_prompt"


def _stores(target: nodes.Node, name: str) -> bool:
    names = [target] if isinstance(target, nodes.Name) else target.find_all(nodes.Name)
    return any(found.name == name for found in names)


def _call(name: str, line: int) -> nodes.Stmt:
    call = nodes.Call(nodes.Name(name, "load"), [], [], None, None)
    statement = nodes.ExprStmt(call)
    statement.set_lineno(line)
    return statement
