"""The files that are edited in the terminal program: kept to the byte, checked by line, merged line by line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.document._document import Document

from loopreview.models.errors import UserError
from loopreview.tui import line_merge
from loopreview.tui.line_merge import Change, changes, merge, replacement
from loopreview.tui.manuscripts import Manuscript, Title, outline, problems_of, titles, words_of
from loopreview.tui.shield import picture, shield, unshield
from loopreview.workspace import Workspace, init

RUBRIC = Title("rubric", "rubrics/rubric.yaml", "", "yaml")
ODD = "a\x1b[31mb\u2028c\u202ed\x85e\u200bf\x0cg\U000f0003h\tä漢\U0001f600\n"
lines = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=8)


@given(st.text())
def test_a_shielded_text_comes_back_as_it_was(text: str) -> None:
    shielded = shield(text)
    assert unshield(shielded) == text
    assert Document(shielded).text == shielded, "no character but a line feed ends a line"
    assert shield(shielded, typed=True) == shielded


def test_what_a_terminal_would_obey_or_hide_is_a_picture_of_one_cell() -> None:
    shown = picture(shield(ODD))
    assert shown == "a␛[31mb▯c▯d▯e▯f␌g▯h\tä漢\U0001f600\n"
    assert all(cell_len(c) == 1 for c in picture(shield("\x1b\x07\x9b\u202e\u200b\ufeff\ud800")))


@given(lines, lines)
def test_changes_turn_one_text_into_the_other(before: list[str], after: list[str]) -> None:
    assert line_merge.apply(before, changes(before, after)) == after


@given(lines, lines)
def test_what_others_changed_is_taken_in_where_nothing_was_changed_here(base: list[str], theirs: list[str]) -> None:
    found = merge(base, base, theirs)
    assert found is not None and line_merge.apply(base, found) == theirs


@given(lines, lines)
def test_the_same_change_on_both_sides_is_no_conflict(base: list[str], theirs: list[str]) -> None:
    assert merge(base, theirs, theirs) == []


@given(lines.filter(bool), lines.filter(bool))
def test_changes_are_made_in_a_text_as_in_a_list(before: list[str], after: list[str]) -> None:
    document = Document("\n".join(before))
    for change in reversed(changes(before, after)):
        text, start, end = replacement(document.lines, change)
        document.replace_range(start, end, text)
    assert document.text == "\n".join(after)


def test_changes_in_different_places_both_stand() -> None:
    base = ["a", "b", "c", "d", "e", "f"]
    mine = ["a", "B", "b2", "c", "d", "e", "f"]
    theirs = ["a", "b", "c", "d", "E"]
    found = merge(base, mine, theirs)
    assert found is not None and line_merge.apply(mine, found) == ["a", "B", "b2", "c", "d", "E"]


@pytest.mark.parametrize("theirs", [["a", "X", "c"], ["a", "c"], ["a", "b", "new", "c"]])
def test_changes_of_the_same_or_the_next_line_conflict(theirs: list[str]) -> None:
    assert merge(["a", "b", "c"], ["a", "mine", "c"], theirs) is None


def test_a_change_says_which_lines() -> None:
    assert changes(["a", "b"], ["a", "x", "y"]) == [Change(1, 2, ("x", "y"))]


@pytest.mark.parametrize(
    "content",
    [
        b"name: x\n", b"name: x", b"name: x\r\nb: 1\r\n", b"a\r\nb\nc\r", b"\xef\xbb\xbfname: x\n", b"", b"\n\n",
        ODD.encode(), b"a: 'b  '   # kept  \n",
    ],
    ids=["lf", "no end", "crlf", "mixed ends", "byte order mark", "empty", "blank", "odd characters", "spaces"],
)  # fmt: skip
def test_a_file_is_written_as_it_was_typed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubrics" / "rubric.yaml"
    path.parent.mkdir()
    path.write_bytes(content)
    manuscript = Manuscript(tmp_path, RUBRIC)
    text = manuscript.open()
    manuscript.write(text)
    assert path.read_bytes() == content
    manuscript.write("# first\n" + text)
    newline = b"\r\n" if content.startswith(b"name: x\r\n") else b"\n"
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    assert path.read_bytes() == mark + b"# first" + newline + content.removeprefix(mark)


def test_mode_and_link_of_a_file_stay(tmp_path: Path) -> None:
    (tmp_path / "rubrics").mkdir()
    target = tmp_path / "shared.yaml"
    target.write_text("a: 1\n", encoding="utf-8")
    target.chmod(0o640)
    (tmp_path / "rubrics" / "rubric.yaml").symlink_to(target)
    manuscript = Manuscript(tmp_path, RUBRIC)
    manuscript.write(manuscript.open() + "b: 2\n")
    assert (tmp_path / "rubrics" / "rubric.yaml").is_symlink()
    assert target.read_text(encoding="utf-8") == "a: 1\nb: 2\n" and target.stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_written_is_said_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "rubrics" / "rubric.yaml"
    path.parent.mkdir()
    path.write_text("a: 1\n", encoding="utf-8")
    manuscript = Manuscript(tmp_path, RUBRIC)
    text = manuscript.open()
    (path.parent / ".rubric.yaml.part").mkdir()
    with pytest.raises(UserError, match=r"rubrics/rubric\.yaml: not written"):
        manuscript.write(text + "b: 2\n")
    assert path.read_text(encoding="utf-8") == "a: 1\n" and manuscript.disk == text


def test_only_what_others_changed_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "rubrics" / "rubric.yaml"
    path.parent.mkdir()
    path.write_text("a: 1\n", encoding="utf-8")
    manuscript = Manuscript(tmp_path, RUBRIC)
    manuscript.write(manuscript.open() + "b: 2\n")
    assert manuscript.look() is None
    path.write_text("a: 1\nb: 2\nc: 3\n", encoding="utf-8")
    assert manuscript.look() == "a: 1\nb: 2\nc: 3\n"
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        manuscript.look()


def test_a_draft_comes_back_until_the_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "rubrics" / "rubric.yaml"
    path.parent.mkdir()
    path.write_text("a: 1\n", encoding="utf-8")
    manuscript = Manuscript(tmp_path, RUBRIC)
    manuscript.open()
    draft = shield(ODD)
    manuscript.keep_draft(draft)
    again = Manuscript(tmp_path, RUBRIC)
    assert again.open() == draft and again.disk == "a: 1\n"
    path.write_text("a: 2\n", encoding="utf-8")
    assert Manuscript(tmp_path, RUBRIC).open() == "a: 2\n"
    path.write_text("a: 1\n", encoding="utf-8")
    again.write(draft)
    assert Manuscript(tmp_path, RUBRIC).open() == draft and not list((tmp_path / ".jobs" / "drafts").iterdir())


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        Manuscript(tmp_path, Title("taxonomy", "taxonomy.yaml", "", "yaml")).open()


def test_every_file_of_a_starter_is_valid(tmp_path: Path) -> None:
    root = init(tmp_path / "w")
    with Workspace.open(root) as workspace:
        for title in titles(workspace):
            manuscript = Manuscript(root, title)
            assert manuscript.problems(manuscript.open()) == [], title.name


@pytest.mark.parametrize(
    ("title", "text", "line", "says"),
    [
        (RUBRIC, "name: x\ncategories: {a: {weight: 1}}\ncriteria:\n  - id: M1\n    name: A\n    category: a\n"
                 "    questoin: Is it?\n", 7, "line 7: unknown key `questoin` in M1; did you mean `question`?"),
        (RUBRIC, "name: x\ncategories:\n  a: {weight: 1}\n b: 1\ncriteria: []\n", 4, "noticed at line 4: "),
        (Title("prompt", "prompts/user_sim.md", "user_sim", "markdown"), "Hi\n{{persona}} {{topcs}}\n", 2,
         "line 2: unknown name {{topcs}}; did you mean topics?"),
        (Title("prompt", "prompts/system.md", "system", "markdown"), "  \n", 1, "line 1: the prompt is empty"),
        (Title("settings", "loopreview.toml", "", ""), "retries = 1\n[judges.a\n", 2, "line 2: "),
        (Title("settings", "loopreview.toml", "", ""), "retries = 1\nretires = 2\n", 2, "did you mean `retries`?"),
        (Title("taxonomy", "taxonomy.yaml", "", "yaml"), "topics: 3\n", 1, "line 1: "),
        (Title("personas", "personas.yaml", "", "yaml"), "", 1, "the file is empty"),
    ],
)  # fmt: skip
def test_a_problem_has_its_line_in_every_file(title: Title, text: str, line: int, says: str) -> None:
    problem = problems_of(title, text)[0]
    assert problem.line == line and says in words_of(problem)
    assert title.name not in problem.message


def test_the_outline_of_a_rubric_survives_a_fault() -> None:
    text = "name: x\ncriteria:\n  - id: A1\n    name: a\n  - {id: B2, name: b}\n  - name: c\n    id: C3\n"
    assert outline(text) == [(3, "A1"), (5, "B2"), (6, "C3")]
    assert outline(text + "  bad: [\n") == [(3, "A1"), (5, "B2")]
