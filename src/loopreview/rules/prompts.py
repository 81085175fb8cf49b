"""Prompt files, and the blocks and messages that code makes of them."""

import re
from collections.abc import Mapping, Sequence

from loopreview.models.errors import UserError
from loopreview.models.rubric import Criterion, Example
from loopreview.models.transcript import Dice, Exchange, Message, Persona
from loopreview.rules.checks import Measurements
from loopreview.rules.documents import nearest

ROLES = ("user_sim", "assistant", "system", "assessor")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "user_sim": ("persona", "topics"),
    "assistant": (),
    "system": (),
    "assessor": ("transcript", "criteria"),
}
KNOWN: Mapping[str, tuple[str, ...]] = {**REQUIRED, "assessor": ("transcript", "criteria", "measurements")}

OPENING = "(The conversation begins. You write first.)"
"""The first message to the simulated user, whose own texts are the assistant's of that call."""

MODES: Mapping[str, str] = {
    "ignore": "do not answer the question or take up the suggestion in the last reply; go on with what is on your mind",
    "tangent": "go off on a tangent that the last reply reminds you of, then pivot to what you want to talk about",
    "push_back": "disagree with something in the last reply, or say why it does not work for you",
    "engage": "take up what the last reply said or asked",
}
_PARTS = (
    ("first quarter", "say what brings you here, in your own way; do not put everything on the table at once"),
    ("middle", "go deeper, add what happened since, bring in another of your topics where it fits"),
    ("last", "draw on what was said before; let things end as they would, without a summary or a round of thanks"),
)

_PLACEHOLDER = re.compile(r"\{\{[ \t]*([A-Za-z][\w -]*?)[ \t]*\}\}")
_HEADER = re.compile(r"^(?=\[\d+\] (?:user|assistant):)", re.MULTILINE)


def check_prompt(role: str, text: str, where: str) -> None:
    """Raises UserError for an empty prompt, an unknown or missing `{{name}}`, or criteria before the transcript."""
    if not text.strip():
        raise UserError(f"{where} line 1: the prompt is empty; write what the model is to do")
    places: dict[str, int] = {}
    for match in _PLACEHOLDER.finditer(text):
        name, line = match[1], text.count("\n", 0, match.start()) + 1
        if name not in KNOWN[role]:
            advice = nearest(name, KNOWN[role], "known here:") or "; this prompt takes none"
            raise UserError(f"{where} line {line}: unknown name {{{{{name}}}}}{advice.replace('`', '')}")
        places.setdefault(name, line)
    if missing := [f"{{{{{name}}}}}" for name in REQUIRED[role] if name not in places]:
        last = text.rstrip().count("\n") + 1
        raise UserError(f"{where} line {last}: {' and '.join(missing)} must stand somewhere in this prompt; add it")
    if role == "assessor":
        first_criteria = next(m.start() for m in _PLACEHOLDER.finditer(text) if m[1] == "criteria")
        first_transcript = next(m.start() for m in _PLACEHOLDER.finditer(text) if m[1] == "transcript")
        if first_criteria < first_transcript:
            raise UserError(
                f"{where} line {places['criteria']}: {{{{criteria}}}} must come after {{{{transcript}}}}, so that "
                "providers can reuse the part that stays the same"
            )


def render(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `{{name}}` in `values` replaced, in one pass: what a value holds is never replaced again."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def fenced(name: str, body: str) -> str:
    """A fenced block that nothing in `body` can close: the fence is longer than any run of backticks in it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", body))])
    return f"{fence}{name}\n{body}\n{fence}"


def transcript_block(exchanges: Sequence[Exchange]) -> str:
    """Numbered messages. A line of a message that looks like such a number is moved in by one space."""
    parts = []
    for number, user, assistant in exchanges:
        parts += [f"[{number}] {role}:\n{_HEADER.sub(' ', text)}" for role, text in
                  (("user", user), ("assistant", assistant))]  # fmt: skip
    return fenced("transcript", "\n\n".join(parts))


def criteria_block(criteria: Sequence[Criterion], examples: Mapping[str, Sequence[Example]]) -> str:
    """The questions with the examples to show, by criterion id. Further lines of a value are moved in."""
    return fenced("criteria", "\n\n".join(_criterion(c, examples.get(c.id, ())) for c in criteria))


def _criterion(criterion: Criterion, examples: Sequence[Example]) -> str:
    lines = [
        f"criterion: {criterion.id}",
        f"name: {_moved_in(criterion.name, 2)}",
        f"question: {_moved_in(criterion.question, 2)}",
        f"NA: {'allowed' if criterion.na == 'valid' else 'not allowed'}",
    ]
    if examples:
        lines.append("examples:")
    for example in examples:
        lines.append(f"- {example.label}")
        for key, text in (("context", example.context), ("response", example.response), ("why", example.reasoning)):
            lines.append(f"  {key}: {_moved_in(text, 4)}")
    return "\n".join(lines)


def _moved_in(text: str, columns: int) -> str:
    return ("\n" + " " * columns).join(text.strip().splitlines())


def measurements_block(m: Measurements) -> str:
    """What code has counted, so that no judge has to."""
    lines = [
        f"exchanges: {len(m.ratios)}",
        f"words of the user: {_row(m.user_words)}",
        f"words of the assistant: {_row(m.assistant_words)}",
        f"reply/user word ratio: {_row(['none' if r is None else f'{r:.2f}' for r in m.ratios])}",
        f"mean ratio: {'none' if m.mean_ratio is None else f'{m.mean_ratio:.2f}'}",
        f"ratios above 2: {'none' if m.share_above_2 is None else f'{m.share_above_2:.0%}'}",
        f"replies that end in a question: {m.share_question_endings:.0%}",
        f"repeated openers: {'; '.join(f'{words!r} {n} times' for words, n in m.repeated_openers[:10]) or 'none'}",
    ]
    return fenced("measurements", "\n".join(lines))


def _row(values: Sequence[object]) -> str:
    return " ".join(f"[{i}] {value}" for i, value in enumerate(values, 1))


def persona_block(persona: Persona) -> str:
    low, high = persona.words
    lines = [
        f"name: {persona.name}",
        f"age: {persona.age_range}",
        f"traits: {', '.join(persona.traits)}",
        f"communication: {persona.communication_style}",
        f"writing style: {persona.writing_style}, {low}-{high} words a message",
        *([f"style note: {_moved_in(persona.style_note, 2)}"] if persona.style_note else []),
        f"trajectory: {persona.trajectory}",
        f"flaws:{'' if persona.flaws else ' none'}",
        *(f"- {f.name} ({f.level}){': ' * bool(f.description)}{_moved_in(f.description, 2)}" for f in persona.flaws),
    ]
    return fenced("persona", "\n".join(lines))


def topics_block(dice: Dice) -> str:
    lines = [f"- {seed.topic}: {seed.subtopic} ({seed.complexity})" for seed in dice.persona.topic_seeds]
    lines += [f"{name}: {option}" for name, option in dice.dimensions.items()]
    if dice.edge_case:
        lines.append(f"edge case: {dice.edge_case}")
    return fenced("topics", "\n".join(lines))


def turn_block(dice: Dice, number: int) -> str:
    """The dice of exchange `number` (from 1) in words."""
    turn = dice.turns[min(number, len(dice.turns)) - 1]
    flaws = {flaw.name: flaw.description for flaw in dice.persona.flaws}
    active = "; ".join(f"{name}: {flaws[name]}" if flaws.get(name) else name for name in turn.flaws)
    low, high = dice.persona.words
    share = number / dice.target_exchanges
    part, guidance = _PARTS[0 if share <= 0.25 or number == 1 else 2 if number >= dice.target_exchanges else 1]
    mode = f"mode: {turn.mode}: {MODES[turn.mode]}" if turn.mode in MODES else f"mode: {turn.mode}"
    lines = [
        f"exchange: {number} of {dice.target_exchanges}",
        "mode: open: begin the conversation" if number == 1 else mode,
        f"flaws now: {active or 'none'}",
        f"words: {low}-{high}",
        f"part: {part}: {guidance}",
    ]
    return fenced("turn", "\n".join(lines))


def user_sim_messages(prompt: str, dice: Dice, messages: Sequence[Message]) -> list[dict[str, str]]:
    """What the simulated user is sent for its next message, the conversation so far being `messages`.

    Roles are flipped: the simulator's own texts are the assistant's. The turn block ends the last message alone, so
    that everything before stays equal from call to call and can be cached.
    """
    values = {"persona": persona_block(dice.persona), "topics": topics_block(dice)}
    sent = [{"role": "system", "content": render(prompt, values)}, {"role": "user", "content": OPENING}]
    flipped = {"user": "assistant", "assistant": "user"}
    sent += [{"role": flipped[m.role], "content": m.text} for m in messages if m.role in flipped]
    number = sum(m.role == "user" for m in messages) + 1
    last = max(i for i, message in enumerate(sent) if message["role"] == "user")
    sent[last]["content"] += "\n\n" + turn_block(dice, number)
    return sent


def assistant_messages(prompt: str, messages: Sequence[Message]) -> list[dict[str, str]]:
    """What the assistant is sent: its prompt and the conversation only."""
    said = [{"role": m.role, "content": m.text} for m in messages if m.role in ("user", "assistant")]
    return [{"role": "system", "content": prompt}, *said]


def assessor_messages(
    prompt: str,
    exchanges: Sequence[Exchange],
    measurements: Measurements,
    criteria: Sequence[Criterion],
    examples: Mapping[str, Sequence[Example]],
) -> list[dict[str, str]]:
    """What a judge is sent: one message. `examples` by criterion id, after the leak guard."""
    values = {
        "transcript": transcript_block(exchanges),
        "measurements": measurements_block(measurements),
        "criteria": criteria_block(criteria, examples),
    }
    return [{"role": "user", "content": render(prompt, values)}]
