"""Tokens of every prefix of a conversation: against encoding each prefix anew, and as conversations grow."""

import random
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from loopreview.tokens.conversation import Conversation
from loopreview.tokens.template import ChatMessage
from loopreview.tokens.tokenizer import ChatTokenizer

SIZES = (50, 200, 800)
CHARS = 4_500
"""Characters of an exchange: what the coaching conversations of this project's tests have on average."""
LOOKS_BACK = """\
{%- for message in messages[::-1] %}{%- endfor %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}"""
"""A template that reads the conversation from its end first, as Qwen3's does."""


def talk(exchanges: int, seed: int = 0) -> list[ChatMessage]:
    """A conversation of words that a tokenizer has to take apart, no two messages alike."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnoprstuvw", k=draw.randint(2, 9))) for _ in range(5_000)]
    messages = [{"role": "system", "content": "You listen, and ask one question at a time."}]
    for _ in range(exchanges):
        for role, share in (("user", 0.2), ("assistant", 0.8)):
            messages.append({"role": role, "content": " ".join(draw.choices(words, k=int(CHARS * share / 6.5)))})
    return messages


def seconds(run: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def main() -> list[dict[str, object]]:
    build = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "tiny_tokenizer.py"))["build"]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = ChatTokenizer.load(build(Path(folder) / "plain"))
        looks_back = ChatTokenizer.load(build(Path(folder) / "back", template=LOOKS_BACK))
    talks = {size: talk(size) for size in SIZES}

    def lengths(tokenizer: ChatTokenizer, size: int) -> list[int]:
        return Conversation(tokenizer, talks[size]).lengths(range(3, 2 * size + 2, 2))

    def anew(size: int) -> list[int]:
        ends = range(3, 2 * size + 2, 2)
        return [len(tokenizer.encode(tokenizer.template.render(talks[size][:end]))) for end in ends]

    began = time.perf_counter()
    expected = anew(200)
    theirs = time.perf_counter() - began
    assert lengths(tokenizer, 200) == lengths(looks_back, 200) == expected
    ours = seconds(lambda: lengths(tokenizer, 200))
    rows = [
        {
            "claim": "tokens of all prefixes of a 200-exchange transcript, against encoding each anew",
            "measured": f"{theirs / ours:.0f} times faster ({1000 * ours:.0f} ms)",
            "budget": "at least 20 times",
        }
    ]
    for what, chosen in (("", tokenizer), (", a template that looks back", looks_back)):
        small, large = (seconds(partial(lengths, chosen, size), times=5) for size in (SIZES[0], SIZES[-1]))
        growth = (large / SIZES[-1]) / (small / SIZES[0])
        rows.append(
            {
                "claim": f"time per exchange, 800 against 50 exchanges{what}",
                "measured": f"{growth:.2f} times ({1000 * large:.0f} ms for 800)",
                "budget": "linear within 30 %" if not what else "",
            }
        )
    return rows


if __name__ == "__main__":
    print(main())
