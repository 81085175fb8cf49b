"""What differs, and the versions of a file to look at and to take from."""

from typing import TYPE_CHECKING

from loopreview.loop.rubric_versions import changes, rubric_versions, unified
from loopreview.models.errors import UserError
from loopreview.models.rubric import Rubric as RubricModel
from loopreview.store import versions
from loopreview.tui.counting import run_loopreview
from loopreview.tui.manuscripts import Title
from loopreview.tui.rubric_view import diff_lines
from loopreview.tui.screens.pages import Page, Version, Versions
from loopreview.tui.screens.rubric_trial import document
from loopreview.tui.shield import shield, unshield

if TYPE_CHECKING:
    from loopreview.tui.screens.rubric import Rubric


def show_difference(screen: "Rubric") -> None:
    """Against the disk where there is something unwritten, else against the text before the edit, else against the
    latest other version."""
    file = screen.file
    if file is None:
        return
    manuscript, text = file.manuscript, file.editor.text
    if file.theirs is not None:
        _show(screen, file.theirs, text, "on disk", "here, not written")
    elif not file.saved:
        _show(screen, manuscript.disk, text, "on disk", "here, not written")
    elif manuscript.settled != manuscript.disk:
        _show(screen, manuscript.settled, text, "before the edit", "now")
    else:
        known = [v for v in versions_of(screen, file.title) if v.text and shield(v.text) != text]
        if known:
            _show(screen, shield(known[0].text), text, f"version {known[0].hash[:8]}", "now")
        else:
            screen.say("nothing differs: no other version of this file was used")


def _show(screen: "Rubric", before: str, after: str, before_name: str, after_name: str) -> None:
    name = screen.titles[screen.number].name
    lines = unified(unshield(before), unshield(after), before_name, after_name)
    if not lines:
        screen.say("nothing differs")
        return
    title = f" {name}: {before_name} (-) and {after_name} (+)"
    screen.app.push_screen(Page(title, lambda width: diff_lines(lines, width)))


def show_versions(screen: "Rubric") -> None:
    """The versions of this file that were used; the rates come when they are counted."""
    file = screen.file
    if file is None:
        return
    title = file.title
    try:
        listed = Versions(f" {title.name}: versions that were used", versions_of(screen, title))
    except UserError as error:
        screen.say(str(error), "error")
        return

    def chosen(answer: tuple[str, Version] | None) -> None:
        if answer is None:
            return
        what, version = answer
        name = f"version {version.hash[:8]}"
        if what == "diff":
            _show(screen, shield(version.text), file.editor.text, name, "the text")
        else:
            file.replace(shield(version.text))
            screen.say(f"{name} is in the text, not written · w writes it · u takes it out again")

    screen.app.push_screen(listed, chosen)
    if title.kind in ("rubric", "prompt"):

        async def rates() -> None:
            await _rates(screen, listed, title)

        screen.run_worker(rates, exclusive=True, group="rates", exit_on_error=False)  # type: ignore[arg-type]


async def _rates(screen: "Rubric", listed: Versions, title: Title) -> None:
    root = str(screen.app.workspace.root)
    code, out, _ = await run_loopreview(["rubric", "history", "--json", "-w", root])
    found = document(out) if code == 0 else None
    rows = (found or {}).get("versions" if title.kind == "rubric" else "prompts", [])
    listed.rates = {"": ""}
    for row in rows:
        if title.kind == "rubric" or row["role"] == title.part:
            listed.rates[row["version"]] = f"{row['passed']} of {row['n']}" if row["n"] else "–"
    if listed.is_current:
        listed.show()


def versions_of(screen: "Rubric", title: Title) -> list[Version]:
    """The latest first; a rubric's say what they changed. Raises UserError."""
    workspace = screen.app.workspace
    store = workspace.store
    found: list[Version] = []
    if title.kind == "rubric":
        before = None
        for version in rubric_versions(workspace):
            now = version.hash == screen.trial.rubric_version
            found.append(Version(version.hash, version.at, now, _changed(before, version.rubric), version.text))
            before = version.rubric or before
        return found[::-1]
    kind, name = ("prompt", title.part) if title.kind == "prompt" else ("file", title.name)
    disk = screen.files[title.name].manuscript.disk
    for hash, part, at in versions.listed(store, kind):
        if part == name:
            text = versions.get(store, hash) or ""
            found.append(Version(hash, at, shield(text) == disk, "", text))
    return found[::-1]


def _changed(before: RubricModel | None, after: RubricModel | None) -> str:
    if after is None:
        return "cannot be read any more"
    found = [f"{change['criterion']} {change['change']}".strip() for change in changes(before, after)]
    return "; ".join(found) if found or before is not None else "the first"
