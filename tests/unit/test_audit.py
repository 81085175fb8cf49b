"""What an audit keeps of a transcript and what a set says: the same however the set is divided."""

import sys
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopreview import audit
from loopreview.models.errors import UserError
from loopreview.models.transcript import Message, Transcript
from loopreview.rules.audit import Collected, digest
from loopreview.rules.audit_report import compared, report
from loopreview.rules.diversity import distinct, growth
from loopreview.rules.phrases import words_of
from loopreview.rules.strays import foreign_letters, language
from loopreview.rules.structure import built, sameness
from loopreview.rules.tone import ends_positively, praises

Exchange = tuple[str, str]
numbers = count(1)
USER = "My order is late and nobody answers me, what can I do about it now?"


def transcript(
    *exchanges: Exchange, number: int = 0, batch: int = 1, target: int | None = None, system: str = ""
) -> Transcript:
    number = number or next(numbers)
    messages = [Message(role="system", text=system)] if system else []
    for user, assistant in exchanges:
        messages += [Message(role="user", text=user), Message(role="assistant", text=assistant)]
    return Transcript(
        id=f"{batch}-{number}",
        batch=batch,
        number=number,
        origin="imported",
        target_exchanges=target,
        messages=messages,
    )


def english(_: str) -> tuple[str, float]:
    return "en", 1.0


def collected(*transcripts: Transcript, detect=english) -> Collected:
    found = Collected()
    for one in transcripts:
        found.add(digest(one, detect))
    return found


def audited(*transcripts: Transcript, detect=english) -> dict:
    return report(collected(*transcripts, detect=detect))


# --- parts put together ---------------------------------------------------------------------------------------------

sentences = st.sampled_from(
    [
        "I hear you, and that sounds hard.", "What would help you right now?", "That's great, well done!", "", "ok",
        "**Next:** call them\n\n- one\n- two", "Write to jane@firm.de or 4111 1111 1111 1111.", "Das klingt schwer.",
        "听起来真的很难。你愿意多说一点吗？", "It is about 我 and nothing else.", "You've got this. Take care!",
    ]
)  # fmt: skip
texts = st.lists(sentences, max_size=3).map(" ".join)
conversations = st.lists(st.lists(st.tuples(texts, texts), max_size=4), max_size=8)


def rough(text: str) -> tuple[str, float]:
    """A detector that is quick and gives several languages."""
    return ("zh" if "的" in text else "de" if "Das" in text else "en"), 1.0


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(conversations, st.data())
def test_any_division_put_together_in_any_order_says_what_one_run_says(exchanges, data):
    made = [transcript(*said, number=number, target=3) for number, said in enumerate(exchanges, 1)]
    once = audited(*made, detect=rough)
    shards = data.draw(st.integers(1, 4))
    place = data.draw(st.lists(st.integers(0, shards - 1), min_size=len(made), max_size=len(made)))
    parts = [Collected() for _ in range(shards)]
    for one, shard in data.draw(st.permutations(list(zip(made, place, strict=True)))):
        parts[shard].add(digest(one, rough))
    merged = Collected()
    for part in data.draw(st.permutations(parts)):
        merged.merge(part)
    assert report(merged) == once


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None
)
@given(conversations)
def test_a_part_read_back_from_its_file_is_the_part_that_was_written(tmp_path, exchanges):
    made = collected(*(transcript(*said, number=n) for n, said in enumerate(exchanges, 1)), detect=rough)
    audit.write_part(made, tmp_path / "part", name="all")
    assert list(audit.read_part(tmp_path / "part")) == list(made.whole())


def test_a_transcript_that_is_in_two_parts_is_refused():
    one = collected(transcript((USER, "Hello."), number=7))
    with pytest.raises(UserError, match="1-7 is in two parts"):
        one.merge(collected(transcript((USER, "Hello."), number=7)))


# --- the measures ---------------------------------------------------------------------------------------------------


def test_phrases_have_share_level_and_places():
    said = [transcript((USER, f"It sounds like number{n} is on your mind"), number=n) for n in range(1, 4)]
    other = [transcript((USER, f"word{n}"), number=n) for n in range(4, 6)]
    row, *_ = audited(*said, *other)["phrases"]
    assert (row["phrase"], row["share"], row["level"], row["replies"]) == ("is on your mind", 0.6, "critical", 3)
    assert row["examples"] == [{"transcript": f"1-{n}", "exchange": 1} for n in (1, 2, 3)]


def test_the_gate_says_no_to_a_phrase_in_more_than_half_and_yes_to_one_in_exactly_half():
    half = [transcript((USER, f"so it goes {n}a{n} b{n}")) for n in range(2)]
    rest = [transcript((USER, f"c{n} d{n}")) for n in range(2)]
    assert audited(*half, *rest)["gate"]["passed"] is True
    refused = audited(*half, rest[0])["gate"]
    assert refused["passed"] is False and "so it goes" in refused["why"]


def test_only_replies_count_for_phrases():
    found = audited(*(transcript(("so it goes with me", f"a{n}"), system="so it goes with me") for n in range(3)))
    assert found["phrases"] == []


def test_the_mean_is_over_exchanges_and_an_empty_user_text_has_no_ratio():
    found = audited(
        transcript(("one two", "one two three four five six"), ("one two three four", "one two")),
        transcript(("", "a b c")),
    )["length_ratio"]
    assert found["mean"] == pytest.approx((3 + 0.5) / 2)
    assert found["share_above_2"] == 0.5
    assert found["exchanges"] == 2
    assert found["examples"][0]["ratio"] == 3


def test_exactly_twice_the_users_words_is_not_above():
    assert audited(transcript(("one two", "one two three four")))["length_ratio"]["share_above_2"] == 0


def test_chinese_is_measured_by_characters():
    assert audited(transcript(("我很累", "我明白你很累")), detect=rough)["length_ratio"]["mean"] == 2


def test_headers_and_list_items_are_counted():
    reply = "## Your day\n\n**Work:** it is hard.\n\n- rest\n* eat\n1. sleep\n\nSome **bold** words, 3 * 4.\n"
    assert built(reply) == (("your day", "work"), 3)


@pytest.mark.parametrize(
    ("counts", "rigid"),
    [([4, 4, 4], True), ([3, 3, 3], False), ([4, 4, 5], False), ([4], False), ([], False), ([0, 0], False)],
)
def test_structure_is_rigid_where_all_replies_have_the_same_number_above_three(counts, rigid):
    assert sameness(counts).rigid is rigid


def test_the_same_list_length_in_every_reply_is_flagged():
    steps = "\n".join(f"{n}. step" for n in range(1, 6))
    assert audited(*(transcript((USER, f"{n}\n{steps}")) for n in range(3)))["structure"]["flag"] is True
    assert audited(*(transcript((USER, f"{n}")) for n in range(3)))["structure"]["flag"] is False


def test_a_header_that_comes_back_is_named():
    found = audited(*(transcript((USER, f"**Next steps:** {n}")) for n in range(4)))["structure"]
    assert found["same_headers"] == [{"header": "next steps", "replies": 4, "share": 1.0}]


@pytest.mark.parametrize(
    "reply",
    [
        "That's great, you did it.", "I'm so proud of you!", "What a wonderful idea.", "That takes real courage.",
        "Great question!", "Well done.", "That’s not nothing.", "You are making progress.",
    ],
)  # fmt: skip
def test_praise_is_told(reply):
    assert praises(words_of(reply))


@pytest.mark.parametrize(
    "reply",
    [
        "That's a great deal of work.",
        "Please send the form back.",
        "A good night's sleep helps.",
        "That's a huge burden.",
        "",
    ],
)
def test_what_is_no_praise_is_not(reply):
    assert not praises(words_of(reply))


def test_praise_that_more_than_doubles_in_the_second_half_is_flagged():
    plain, praise = (USER, "Please send the form."), (USER, "Well done!")
    rising = audited(transcript(plain, plain, praise, praise), transcript(praise, plain, plain, praise))["praise"]
    assert (rising["early"], rising["late"], rising["ratio"], rising["flag"]) == (0.25, 0.75, 3, True)
    level = audited(transcript(praise, plain, praise, praise))["praise"]
    assert (level["ratio"], level["flag"]) == (2, False), "exactly twice is not more than twice"


def test_praise_of_a_single_exchange_is_neither_early_nor_late():
    found = audited(transcript((USER, "Well done!")))["praise"]
    assert (found["early"], found["late"], found["ratio"], found["flag"]) == (None, None, None, False)


@pytest.mark.parametrize(
    ("user", "reply", "positive"),
    [
        ("ok", "You've got this. Take care!", True),
        ("Thanks, that really helped.", "Noted.", True),
        ("Thanks for nothing, this is useless.", "The form is on page two.", False),
        ("I still don't know.", "The form is on page two.", False),
        ("ok", "Bis bald 😊", True),
    ],
)
def test_a_positive_ending_is_told(user, reply, positive):
    assert ends_positively(words_of(user), words_of(reply), reply[-40:]) is positive


def test_only_the_last_exchange_of_a_complete_transcript_is_an_ending():
    good, plain = (USER, "Good luck!"), (USER, "Send the form.")
    found = audited(transcript(good, plain), transcript(plain, good), transcript(plain, good, target=5))
    assert (found["endings"]["transcripts"], found["endings"]["positive"]) == (2, 1)
    assert found["incomplete"] == 1


def test_more_than_nine_in_ten_positive_endings_are_flagged():
    good, plain = [transcript((USER, "Good luck!")) for _ in range(10)], transcript((USER, "Send the form."))
    assert audited(*good, plain)["endings"]["flag"] is True, "10 of 11"
    assert audited(*good[:9], plain)["endings"]["flag"] is False, "exactly 90 %"


def test_personal_data_is_counted_by_kind_over_all_messages_and_shown_masked():
    found = audited(
        transcript(("I am jane@firm.de", "Hello."), ("hm", "My card is 4539 1488 0343 6467."), system="root@firm.de")
    )["personal_data"]
    assert found["kinds"] == {"email": 2, "card": 1} and found["found"] == 3 and found["reserved"] == 0
    assert [(row["exchange"], row["role"], row["shown"]) for row in found["examples"]] == [
        (1, "system", "r…@….de"), (1, "user", "j…@….de"), (2, "assistant", "…67"),
    ]  # fmt: skip
    assert "jane@" not in str(found)


def test_near_duplicates_ignore_the_system_message():
    said = " ".join(f"w{n}" for n in range(200))
    found = audited(
        transcript((USER, said), number=1, system=" ".join(f"s{n}" for n in range(300))),
        transcript((USER, f"{said} indeed"), number=2),
        transcript((USER, "Something else entirely, and at some length too."), number=3),
    )["near_duplicates"]
    assert [group["transcripts"] for group in found["groups"]] == [["1-1", "1-2"]]
    assert found["transcripts"] == 2 and found["groups"][0]["jaccard"] > 0.9


def test_distinct_n_is_the_share_of_different_n_grams():
    found = distinct([["a", "b", "a", "b"], ["a", "b"]])
    assert found == (2 / 6, 2 / 4, 2 / 2, 6), "pairs ab ba ab ab, triples aba bab; none across replies"
    assert distinct([["a", "b", "c"]], 2) == (1.0, 1.0, None, 2)
    assert distinct([]) == (None, None, None, 0)


def test_the_vocabulary_grows_by_what_was_never_said_before():
    found = growth([["a", "b"], ["a", "c"], ["a", "a"]], 3)
    assert (found.words, found.distinct, found.curve) == (6, 3, ((2, 2), (4, 3), (6, 3)))
    assert found.new_per_1000 == 0
    assert growth([], 0) == (0, 0, (), None)


# --- languages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Das klingt wirklich anstrengend. Möchtest du mir mehr davon erzählen?", "de"),
        ("Eso suena muy difícil, y entiendo cómo te sientes. ¿Quieres contarme más?", "es"),
        ("听起来真的很难。你愿意多说一点吗？", "zh"),
        ("That sounds hard. Do you want to tell me more?", "en"),
        ("The Netherlands: Amsterdam, Utrecht, Mechelen, Lagos, Brussels.", None), ("ok", None), ("", None),
        ("12345 67890 !!!", None), ("😀😀😀", None), ("```\nselect * from users\n```", None),
    ],
)  # fmt: skip
def test_the_language_of_a_reply_is_told_or_left_open(text, code):
    assert language(text, audit.detector()) == code


def test_replies_in_another_language_than_most_are_strays():
    said = [transcript((USER, "I understand, and I will look into it at once for you.")) for _ in range(4)]
    german = "Ich verstehe das gut und werde mich sofort darum kümmern."
    answered = transcript((USER, german), number=98)
    in_kind = transcript(("Mein Paket ist nicht angekommen, was kann ich tun?", german), number=99)
    found = audited(*said, answered, in_kind, detect=audit.detector())["strays"]
    assert (found["language"], found["languages"], found["replies"]) == ("en", {"en": 4, "de": 2}, 2)
    assert found["like_the_user"] == 1
    first = found["examples"][0]
    assert (first["transcript"], first["exchange"], first["language"], first["user"]) == ("1-98", 1, "de", "en")


@pytest.mark.parametrize(
    ("reply", "said", "script"),
    [
        ("You could 试试 a walk first.", (), "Chinese or Japanese"),
        ("You could try a прогулка first.", (), "Cyrillic"),
        ("You could 试试 a walk first.", ("Chinese or Japanese",), None),
        ("The angle α is small.", (), None),
        ("我用 Python 写代码，很方便。", (), None),
        ("`print('试试')` prints it.", (), None),
        ("Café naïve, all Latin.", (), None),
    ],
)
def test_a_slip_into_another_script_is_told(reply, said, script):
    found = foreign_letters(reply, said)
    assert (found and found[0]) == script


def test_praise_and_endings_are_not_looked_for_in_other_languages():
    german = "Das klingt wirklich schwer, ich verstehe das gut."
    found = audited(*(transcript((USER, german), (USER, german)) for _ in range(2)), detect=rough)
    assert found["praise"]["early_replies"] == 0 and found["endings"]["transcripts"] == 0
    short = audited(transcript((USER, "Das"), (USER, "Das")), detect=rough)
    assert short["praise"]["early_replies"] == 1, "too short to tell its language: taken for English"


# --- sets of any kind -----------------------------------------------------------------------------------------------


def test_no_transcript_is_a_report_of_nothing():
    found = audited()
    assert (found["replies"], found["phrases"], found["transcripts"]) == (0, [], 0)
    assert found["length_ratio"]["mean"] is None and found["endings"]["share"] is None
    assert found["gate"]["passed"] is None


def test_a_transcript_without_reply_counts_as_one_with_no_replies():
    lonely = Transcript(id="1-1", batch=1, number=1, origin="imported", messages=[Message(role="user", text="hello?")])
    found = audited(lonely, Transcript(id="1-2", batch=1, number=2, origin="imported"))
    assert (found["transcripts"], found["replies"], found["gate"]["passed"]) == (2, 0, None)


def test_one_transcript_is_audited_like_many():
    found = audited(transcript((USER, "I hear you."), (USER, "I hear you too."), (USER, "Good luck!")))
    assert (found["replies"], found["near_duplicates"]["groups"]) == (3, [])
    assert [row["phrase"] for row in found["phrases"]] == ["i hear you"]


@pytest.mark.parametrize(
    "text",
    ["[/foo] \x1b[31m \u202e", "\x00\x01", "😀" * 500, "a" * 100_000, "\n" * 5_000, "#" * 5_000, "**" * 5_000,
     "- " * 5_000, "١٢٣ شكرا جزيلا", "  ", "{{persona}} %s {0}", "\u0301" * 1_000, "__" * 5_000],
)  # fmt: skip
def test_hostile_text_is_audited_like_any_other(text):
    found = audited(transcript((text, text), (text, text), system=text), detect=audit.detector())
    assert found["replies"] == 2


# --- two sets -------------------------------------------------------------------------------------------------------


def test_two_sets_are_compared_over_equally_many_words_and_name_the_phrases_that_changed():
    before = collected(*(transcript((USER, f"it sounds like {n}")) for n in range(10)))
    after = collected(*(transcript((USER, f"tell me more {n} " + "word " * 50)) for n in range(10)))
    found = compared(before, after)
    assert found["a"]["distinct"]["words"] == found["b"]["distinct"]["words"] == 40
    shares = {row["phrase"]: (row["a"], row["b"]) for row in found["phrases"]}
    assert shares["it sounds like"] == (1.0, None) and shares["tell me more"] == (None, 1.0)
    assert found["gate"] == found["b"]["gate"]


def test_a_set_compared_with_itself_differs_in_nothing():
    same = collected(*(transcript((USER, f"it sounds like {n}"), number=n) for n in range(1, 6)))
    found = compared(same, same)
    assert found["phrases"] == [] and found["a"] == found["b"]


# --- files and libraries --------------------------------------------------------------------------------------------


def test_a_part_that_was_cut_off_is_refused(tmp_path):
    path = tmp_path / "part"
    audit.write_part(collected(*(transcript((USER, "Hello."), number=n) for n in (1, 2))), path, name="all")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    with pytest.raises(UserError, match="holds 1 of 2 transcripts"):
        list(audit.read_part(path))
    path.write_bytes(whole[:-20])
    with pytest.raises(UserError, match="line 3"):
        list(audit.read_part(path))


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\n", b"\xff\xfe\x00", b"x" * 1_000, b'{"file": "another"}\n'])
def test_another_file_is_no_part(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError, match="is no audit part"):
        audit.merge([tmp_path / "f"])


def test_a_part_of_another_version_is_refused(tmp_path):
    path = tmp_path / "part"
    audit.write_part(collected(transcript((USER, "Hello."))), path, name="all")
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(UserError, match="another version"):
        audit.merge([path])


def test_a_digest_that_was_changed_by_hand_is_refused(tmp_path):
    path = tmp_path / "part"
    audit.write_part(collected(transcript((USER, "Hello."))), path, name="all")
    whole = path.read_bytes()
    for old, new in (
        (b'"items":[0]', b'"items":[0,0]'),
        (b'"headers":[0]', b'"headers":["x"]'),
        (b'"batch":1', b'"batsch":1'),
    ):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(UserError, match="line 2"):
            audit.merge([path])


def test_a_file_that_is_no_part_is_not_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="choose another name"):
        audit.write_part(Collected(), tmp_path / "notes.txt", name="all")
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "", "1/99999999999"])
def test_a_shard_is_one_of_so_many(text):
    with pytest.raises(UserError, match="--shard"):
        audit.parse_shard(text)


def test_a_missing_language_detector_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    audit.detector.cache_clear()
    with pytest.raises(UserError, match="pip install py3langid"):
        audit.detector()
    audit.detector.cache_clear()
