"""Every key, once: what it does, in which group help shows it, and the id under which a user may move it.

Nothing needs ctrl+s, ctrl+b, ctrl+enter or alt: SSH, tmux and flow control would eat them.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from textual.binding import Binding, BindingType

_NAMES = {
    "question_mark": "?", "slash": "/", "colon": ":", "right_square_bracket": "]", "left_square_bracket": "[",
    "greater_than_sign": ">", "less_than_sign": "<", "pagedown": "PgDn", "pageup": "PgUp", "escape": "esc",
}  # fmt: skip


class Key(NamedTuple):
    id: str
    keys: str
    action: str
    does: str
    """What it does, as a command: shown in help and in the palette."""
    group: str


APP = (
    Key("app.loop", "1", "app.switch_mode('loop')", "Go to Loop: batches, advice, the running job", "Everywhere"),
    Key("app.review", "2", "app.switch_mode('review')", "Go to Review", "Everywhere"),
    Key("app.rubric", "3", "app.switch_mode('rubric')", "Go to Rubric and prompts", "Everywhere"),
    Key("app.data", "4", "app.switch_mode('data')", "Go to Data: audit, examples, export", "Everywhere"),
    Key("app.train", "5", "app.switch_mode('train')", "Go to Train: plan, running job, runs", "Everywhere"),
    Key("app.help", "question_mark", "app.help", "Show all keys", "Everywhere"),
    Key("app.palette", "colon,ctrl+p", "app.command_palette", "Find a command by name", "Everywhere"),
    Key("app.theme", "ctrl+t", "app.change_theme", "Choose a theme", "Everywhere"),
    Key("app.quit", "ctrl+q", "app.quit", "Leave loopreview", "Everywhere"),
)

LOOP = (
    Key("loop.make", "g", "make", "Make the next five transcripts: shows calls and cost first", "Loop"),
    Key("loop.judge", "a", "judge", "Judge what is not judged yet: shows calls and cost first", "Loop"),
    Key("loop.go", "enter", "go", "Review the chosen batch, or start what was asked about", "Loop"),
    Key("loop.down", "j,down", "choose(1)", "Next batch", "Loop"),
    Key("loop.up", "k,up", "choose(-1)", "Batch before", "Loop"),
    Key("loop.content", "c", "content(True)", "I am content with the chosen batch", "Loop"),
    Key("loop.not_content", "C", "content(False)", "I am not content with the chosen batch", "Loop"),
    Key("loop.stop", "x", "stop", "Stop the running job; what it stored stays", "Loop"),
    Key("loop.undo", "u", "undo", "Take back my last act", "Loop"),
    Key("loop.why", "w", "why", "Show what lies behind the advice: rules, judges, criteria, flags", "Loop"),
    Key("loop.agreement", "i", "app.agreement", "Show how far judges and people agree, by criterion", "Loop"),
    Key("loop.leave", "escape", "leave", "Leave the question unanswered", "Loop"),
    Key("loop.quit", "q", "app.quit", "Leave loopreview", "Loop"),
)

REVIEW = (
    Key("review.yes", "y", "say('YES')", "I say YES", "Judging"),
    Key("review.no", "n", "say('NO')", "I say NO", "Judging"),
    Key("review.na", "x", "say('NA')", "I say NA: the question does not apply", "Judging"),
    Key("review.agree", "enter", "agree", "I agree with the judges; on an answered row move on", "Judging"),
    Key("review.approve", "A", "decide('approve')", "Approve the transcript and open the next", "Judging"),
    Key("review.reject", "R", "decide('reject')", "Reject the transcript and open the next", "Judging"),
    Key("review.explain", "a,r", "explain", "Say what A and R do", "Judging"),
    Key("review.undo", "u", "undo", "Take back my last act", "Judging"),
    Key("review.redo", "U,ctrl+r", "redo", "Bring back what I took back", "Judging"),
    Key("review.next", "j,down", "move(1)", "Next criterion", "Moving"),
    Key("review.previous", "k,up", "move(-1)", "Criterion before", "Moving"),
    Key("review.next_transcript", "l,right", "transcript(1)", "Next transcript", "Moving"),
    Key("review.previous_transcript", "h,left", "transcript(-1)", "Transcript before", "Moving"),
    Key("review.next_quote", "tab,right_square_bracket", "quote(1)", "Next quote, or next match", "Moving"),
    Key("review.previous_quote", "shift+tab,left_square_bracket", "quote(-1)", "Quote or match before", "Moving"),
    Key("read.on", "space,pagedown,ctrl+d", "read(1)", "Read on", "Reading"),
    Key("read.back", "pageup,ctrl+u,backspace", "read(-1)", "Read back", "Reading"),
    Key("read.next", "J", "exchange(1)", "Next exchange", "Reading"),
    Key("read.previous", "K", "exchange(-1)", "Exchange before", "Reading"),
    Key("read.top", "g", "top", "g g: to the beginning", "Reading"),
    Key("read.end", "G", "end", "To the end", "Reading"),
    Key("review.search", "slash", "search", "Search the transcript; tab goes through the matches", "Reading"),
    Key("review.leave", "escape", "leave", "Leave the search, then the filter", "Reading"),
    Key("review.view", "z", "view", "Show card, why, list, text in turn", "Reading"),
    Key("review.why_down", "greater_than_sign", "scroll_why(1)", "Scroll what the judges say", "Reading"),
    Key("review.why_up", "less_than_sign", "scroll_why(-1)", "Scroll it back", "Reading"),
    Key("review.gap", "f", "remark('gap')", "Gap: a fault that no criterion asks about", "Remarks"),
    Key("review.blame", "b", "remark('blame')", "Blame: who made this fault", "Remarks"),
    Key(
        "review.example", "c", "remark('example')", "Calibration example for this criterion, from the quote", "Remarks"
    ),
    Key("review.note", "m", "remark('note')", "Note on this criterion", "Remarks"),
    Key("review.edit", "e", "remark('edit')", "Edit this criterion, and come back to what flipped", "Remarks"),
    Key("review.bad", "d", "remark('bad')", "This reply is bad: never to be learnt from", "Remarks"),
    Key("review.better", "w", "remark('better')", "Write a better reply, or draw one from the assistant", "Remarks"),
    Key("review.filter", "F", "remark('choose_filter')", "Filter: which transcripts are gone through", "Moving"),
    Key("review.agreement", "i", "remark('agreement')", "How far judges and people agree, by criterion", "Other"),
    Key("review.blind", "B", "blind", "Blind: hide what the judges say, or show it again", "Other"),
    Key("review.editor", "o", "remark('editor')", "Open the transcript in your editor, to read", "Other"),
    Key("review.copy", "Y", "remark('copy')", "Copy the quote, or the reply in view", "Other"),
    Key("review.markdown", "v", "remark('markdown')", "Show the reply in view as Markdown", "Other"),
    Key("review.loop", "q", "app.switch_mode('loop')", "Back to Loop", "Other"),
)

RUBRIC = (
    Key("rubric.edit", "enter", "edit", "Edit the text; esc leaves it", "Text"),
    Key("rubric.write", "w", "write", "Write the file as it was typed; refused while it has problems", "Text"),
    Key("rubric.undo", "u", "undo", "Take back the last change of the text", "Text"),
    Key("rubric.redo", "U,ctrl+r", "redo", "Bring back what I took back", "Text"),
    Key("rubric.editor", "o", "editor", "Edit the text in your own editor", "Text"),
    Key("rubric.take_disk", "D", "take_disk", "Where the file was changed on disk too: take the disk's text", "Text"),
    Key("rubric.keep_mine", "M", "keep_mine", "Where the file was changed on disk too: keep my text", "Text"),
    Key("rubric.problem", "right_square_bracket", "problem(1)", "Next problem", "Moving"),
    Key("rubric.problem_before", "left_square_bracket", "problem(-1)", "Problem before", "Moving"),
    Key("rubric.next_file", "l,right", "file(1)", "Next file: rubric, prompts, taxonomy, personas, settings", "Moving"),
    Key("rubric.previous_file", "h,left", "file(-1)", "File before", "Moving"),
    Key("rubric.down", "j,down", "line(1)", "Line down", "Moving"),
    Key("rubric.up", "k,up", "line(-1)", "Line up", "Moving"),
    Key("rubric.on", "space,pagedown,ctrl+d", "page(1)", "Read on", "Moving"),
    Key("rubric.before", "pageup,ctrl+u,backspace", "page(-1)", "Read back", "Moving"),
    Key("rubric.next_criterion", "J", "criterion(1)", "Next criterion", "Moving"),
    Key("rubric.previous_criterion", "K", "criterion(-1)", "Criterion before", "Moving"),
    Key("rubric.top", "g", "end(False)", "To the beginning", "Moving"),
    Key("rubric.end", "G", "end(True)", "To the end", "Moving"),
    Key("rubric.diff", "d", "diff", "Show what changed: unwritten, by the edit, or since the last version", "Testing"),
    Key("rubric.versions", "v", "versions", "Versions of this file, and what passed under them", "Testing"),
    Key("rubric.test", "t", "test(False)", "Test the criterion on the labels: shows calls and cost first", "Testing"),
    Key("rubric.retest", "T", "test(True)", "Ask the judges the same once more, to see how steady they are", "Testing"),
    Key("rubric.ask", "a", "ask", "Ask the judges, once calls and cost were shown", "Testing"),
    Key("rubric.keep", "y", "keep", "Keep the edit that was tried", "Testing"),
    Key("rubric.go_back", "b", "go_back", "Go back to the text before the edit; its verdicts count again", "Testing"),
    Key("rubric.stop", "x", "stop", "Stop asking; what was answered stays", "Testing"),
    Key("rubric.leave", "escape", "leave", "Leave the question, then the table", "Testing"),
    Key("rubric.back", "q", "back", "Back to Review, at what flipped", "Testing"),
)  # fmt: skip

DATA = (
    Key("data.go", "enter", "go", "Read the chosen example; start what was asked about", "Data"),
    Key("data.export", "e", "export", "Export: shows the command first", "Data"),
    Key("data.what", "t", "what", "Choose tokenizer, kind, format, and what is supervised", "Data"),
    Key("data.copy", "Y", "copy", "Copy the export command", "Data"),
    Key("data.stop", "x", "stop", "Stop the export; nothing of it is left", "Data"),
    Key("data.scope", "s", "scope", "Audit all, the approved, the newest batch in turn", "Data"),
    Key("data.batch_before", "b", "batch(-1)", "Audit the batch before", "Data"),
    Key("data.batch_after", "B", "batch(1)", "Audit the batch after", "Data"),
    Key("data.look", "r", "look", "Look again", "Data"),
    Key("data.next_page", "l,right", "page(1)", "Next page: dataset, audit, examples, left out, coverage", "Moving"),
    Key("data.page_before", "h,left", "page(-1)", "Page before", "Moving"),
    Key("data.down", "j,down", "move(1)", "Line down, or next example", "Moving"),
    Key("data.up", "k,up", "move(-1)", "Line up, or example before", "Moving"),
    Key("data.on", "space,pagedown,ctrl+d", "read(1)", "Read on", "Moving"),
    Key("data.before", "pageup,ctrl+u,backspace", "read(-1)", "Read back", "Moving"),
    Key("data.next_example", "J", "example(1)", "Next example", "Moving"),
    Key("data.example_before", "K", "example(-1)", "Example before", "Moving"),
    Key("data.supervised", "tab,right_square_bracket", "supervised(1)", "Next part that is supervised", "Moving"),
    Key("data.supervised_before", "shift+tab,left_square_bracket", "supervised(-1)", "Part before", "Moving"),
    Key("data.top", "g", "end(False)", "To the beginning", "Moving"),
    Key("data.end", "G", "end(True)", "To the end", "Moving"),
    Key("data.leave", "escape", "leave", "Leave the question, then the example", "Data"),
    Key("data.loop", "q", "app.switch_mode('loop')", "Back to Loop", "Data"),
)  # fmt: skip

TRAIN = (
    Key("train.go", "enter", "go", "Start: shows the command first; on page runs, look at the chosen run", "Train"),
    Key("train.what", "t", "what", "Choose base model, dataset, backend, adapter, epochs, any other value", "Train"),
    Key("train.answer", "a", "answer", "Answer the five questions before training", "Train"),
    Key("train.stop", "x", "stop", "Stop a run: asks whether to save a checkpoint", "Train"),
    Key("train.resume", "R", "resume", "Go on with the chosen run, cancelled or failed", "Train"),
    Key("train.copy", "Y", "copy", "Copy the command that does the same", "Train"),
    Key("train.look", "r", "look", "Look at the machine again, and plan again", "Train"),
    Key("train.next_page", "l,right,tab", "page(1)", "Next page: plan, run, runs", "Moving"),
    Key("train.page_before", "h,left,shift+tab", "page(-1)", "Page before", "Moving"),
    Key("train.down", "j,down", "move(1)", "Line down, or the run before", "Moving"),
    Key("train.up", "k,up", "move(-1)", "Line up, or the next run", "Moving"),
    Key("train.mark", "space", "mark", "On page runs: mark a run for comparing; else read on", "Moving"),
    Key("train.on", "pagedown,ctrl+d", "read(1)", "Read on", "Moving"),
    Key("train.before", "pageup,ctrl+u,backspace", "read(-1)", "Read back", "Moving"),
    Key("train.top", "g", "end(False)", "To the beginning", "Moving"),
    Key("train.end", "G", "end(True)", "To the end", "Moving"),
    Key("train.leave", "escape", "leave", "Leave the question unanswered", "Train"),
    Key("train.loop", "q", "app.switch_mode('loop')", "Back to Loop", "Train"),
)  # fmt: skip

LOOP_FOOTER = (
    ("loop.go", "review"), ("loop.make", "make five"), ("loop.judge", "judge"), ("loop.content", "content"),
    ("loop.why", "why"), ("loop.agreement", "agreement"), ("loop.stop", "stop"), ("app.help", "all keys"),
)  # fmt: skip
REVIEW_FOOTER = (
    ("review.yes review.no review.na", "say"), ("review.agree", "agree"), ("review.next_quote", "quote"),
    ("read.on", "read"), ("review.approve review.reject", "decide"), ("review.undo", "undo"), ("app.help", "all"),
)  # fmt: skip
RUBRIC_FOOTER: tuple[tuple[str, str], ...] = (
    ("rubric.edit", "edit"), ("rubric.write", "write"), ("rubric.problem", "problem"), ("rubric.diff", "diff"),
    ("rubric.versions", "versions"), ("rubric.test", "test"), ("rubric.next_file", "next file"), ("app.help", "all"),
)  # fmt: skip
RUBRIC_TEST_FOOTER: tuple[tuple[str, str], ...] = (
    ("rubric.ask", "ask"), ("rubric.retest", "ask twice"), ("rubric.stop", "stop"), ("rubric.leave", "close"),
    ("rubric.back", "review"), ("app.help", "all"),
)  # fmt: skip
RUBRIC_TRIAL_FOOTER: tuple[tuple[str, str], ...] = (
    ("rubric.ask", "ask"), ("rubric.keep", "keep"), ("rubric.go_back", "go back"), ("rubric.diff", "diff"),
    ("rubric.retest", "ask twice"), ("rubric.stop", "stop"), ("rubric.back", "review"), ("app.help", "all"),
)  # fmt: skip

DATA_FOOTER = (
    ("data.export", "export"), ("data.what", "tokenizer"), ("data.next_page", "page"), ("data.scope", "scope"),
    ("data.go", "example"), ("data.copy", "copy command"), ("data.look", "again"), ("app.help", "all keys"),
)  # fmt: skip
DATA_READ_FOOTER = (
    ("data.on", "read on"), ("data.supervised", "lit part"), ("data.next_example data.example_before", "example"),
    ("data.leave", "list"), ("data.export", "export"), ("app.help", "all keys"),
)  # fmt: skip

TRAIN_FOOTER = (
    ("train.go", "start"), ("train.what", "settings"), ("train.answer", "questions"), ("train.next_page", "page"),
    ("train.copy", "copy command"), ("train.look", "again"), ("app.help", "all keys"),
)  # fmt: skip
TRAIN_RUN_FOOTER = (
    ("train.stop", "stop"), ("train.resume", "go on"), ("train.down train.up", "run"), ("train.next_page", "page"),
    ("train.copy", "copy command"), ("app.help", "all keys"),
)  # fmt: skip
TRAIN_RUNS_FOOTER = (
    ("train.down train.up", "run"), ("train.mark", "mark"), ("train.go", "look"), ("train.resume", "go on"),
    ("train.stop", "stop"), ("train.next_page", "page"), ("app.help", "all keys"),
)  # fmt: skip


def bindings(keys: Iterable[Key]) -> list[BindingType]:
    return [Binding(key.keys, key.action, key.does, show=False, id=key.id) for key in keys]


def key_names(keys: str, *, limit: int = 9) -> str:
    """`question_mark,ctrl+p` as `? ctrl+p`."""
    return " ".join(_NAMES.get(key.strip(), key.strip()) for key in keys.split(",")[:limit])


def footer(words: Iterable[tuple[str, str]], keymap: Mapping[str, str], width: int) -> str:
    """`y n x say · enter agree · …` from (ids, word), with the keys the user gave them, as far as there is room. The
    last, which leads to all others, is always there."""
    known = {key.id: key.keys for key in (*APP, *LOOP, *REVIEW, *RUBRIC, *DATA, *TRAIN)}
    parts = []
    for ids, word in words:
        names = [key_names(keymap.get(id, known[id]), limit=1) for id in ids.split()]
        parts.append(f"{' '.join(names)} {word}")
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        del parts[-2]
    return " · ".join(parts)


def read_keymap(path: Path) -> tuple[dict[str, str], list[str]]:
    """`[keys]` of the user's configuration, and what is wrong with it, a line each. `"review.yes" = "y"`."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get("keys", {})
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        return {}, [f"{path}: cannot be read ({error}); keys stay as they are"]
    known = {key.id for key in (*APP, *LOOP, *REVIEW, *RUBRIC, *DATA, *TRAIN)}
    keymap, problems = {}, []
    for id, keys in found.items() if isinstance(found, dict) else ():
        if id not in known or not isinstance(keys, str):
            problems.append(f"{path}: [keys] {id} is no key of this program; `?` lists them all")
        else:
            keymap[id] = keys
    return keymap, problems
