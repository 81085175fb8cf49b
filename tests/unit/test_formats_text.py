"""Plain text with speaker names becomes a transcript; what is none is refused rather than misread."""

from pathlib import Path

import pytest

from loopreview.formats.conversation import Record
from loopreview.formats.detect import read_transcripts
from loopreview.formats.reading import Skip


def read(tmp_path: Path, text: str | bytes, name: str = "chat.txt") -> Record | Skip:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (found,) = read_transcripts(path, max_message_chars=1_000)
    return found


def said(tmp_path: Path, text: str | bytes) -> list[tuple[str, str]]:
    found = read(tmp_path, text)
    assert isinstance(found, Record), found
    return [(message.role, message.text) for message in found.transcript.messages]


def test_turns_go_from_name_to_name_over_lines_and_empty_lines(tmp_path: Path) -> None:
    text = (
        "User: Hello,\nwhere is it?\n\nAssistant: On its way.\n\nIt arrives on Friday:\n- by noon\n\n\n"
        "User: Good.\n\nAssistant: Bye.\n"
    )
    assert said(tmp_path, text) == [
        ("user", "Hello,\nwhere is it?"),
        ("assistant", "On its way.\n\nIt arrives on Friday:\n- by noon"),
        ("user", "Good."),
        ("assistant", "Bye."),
    ]


def test_the_file_is_one_transcript_named_by_its_place(tmp_path: Path) -> None:
    found = read(tmp_path, "User: a\nAssistant: b")
    assert isinstance(found, Record) and found.transcript.source == "chat.txt#1"
    assert (found.line, found.notes) == (None, ())


def test_a_name_may_stand_on_a_line_of_its_own_bold_or_after_a_time(tmp_path: Path) -> None:
    for text in (
        "User:\na\n\nAssistant:\nb\n",
        "**User:** a\n\n**Assistant:** b",
        "**User**: a\n\n__Assistant__: b",
        "### User:\na\n\n### Assistant:\nb",
        "[10:02] User: a\n[10:03] Assistant: b",
        "\ufeffUSER: a\r\nAI Assistant: b\r\n",
        "User：a\nAssistant：b",
    ):
        assert said(tmp_path, text) == [("user", "a"), ("assistant", "b")], text


@pytest.mark.parametrize(
    ("user", "assistant"),
    [("Human", "AI"), ("Customer", "Agent"), ("Client", "Therapist"), ("Student", "Tutor"), ("user", "GPT")],
)
def test_known_names_say_who_speaks(tmp_path: Path, user: str, assistant: str) -> None:
    # Also where the assistant speaks first.
    text = f"{assistant}: welcome\n\n{user}: a\n\n{assistant}: b"
    assert said(tmp_path, text) == [("assistant", "welcome"), ("user", "a"), ("assistant", "b")]


def test_a_system_text_is_one_only_at_the_beginning(tmp_path: Path) -> None:
    text = "System: Be kind.\n\nUser: It fails.\nSystem: Windows\n\nAssistant: Restart."
    assert said(tmp_path, text) == [
        ("system", "Be kind."), ("user", "It fails.\nSystem: Windows"), ("assistant", "Restart.")
    ]  # fmt: skip


def test_other_words_with_a_colon_belong_to_what_is_said(tmp_path: Path) -> None:
    form = "Note: this\nhttps://example.org\nModel: X7\nClient: any"
    turns = said(tmp_path, f"User: a\n\nAssistant: Two things.\n\n{form}\n\nUser: ok\n\nAssistant: b")
    assert len(turns) == 4 and turns[1][1] == f"Two things.\n\n{form}"


def test_an_example_inside_a_turn_stays_in_it_and_that_is_said(tmp_path: Path) -> None:
    text = "User: Show me a dialogue.\n\nAssistant: Here:\nUser: Hi\nAssistant: Hello\n\nUser: Nice.\n\nAssistant: Yes."
    found = read(tmp_path, text)
    assert isinstance(found, Record)
    assert [m.text for m in found.transcript.messages][1] == "Here:\nUser: Hi\nAssistant: Hello"
    assert found.notes == ("lines inside a turn that begin with a speaker's name were read as its text (2)",)


def test_exchanges_kept_apart_by_empty_lines_are_read_turn_by_turn(tmp_path: Path) -> None:
    assert [role for role, _ in said(tmp_path, "User: a\nAssistant: b\n\nUser: c\nAssistant: d\n")] == [
        "user", "assistant", "user", "assistant"
    ]  # fmt: skip


def test_two_other_names_that_take_turns_are_taken_for_user_and_assistant_and_that_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, "Marta: a\n\nSam Lee: b\n\nMarta: c\n\nSam Lee: d")
    assert isinstance(found, Record)
    assert [m.role for m in found.transcript.messages] == ["user", "assistant"] * 2
    assert found.notes == ("`marta`, who speaks first, was taken for the user, and `sam lee` for the assistant",)


def test_one_unknown_name_beside_a_known_one_is_the_other_side(tmp_path: Path) -> None:
    found = read(tmp_path, "Marta: a\n\nAssistant: b\n\nMarta: c\n\nAssistant: d")
    assert isinstance(found, Record) and found.notes == ("`marta` was taken for the user",)
    assert [m.role for m in found.transcript.messages] == ["user", "assistant"] * 2


def test_a_title_before_the_first_speaker_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    found = read(tmp_path, "Chat of Monday\n\nUser: a\nAssistant: b")
    assert isinstance(found, Record) and found.transcript.messages[0].text == "a"
    assert found.notes == ("what stands before the first speaker was left out",)


@pytest.mark.parametrize(
    "text",
    [
        "Just prose, without any speaker.\n\nIt goes on: and on.\n",
        "From: a@example.org\nTo: b@example.org\nSubject: Parcel\n\nDear all,\nwhere is it?\n",
        "Note: this is important.\n\nWarning: that is too.\n",
        "name: demo\nversion: 3\nname: other\nlicense: none\n",
        "User: only one side\n\nUser: speaks here\n",
        "INFO: a\nINFO: b\nERROR: c\nINFO: d\n",
        "transcript,criterion,answer\n1-1,U1,YES\n",
        "prose\n" * 10 + "User: a\nAssistant: b\n",
    ],
)
def test_a_text_that_is_no_conversation_is_refused(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert isinstance(found, Skip) and "`User:` and `Assistant:`" in found.reason, found


def test_a_line_that_is_not_utf_8_skips_the_file_and_is_named(tmp_path: Path) -> None:
    found = read(tmp_path, b"User: a\n\nAssistant: " + "Grüße".encode("latin-1"))
    assert isinstance(found, Skip)
    assert (found.line, found.source) == (3, "chat.txt") and "not UTF-8" in found.reason


def test_utf_16_with_its_mark_is_read(tmp_path: Path) -> None:
    assert said(tmp_path, "User: Grüße\r\nAssistant: שלום 中文\r\n".encode("utf-16")) == [
        ("user", "Grüße"), ("assistant", "שלום 中文")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_is_said(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert isinstance(found, Skip) and found.reason == "the file is empty"


def test_control_characters_and_markup_are_kept_and_surrogates_replaced(tmp_path: Path) -> None:
    text = b"User: \x1b[31mred\x1b[0m [/foo] \x07\nAssistant: \xed\xa0\x80 ok"
    assert said(tmp_path, text) == [("user", "\x1b[31mred\x1b[0m [/foo] \x07"), ("assistant", "\ufffd ok")]


def test_a_turn_that_is_too_long_is_refused(tmp_path: Path) -> None:
    found = read(tmp_path, f"User: a\nAssistant: {'x' * 2_000}")
    assert isinstance(found, Skip) and "2,000 characters; max_message_chars is 1,000" in found.reason


def test_a_long_file_takes_time_in_proportion(tmp_path: Path) -> None:
    # Neither long lines of spaces and words nor many labels make it slow.
    for text in ("a " * 300_000, "[" * 300_000, ("x" * 39 + " ") * 10_000, "User: a\n" * 50_000):
        assert isinstance(read(tmp_path, text), Skip)
