"""What the planner and our own commands answer, as they do for a small set."""

from typing import Any

AUDIT: dict[str, Any] = {
    "set": "approved", "transcripts": 6, "incomplete": 0, "replies": 54, "left_out": ["1-7"],
    "phrases": [
        {"phrase": "it sounds like", "share": 0.57, "level": "critical", "replies": 31,
         "passage": "it sounds like you are",
         "examples": [{"transcript": "1-1", "exchange": 2}, {"transcript": "1-3", "exchange": 4}]},
        {"phrase": "here is what i", "share": 0.24, "level": "high", "replies": 13, "passage": None,
         "examples": [{"transcript": "1-2", "exchange": 1}]},
        {"phrase": "a lot of", "share": 0.11, "level": "watch", "replies": 6, "passage": None, "examples": []},
    ],
    "length_ratio": {"mean": 2.29, "median": 1.97, "share_above_2": 0.49,
                     "examples": [{"transcript": "1-4", "exchange": 9, "ratio": 7.9}]},
    "structure": {"headers": {"count": 4, "replies": 20, "share": 0.38, "rigid": True},
                  "lists": {"count": 0, "replies": 53, "share": 0.99, "rigid": False},
                  "same_headers": [{"header": "work", "replies": 14, "share": 0.26}], "flag": True},
    "praise": {"early": 0.41, "late": 0.46, "flag": False},
    "endings": {"transcripts": 6, "positive": 6, "share": 1.0, "flag": True, "others": []},
    "strays": {"language": "en", "replies": 1, "like_the_user": 0, "slips": 0,
               "examples": [{"transcript": "1-5", "exchange": 3, "language": "de", "text": "Das klingt schwer."}]},
    "distinct": {"1": 0.08, "2": 0.52, "3": 0.85, "words": 9000},
    "vocabulary": {"words": 9000, "distinct": 1200, "new_per_1000": 41.0},
    "near_duplicates": {"transcripts": 2, "share": 0.33, "groups": [{"transcripts": ["1-2", "1-6"], "jaccard": 0.91}]},
    "personal_data": {"found": 1, "reserved": 0, "transcripts": 1, "kinds": {"e-mail": 1},
                      "examples": [{"transcript": "1-1", "exchange": 3, "role": "user", "kind": "e-mail",
                                    "shown": "m…a@…", "reserved": False}]},
    "gate": {"passed": False, "why": "'it sounds like' is in more than half of the replies"},
}  # fmt: skip

COVERAGE: dict[str, Any] = {
    "transcripts": {"generated": 10, "imported": 0, "approved": 6},
    "parts": [
        {"kind": "topic", "drawn": 20, "approved": 12, "rows": [
            {"name": "billing", "asked": 0.5, "drawn": 8, "drawn_share": 0.4, "approved": 6, "approved_share": 0.5,
             "interval": [0.25, 0.75], "state": None},
            {"name": "delivery", "asked": 0.3, "drawn": 2, "drawn_share": 0.1, "approved": 0, "approved_share": 0.0,
             "interval": [0.0, 0.24], "state": "missing"},
            {"name": "returns", "asked": 0.2, "drawn": 10, "drawn_share": 0.5, "approved": 6, "approved_share": 0.5,
             "interval": [0.25, 0.75], "state": "over"},
        ]},
    ],
    "missing": [{"kind": "topic", "name": "delivery", "asked": 0.3, "drawn": 2, "approved": 0}],
    "short": [],
}  # fmt: skip


def plan(**other: Any) -> dict[str, Any]:
    """A plan of six approved transcripts of ten, as the planner answers it."""
    lengths = {"1-1": [900, 3100], "1-2": [1100, 4200], "1-3": [700, 2600, 5200], "1-4": [1300], "1-5": [800, 3900]}
    splits = {"1-3": "valid", "1-4": "test"}
    rows = [
        [id, splits.get(id, "train"), [[at, 3 + 5 * at, tokens, 100 + at, None] for at, tokens in enumerate(found)]]
        for id, found in lengths.items()
    ]
    return {
        "answer": "plan", "transcripts": 10, "chosen": 6, "rows": rows, "problem": "", "limit": 6000, "target": 100,
        "left_out": [["1-6", None, "too short for a slice", "2 exchanges; the first slice has 3"],
                     ["1-5", 13, "over max_tokens", "7,201 tokens, the limit is 6,000"]],
        "counts": {"not decided": 4, "too short for a slice": 1, "over max_tokens": 1},
        "tokenizer": {"name": "tiny", "system": "kept", "end_of_turn": "<|im_end|>"},
        "last": None, "seconds": 0.1, **other,
    }  # fmt: skip


TEXT = "<|im_start|>user\nIt broke.<|im_end|>\n<|im_start|>assistant\nI will mend it\x1b[31m today.<|im_end|>\n"
REPLY = (TEXT.index("I will"), len(TEXT) - 1)


def example(**other: Any) -> dict[str, Any]:
    return {
        "answer": "example", "transcript": "1-1", "at": 0, "exchange": 3, "tokens": 900, "supervised": 100,
        "label": None,
        "rendered": True, "parts": [{"title": "", "text": TEXT, "lit": [list(REPLY)]}], **other,
    }  # fmt: skip
