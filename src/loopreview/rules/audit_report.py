"""What the digests of a set say together. Nothing here depends on the order in which they came."""

from collections import Counter
from collections.abc import Iterator
from math import fsum
from statistics import median
from typing import Any

from loopreview.rules import diversity, duplicates, phrases, structure
from loopreview.rules.audit import Collected, Digest, Find
from loopreview.rules.personal_data import KINDS

RATIO = 2.0
"""Replies of more than this many times the user's words are counted."""
PRAISE = 2.0
"""Late praise is flagged above this many times the early."""
ENDINGS = 0.9
"""Positive endings are flagged above this share."""
EXAMPLES = 3
MOST_FINDS = 50


Counts = dict[tuple[str, ...], int]


def report(
    collected: Collected, *, words: int = diversity.SAMPLE_WORDS, counts: Counts | None = None
) -> dict[str, Any]:
    """The numbers of a set, with examples: what `audit --json` prints. `words`: over how many distinct-n is taken;
    `counts`: what `phrase_counts` gave, where it was asked already.

    Shares are 0 to 1, and null where there is nothing to take a share of. An example names transcript and exchange.
    """
    digests = list(collected)
    total = _total(collected)
    found = _phrases(collected, phrase_counts(collected) if counts is None else counts)
    critical = [row["phrase"] for row in found if row["level"] == "critical"]
    return {
        "transcripts": len(digests),
        "incomplete": sum(not one.complete for one in digests),
        "replies": total,
        "phrases": found,
        "length_ratio": _length_ratio(digests),
        "structure": _structure(digests, total),
        "praise": _praise(digests),
        "endings": _endings(digests),
        "strays": _strays(digests, total),
        "distinct": _distinct(collected, words),
        "vocabulary": _vocabulary(collected),
        "near_duplicates": _near_duplicates(digests),
        "personal_data": _personal_data(digests),
        "gate": _gate(total, critical),
    }


def _gate(total: int, critical: list[str]) -> dict[str, Any]:
    if not total:
        return {"passed": None, "why": "there is no reply to audit"}
    if not critical:
        return {"passed": True, "why": "no phrase is in more than half of the replies"}
    more = f" and {len(critical) - 1} more" if len(critical) > 1 else ""
    verb = "are" if len(critical) > 1 else "is"
    return {"passed": False, "why": f"{critical[0]!r}{more} {verb} in more than half of the replies"}


def _share(part: int, total: int) -> float | None:
    return part / total if total else None


def _total(collected: Collected) -> int:
    return sum(len(one.lengths) for one in collected)


def phrase_counts(collected: Collected) -> Counts:
    """Every phrase in at least a tenth of the replies → the replies that have it."""

    def replies() -> Iterator[list[str]]:
        for one in collected:
            yield from collected.replies(one)

    return phrases.common_phrases(replies, _total(collected))


def _phrases(collected: Collected, counts: Counts) -> list[dict[str, Any]]:
    found = phrases.listed(counts, _total(collected))
    places: dict[str, list[dict[str, Any]]] = {row.phrase: [] for row in found}
    wanted = {f" {row.phrase} ": row.phrase for row in found}
    for one in collected if wanted else ():
        for number, words in enumerate(collected.replies(one), 1):
            said = f" {' '.join(words)} "
            for padded in [padded for padded in wanted if padded in said]:
                places[wanted[padded]].append({"transcript": one.id, "exchange": number})
                if len(places[wanted[padded]]) == EXAMPLES:
                    del wanted[padded]
        if not wanted:
            break
    return [
        {
            "phrase": row.phrase,
            "share": row.share,
            "level": row.level,
            "replies": row.replies,
            "passage": row.passage or None,
            "examples": places[row.phrase],
        }
        for row in found
    ]


def _length_ratio(digests: list[Digest]) -> dict[str, Any]:
    ratios = [
        (reply / user, one.id, number) for one in digests for number, (user, reply) in enumerate(one.lengths, 1) if user
    ]
    values = [ratio for ratio, _, _ in ratios]
    longest = sorted(ratios, key=lambda found: -found[0])[:EXAMPLES]
    return {
        # fsum rounds once, at the end: the order of the parts does not show.
        "mean": fsum(values) / len(values) if values else None,
        "median": median(values) if values else None,
        "share_above_2": _share(sum(ratio > RATIO for ratio in values), len(values)),
        "exchanges": len(values),
        "user_words": sum(user for one in digests for user, _ in one.lengths),
        "reply_words": sum(reply for one in digests for _, reply in one.lengths),
        "examples": [{"transcript": id, "exchange": number, "ratio": ratio} for ratio, id, number in longest],
    }


def _structure(digests: list[Digest], total: int) -> dict[str, Any]:
    headers = structure.sameness(n for one in digests for n in one.headers)
    items = structure.sameness(n for one in digests for n in one.items)
    texts = Counter(header for one in digests for header in one.header_texts)
    often = [(n, text) for text, n in texts.items() if n > structure.SAME_ABOVE]
    often.sort(key=lambda row: (-row[0], row[1]))
    return {
        "headers": _same(headers),
        "lists": _same(items),
        "same_headers": [{"header": text, "replies": n, "share": n / total} for n, text in often[:20]],
        "flag": headers.rigid or items.rigid,
    }


def _same(found: structure.Sameness) -> dict[str, Any]:
    return {"count": found.most_have, "replies": found.replies, "share": found.share, "rigid": found.rigid}


def _praise(digests: list[Digest]) -> dict[str, Any]:
    early, early_replies, late, late_replies = (sum(one.praise[i] for one in digests) for i in range(4))
    before, after = _share(early, early_replies), _share(late, late_replies)
    return {
        "early": before,
        "late": after,
        "ratio": after / before if before and after is not None else None,
        "early_replies": early_replies,
        "late_replies": late_replies,
        "early_praising": early,
        "late_praising": late,
        "flag": before is not None and after is not None and after > PRAISE * before,
    }


def _endings(digests: list[Digest]) -> dict[str, Any]:
    ends = [(one.id, one.ends_positively) for one in digests if one.ends_positively is not None]
    positive = sum(1 for _, ends_well in ends if ends_well)
    share = _share(positive, len(ends))
    return {
        "transcripts": len(ends),
        "positive": positive,
        "share": share,
        "flag": share is not None and share > ENDINGS,
        "others": [id for id, ends_well in ends if not ends_well][:EXAMPLES],
    }


def _strays(digests: list[Digest], total: int) -> dict[str, Any]:
    codes = Counter(code for one in digests for code in one.languages if code)
    main = min(codes, key=lambda code: (-codes[code], code), default=None)
    away = [
        (one, begun, sum(code == begun.language for code in one.languages))
        for one in digests
        for begun in one.begun
        if begun.language != main
    ]
    slips = [(one.id, slip) for one in digests for slip in one.slips]
    replies = sum(n for _, _, n in away)
    return {
        "language": main,
        "languages": dict(sorted(codes.items(), key=lambda pair: (-pair[1], pair[0]))),
        "untold": total - codes.total(),
        "replies": replies,
        "share": _share(replies, total),
        "like_the_user": sum(n for _, begun, n in away if begun.user == begun.language),
        "examples": [
            {
                "transcript": one.id,
                "exchange": b.exchange,
                "language": b.language,
                "user": b.user,
                "replies": n,
                "text": b.text,
            }
            for one, b, n in sorted(away, key=lambda found: found[1].user == found[1].language)[:10]
        ],
        "slips": len(slips),
        "slip_examples": [
            {"transcript": id, "exchange": slip.exchange, "script": slip.script, "text": slip.text}
            for id, slip in slips[:10]
        ],
    }


def _distinct(collected: Collected, words: int) -> dict[str, Any]:
    """Over transcripts drawn by the hash of their id: the same ones however the set was divided."""
    drawn = sorted(collected, key=lambda one: (diversity.drawn(one.id), one.id))
    found = diversity.distinct((reply for one in drawn for reply in collected.replies(one)), words)
    return {"1": found.one, "2": found.two, "3": found.three, "words": found.words}


def _vocabulary(collected: Collected) -> dict[str, Any]:
    said = ((word for reply in collected.replies(one) for word in reply) for one in collected)
    found = diversity.growth(said, len(collected))
    return {
        "words": found.words,
        "distinct": found.distinct,
        "growth": [list(point) for point in found.curve],
        "new_per_1000": found.new_per_1000,
    }


def _near_duplicates(digests: list[Digest]) -> dict[str, Any]:
    groups = duplicates.groups({one.id: one.signature for one in digests})
    inside = sum(len(group.transcripts) for group in groups)
    return {
        "transcripts": inside,
        "share": _share(inside, len(digests)),
        "groups": [{"transcripts": list(group.transcripts), "jaccard": group.jaccard} for group in groups],
    }


def _personal_data(digests: list[Digest]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for one in digests:
        counts.update(one.found)
    reserved = counts.pop("reserved", 0)
    examples = [{"transcript": one.id, **_find_row(find)} for one in digests for find in one.finds]
    return {
        "found": counts.total(),
        "reserved": reserved,
        "transcripts": sum(bool(one.found) for one in digests),
        "kinds": {kind: counts[kind] for kind in KINDS if counts[kind]},
        "examples": sorted(examples, key=lambda row: row["reserved"])[:MOST_FINDS],
    }


def _find_row(find: Find) -> dict[str, Any]:
    return {name: getattr(find, name) for name in ("exchange", "kind", "role", "shown", "reserved")}


def compared(before: Collected, after: Collected) -> dict[str, Any]:
    """Two sets side by side: their reports, with distinct-n over equally many words, and the listed phrases whose level
    differs, with their shares (null: under a tenth)."""
    words = min(diversity.SAMPLE_WORDS, _words(before), _words(after))
    counts = [phrase_counts(side) for side in (before, after)]
    sides = [report(side, words=words, counts=found) for side, found in zip((before, after), counts, strict=True)]
    rows = []
    for phrase in sorted({row["phrase"] for side in sides for row in side["phrases"]}):
        replies = [found.get(tuple(phrase.split(" ")), 0) for found in counts]
        totals = [side["replies"] for side in sides]
        if len({phrases.level(n, total) for n, total in zip(replies, totals, strict=True)}) > 1:
            a, b = (n / total if n else None for n, total in zip(replies, totals, strict=True))
            rows.append({"phrase": phrase, "a": a, "b": b})
    rows.sort(key=lambda row: (-abs((row["b"] or 0) - (row["a"] or 0)), row["phrase"]))
    return {"a": sides[0], "b": sides[1], "phrases": rows, "gate": sides[1]["gate"]}


def _words(collected: Collected) -> int:
    return sum(len(reply) for one in collected for reply in collected.replies(one))
