import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopreview.rules.words import count_words, cut_off, ends_in_question, language_of, opener, stock_opener

THERAPY = Path(__file__).parents[2].parent / "shared" / "data" / "therapy"


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("  \n\t", 0),
        ("one two  three\nfour", 4),
        ("don't, it’s well-known", 3),
        ("wait—what… really", 3),
        ("- a\n- b\n**c** --- ### |", 3),
        ("3.5 of 1,000", 3),
        ("你好，世界。", 4),
        ("ひらがな カタカナー", 9),
        ("안녕하세요", 5),
        ("OK 你好 fine", 4),
        ("naïve café", 2),
        ("cafe\u0301 nai\u0308ve", 2),
        ("हिन्दी में लिखा", 3),
        ("привет мир", 2),
        ("😀 🎉", 0),
    ],
)
def test_words_are_pieces_with_a_letter_and_characters_of_chinese_japanese_korean(text: str, n: int) -> None:
    assert count_words(text) == n


def test_composed_and_decomposed_korean_count_the_same() -> None:
    assert count_words("\u1112\u1161\u11ab") == count_words("한") == 1


@given(st.lists(st.from_regex(r"[a-zé]{1,8}", fullmatch=True)), st.sampled_from([" ", "\n", " — ", "\t\t", " … "]))
def test_joining_words_counts_them(words: list[str], between: str) -> None:
    assert count_words(between.join(words)) == len(words)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I think that you should talk to your boss about it.", "en"),
        ("Ich glaube, dass es nicht so schlimm ist, wie du denkst.", "de"),
        ("Je pense que vous avez raison, mais ce n'est pas simple pour moi.", "fr"),
        ("Creo que no es tan grave como lo piensas, y eso está bien para ti.", "es"),
        ("Non è così grave come pensi, ma ti capisco e sono qui per te.", "it"),
        ("Eu não acho que isso é tão grave, mas você está certo.", "pt"),
        ("Ik denk dat het niet zo erg is als je denkt, maar het is wel goed.", "nl"),
        ("Я думаю, что всё будет хорошо.", "ru"),
        ("Я думаю, що все буде добре і спокійно.", "uk"),
        ("我觉得这没有那么严重。", "zh"),
        ("それはそんなに大変ではないと思います。", "ja"),
        ("그렇게 심각하지 않다고 생각해요.", "ko"),
        ("أعتقد أن الأمر ليس بهذا السوء", "ar"),
        ("Que se para, que se para.", None),  # Spanish as well as Portuguese
        ("ok", None),
        ("42 + 7 = 49", None),
        ("", None),
        ("Schau: ```the and to of is it that you in for``` das ist nicht der Fehler, aber es hilft.", "de"),
    ],
)
def test_languages_are_told_by_script_and_common_words(text: str, code: str | None) -> None:
    assert language_of(text) == code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("**I hear you**, and it's hard", "i hear you"),
        ("It’s good to see you", "it's good to"),
        ("## Work—the deadline\nmore", "work the deadline"),
        ("Sure.", "sure"),
        ("你好，谢谢你告诉我", "你好谢谢"),
        ("", ""),
        ("…", ""),
    ],
)
def test_an_opener_is_the_first_three_words_without_markup(text: str, words: str) -> None:
    assert opener(text) == words


def test_stock_openers_are_found_at_the_beginning_and_at_word_ends_only() -> None:
    assert stock_opener("“I hear you. And…") == "i hear you"
    assert stock_opener("It’s understandable that") == "it's understandable"
    assert stock_opener("Certainly!") == "certainly"
    assert stock_opener("Well, I hear you") is None
    assert stock_opener("Absolutelyness") is None
    assert stock_opener("谢谢你的信任", ("谢谢你",)) == "谢谢你"


@pytest.mark.parametrize(
    "text", ["Why?", "Why? ", "**Why?**", '"Why?"', "_why?_", "Why? 😊", "why?!", "为什么？", "لماذا؟"]
)
def test_a_question_ending_is_seen_through_what_follows_the_mark(text: str) -> None:
    assert ends_in_question(text)


@pytest.mark.parametrize("text", ["", "Why? Because.", "No!", "Why? I know", "(?) yes.", "?!?."])
def test_other_endings_are_no_questions(text: str) -> None:
    assert not ends_in_question(text)


WHOLE = "This is a whole reply that comes to its end."


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "  \n",
        "Here is the code:\n```python\nprint(1)",
        "I would first talk to her, and then,",
        "One thing that would help you here is to ask your",
        "You could try three things here:",
        "**What you can do:**",
        "The most important thing now is to keep calm and to rememb",
        "There are two ways (one of them is to leave, the other",
        "And then there is **the other",
    ],
)
def test_a_reply_that_stops_before_its_end_is_found(reply: str) -> None:
    assert list(cut_off([WHOLE, reply, WHOLE, WHOLE])) == [1]


@pytest.mark.parametrize(
    "reply",
    [
        "All good now.",
        "Is that what you mean?",
        'She said "it is fine."',
        "Do this:\n- rest for as long as you need to\n- call your friend about the car",
        "1. Open the settings and go to the page about accounts",
        "```\ncode\n```",
        "Text.\n\n| a | b |",
        "I hope that helps.\n\nBest,\nMarta",
        "See https://example.org/a/b",
        "Take care of yourself. You know how now.\n\n—",
        "So glad. 🎉",
        "Sure",
        "这是一个完整的回复。",
        "It took me a while to get there…",
        "*ps: the cake is going to be incredible and you know it*",
    ],
)
def test_a_finished_reply_is_left_alone(reply: str) -> None:
    assert cut_off([WHOLE, reply, WHOLE, WHOLE]) == {}


def test_a_transcript_written_without_full_stops_is_a_style() -> None:
    chatty = "yeah that sounds like a lot to carry at the same time"
    assert cut_off([chatty, chatty, chatty, WHOLE]) == {}
    assert list(cut_off([WHOLE, WHOLE, chatty])) == [2]


@pytest.mark.skipif(not THERAPY.is_dir(), reason="the real transcripts are not here")
def test_on_real_replies_few_false_alarms_and_most_cuts_found() -> None:
    chance = random.Random(1)
    cut = found = 0
    for path in sorted(THERAPY.glob("*.json")):
        replies = [e["assistant"] for e in json.loads(path.read_text(encoding="utf-8"))["exchanges"]]
        assert cut_off(replies) == {}, path.name
        for i, reply in enumerate(replies):
            short = reply[: chance.randint(len(reply) // 2, len(reply) - 1)]
            if short.rstrip()[-1] not in ".?!":
                cut += 1
                found += i in cut_off([*replies[:i], short, *replies[i + 1 :]])
    assert found / cut > 0.85
