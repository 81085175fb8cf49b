"""What a reviewer says beside judgments: gaps, blame, examples, notes, bad and better replies; and ways to take the
text elsewhere."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from loopreview.models.errors import UserError
from loopreview.models.rubric import Example, Label
from loopreview.rules.safe_text import safe
from loopreview.store import batches, examples
from loopreview.tui.filters import FILTERS, TEXT
from loopreview.tui.review_desk import Hint
from loopreview.tui.screens.better import BetterReply
from loopreview.tui.screens.dialog import Dialog, Field, OneOf

if TYPE_CHECKING:
    from loopreview.tui.screens.review import Review

LABELS = ("PASS", "FAIL", "BORDERLINE_PASS", "BORDERLINE_FAIL")


def _exchange_here(screen: "Review") -> int | None:
    """The exchange of the quote or line in view."""
    sheet = screen.desk.sheet
    if sheet is None or not sheet.sections:
        return None
    return sheet.sections[screen.text.section_in_view].exchange or None


def _ask(screen: "Review", name: str, title: str, fields: list[Field], done: str, **fixed: object) -> None:
    """A dialog whose texts become one event of kind `name`, its first text being the note."""
    desk = screen.desk
    sheet = desk.sheet
    if sheet is None:
        return
    place = f"{name}/{sheet.id}/{desk.cursor}"

    def save(texts: dict[str, str]) -> str | None:
        note = texts.get("note", "").strip()
        if not note:
            return "write a few words first, or leave with esc"
        if not desk.remark(name, note=note, **fixed):  # type: ignore[arg-type]
            return desk.hint.text if desk.hint else "not saved"
        desk.hint = Hint(f"{done} · u takes it back")
        return None

    def keep(texts: dict[str, str]) -> None:
        _keep_draft(screen, place, texts)

    draft = {"note": desk.drafts[place]} if place in desk.drafts else None
    screen.app.push_screen(
        Dialog(title, fields, save=save, draft=draft, keep=keep), callback=lambda _: screen.repaint()
    )


def _keep_draft(screen: "Review", place: str, texts: dict[str, str]) -> None:
    if texts.get("note", "").strip():
        screen.desk.drafts[place] = texts["note"]
    else:
        screen.desk.drafts.pop(place, None)


def gap(screen: "Review") -> None:
    exchange = _exchange_here(screen)
    where = f" (exchange {exchange})" if exchange else ""
    data = {"exchange": exchange} if exchange else {}
    label = "What is wrong that no criterion asks about?"
    _ask(screen, "gap", f"Gap{where}", [Field("note", label)], "gap noted", data=data)


def note(screen: "Review") -> None:
    criterion = screen.desk.cursor
    _ask(screen, "note", f"Note on {criterion}", [Field("note", "Your note")], "note kept", criterion=criterion)


def blame(screen: "Review") -> None:
    desk = screen.desk
    if desk.sheet is None:
        return
    criterion = desk.cursor
    answers = {
        "a": ("assistant", "the assistant: its prompt or model"),
        "s": ("user_sim", "the simulated user: it asked for the impossible, or broke character"),
        "n": ("neither", "neither"),
    }

    def said(who: str | None) -> None:
        if who and desk.remark("blame", criterion=criterion, data={"blame": who}):
            named = {"user_sim": "the simulated user", "assistant": "the assistant"}.get(who, who)
            desk.hint = Hint(f"{criterion} is put down to {named} · u takes it back")
        screen.repaint()

    screen.app.push_screen(OneOf(f"Who made the fault in {criterion}?", answers), callback=said)


def example(screen: "Review") -> None:
    """The quote and its exchange become an example for the judges of this criterion."""
    desk = screen.desk
    sheet = desk.sheet
    if sheet is None or not desk.cursor:
        return
    criterion = desk.cursor
    stop = desk.stop
    exchange = stop.exchange if stop else _exchange_here(screen)
    user = next((s.raw for s in sheet.sections if s.exchange == exchange and s.role == "user"), "")
    reply = next((s.raw for s in sheet.sections if s.exchange == exchange and s.role == "assistant"), "")
    response = stop.quote if stop and stop.role == "assistant" else reply
    context = stop.quote if stop and stop.role == "user" else user
    answer = desk.mine(criterion) or desk.merged(criterion)
    place = f"example/{sheet.id}/{criterion}"

    def save(texts: dict[str, str]) -> str | None:
        try:
            made = Example(
                label=cast(Label, texts["label"]),
                context=texts["context"].strip(),
                response=texts["response"].strip(),
                reasoning=texts["note"].strip(),
                origin=sheet.id,
            )
            if not made.response:
                return "an example needs the reply that it is about"
            examples.add(screen.app.workspace.store, criterion, made, screen.app.reviewer)
        except UserError as error:
            return f"not saved: {error}"
        screen.app.workspace.refresh()
        desk.hint = Hint(f"example for {criterion} saved: judges of other transcripts see it when asked anew (1 a)")
        return None

    fields = [
        Field("label", "Label (left, right)", "FAIL" if answer == "NO" else "PASS", LABELS),
        Field("context", "What the user said", context[:2000], height=2),
        Field("response", "What the assistant said", response[:4000], height=3),
        Field("note", "Why: what should a judge learn from it?", height=2),
    ]
    draft = {"note": desk.drafts[place]} if place in desk.drafts else None
    title = f"Calibration example for {criterion} {sheet.criterion(criterion).name}"
    screen.app.push_screen(
        Dialog(title, fields, save=save, draft=draft, keep=lambda texts: _keep_draft(screen, place, texts)),
        callback=lambda _: screen.repaint(),
    )


def bad(screen: "Review") -> None:
    """Mark the reply in view as bad."""
    desk, exchange = screen.desk, _exchange_here(screen)
    if exchange is None:
        return
    if desk.remark("mark", data={"exchange": exchange}):
        desk.hint = Hint(f"reply {exchange} is marked bad: nothing learns from it · w writes a better one · u undoes")
    screen.repaint()


def better(screen: "Review") -> None:
    """Write a better reply for the exchange in view, or draw one from the assistant."""
    desk, exchange = screen.desk, _exchange_here(screen)
    sheet = desk.sheet
    if sheet is None or exchange is None:
        return
    number = sheet.section_of(exchange, "assistant")
    if number is None:
        return
    reply = sheet.sections[number].raw
    place = f"better/{sheet.id}/{exchange}"

    def save(texts: dict[str, str]) -> str | None:
        text = texts["note"].strip()
        if not text or text == reply.strip():
            return "change the reply first, or leave with esc"
        data: dict[str, object] = {"exchange": exchange, "better": text}
        if dialog.model and text == dialog.drawn.strip():
            data["drawn_from"] = dialog.model
        if not desk.remark("mark", data=data):
            return desk.hint.text if desk.hint else "not saved"
        desk.hint = Hint(f"a better reply for exchange {exchange} is kept · u takes it back")
        return None

    dialog = BetterReply(
        sheet.id,
        exchange,
        reply,
        save=save,
        draft={"note": desk.drafts[place]} if place in desk.drafts else None,
        keep=lambda texts: _keep_draft(screen, place, texts),
    )
    screen.app.push_screen(dialog, callback=lambda _: screen.repaint())


def editor(screen: "Review") -> None:
    """The transcript in the user's editor, to read and to search there."""
    sheet = screen.desk.sheet
    if sheet is not None:
        parts = [f"## {s.exchange or ''} {s.role}\n\n{s.raw}\n" for s in sheet.sections]
        screen.app.edit_text(f"# {sheet.title}\n\n" + "\n".join(parts))
        screen.repaint()


def copy(screen: "Review") -> None:
    """The lit quote, or else the part in view, to the clipboard of the terminal (OSC 52)."""
    desk = screen.desk
    sheet = desk.sheet
    if sheet is None or not sheet.sections:
        return
    stop = desk.stop
    if stop is not None and stop.span is not None:
        text, what = stop.quote, "the quote"
    else:
        section = sheet.sections[screen.text.section_in_view]
        text, what = section.text, f"what the {section.role} said in exchange {section.exchange}"
    screen.app.copy_to_clipboard(safe(text))
    desk.hint = Hint(f"copied {what}")
    screen.repaint()


def markdown(screen: "Review") -> None:
    from loopreview.tui.screens.markdown import MarkdownReply

    sheet = screen.desk.sheet
    if sheet is not None and sheet.sections:
        screen.app.push_screen(MarkdownReply(sheet.sections[screen.text.section_in_view]))


def choose_filter(screen: "Review") -> None:
    desk = screen.desk
    if desk.blind:
        desk.hint = Hint("blind: filters would tell what the judges said")
        screen.repaint()
        return
    keys = {
        "a": "all", "u": "unreviewed", "d": "disagreements", "p": "false positives", "n": "false negatives",
        "o": "open",
    }  # fmt: skip
    answers = {key: (name, f"{name}: {FILTERS[name]}") for key, name in keys.items()}
    if desk.cursor:
        answers["c"] = ("failing", f"failing: {desk.cursor} is NO")
    answers["t"] = (TEXT, "text: words in a message, in all batches")
    answers["b"] = ("batch", "another batch")
    answers["w"] = ("", "what waits for a decision")

    def chosen(name: str | None) -> None:
        if name == TEXT:
            _filter_by_text(screen)
        elif name == "batch":
            _other_batch(screen)
        elif name is not None:
            screen.set_filter(name)

    title = f"Which transcripts of batch {screen.books.batch}?" if screen.books.batch else "Which transcripts?"
    screen.app.push_screen(OneOf(title, answers), callback=chosen)


def _filter_by_text(screen: "Review") -> None:
    def save(texts: dict[str, str]) -> str | None:
        words = " ".join(texts["note"].split())
        if not words:
            return "write a word first, or leave with esc"
        if screen.set_filter(TEXT, words=words):
            return None
        return screen.desk.hint.text if screen.desk.hint else "nothing found"

    label = 'Words that stand in one message; "in quotes" together'
    field = Field("note", label, screen.books.filter_words, height=1)
    screen.app.push_screen(Dialog("Find transcripts by their words", [field], save=save))


def _other_batch(screen: "Review") -> None:
    def save(texts: dict[str, str]) -> str | None:
        try:
            batch = batches.get(screen.app.workspace.store, int(texts["note"].strip()))
        except ValueError:
            return "write the number of a batch, as Loop lists them"
        except UserError as error:
            return str(error)
        if screen.set_filter("", batch=batch.id):
            return None
        return f"batch {batch.id} has no transcript"

    screen.app.push_screen(Dialog("Review another batch", [Field("note", "Its number", height=1)], save=save))


def agreement(screen: "Review") -> None:
    if screen.desk.blind:
        screen.desk.hint = Hint("blind: agreement would tell how the judges answer")
        screen.repaint()
        return
    screen.app.action_agreement()


def edit(screen: "Review") -> None:
    """This criterion in the rubric; the way back leads to what the edit flipped."""
    from loopreview.tui.screens.rubric import edit_criterion

    if screen.desk.sheet is not None and screen.desk.cursor:
        edit_criterion(screen.app, screen.desk.cursor, back_to="review")


REMARKS: dict[str, Callable[["Review"], None]] = {
    "gap": gap,
    "blame": blame,
    "example": example,
    "note": note,
    "bad": bad,
    "better": better,
    "editor": editor,
    "copy": copy,
    "markdown": markdown,
    "choose_filter": choose_filter,
    "agreement": agreement,
    "edit": edit,
}
