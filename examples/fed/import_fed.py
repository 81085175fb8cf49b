"""Turn the FED data set (Mehri and Eskenazi 2020) into files that loopreview imports.

    python import_fed.py fed_data.json OUT

writes OUT/transcripts.jsonl and OUT/labels.jsonl. README.md beside this script says what to do with them, and how
ratings become answers. Needs nothing but Python; copy it and adapt it to the data you have.
"""

import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

TOP_RATING = {"Consistent": 1, "Understandable": 1, "Overall": 4}
"""The best rating of a quality, where it is not 2."""
ROLES = {"User": "user", "System": "assistant"}


def messages_of(record: dict[str, Any]) -> list[dict[str, str]]:
    """The conversation up to the last reply. A whole dialogue ends with a line of the user that nobody answered;
    without a reply it makes no exchange."""
    lines = record["context"].split("\n") + ([record["response"]] if "response" in record else [])
    messages = []
    for line in lines:
        speaker, colon, text = line.partition(": ")
        if not colon or speaker not in ROLES:
            raise ValueError(f"a line that begins with neither User: nor System: ({line[:60]!r})")
        messages.append({"role": ROLES[speaker], "content": text})
    while messages and messages[-1]["role"] == "user":
        messages.pop()
    return messages


def criterion_of(record: dict[str, Any], quality: str) -> str:
    """`reply_…` where one reply was rated, `dialogue_…` where the whole was: the ids in rubric.yaml."""
    level = "reply" if "response" in record else "dialogue"
    return f"{level}_{quality.lower().replace(' ', '_')}"


def answer_of(quality: str, rating: int | str) -> tuple[str, str | None] | None:
    """(answer, note): YES for the best rating, NO for a lower one, NA with its reason for "N/A (…)"; None for what
    is neither."""
    if isinstance(rating, str) and rating.strip().upper().startswith("N/A"):
        return "NA", rating.strip()[3:].strip().removeprefix("(").removesuffix(")").strip() or None
    if isinstance(rating, int) and not isinstance(rating, bool):
        return ("YES" if rating == TOP_RATING.get(quality, 2) else "NO"), None
    return None


def labels_of(id: str, criterion: str, quality: str, ratings: list[int | str]) -> list[dict[str, str]]:
    """The answers that a row of ratings gives, each rater's place in the row being their name."""
    labels = []
    for rater, rating in enumerate(ratings, 1):
        if found := answer_of(quality, rating):
            answer, note = found
            label = {"transcript": id, "criterion": criterion, "reviewer": f"rater{rater}", "answer": answer}
            labels.append(label | ({"note": note} if note else {}))
    return labels


def main(source: Path, out: Path) -> None:
    records = json.loads(source.read_text(encoding="utf-8"))
    transcripts: dict[str, dict[str, Any]] = {}  # by content
    labels: dict[tuple[str, str], list[dict[str, str]]] = {}  # by transcript and criterion
    left_out = 0
    for number, record in enumerate(records, 1):
        try:
            messages = messages_of(record)
        except ValueError as error:
            sys.exit(f"{source.name} record {number}: {error}")
        # loopreview stores the same content once. Where a dialogue is, up to its last reply, what another record
        # holds, its labels go to that record: raters of replies and of dialogues answered different criteria.
        row = {"id": f"fed-{number:03}", "model": record["system"], "messages": messages}
        row = transcripts.setdefault(json.dumps(messages), row)
        for quality, ratings in record["annotations"].items():
            place = (row["id"], criterion_of(record, quality))
            # Rated before: these are other people, who would overwrite the answers of the first.
            found = [] if place in labels else labels_of(*place, quality, ratings)
            labels.setdefault(place, found)
            left_out += len(ratings) - len(found)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("transcripts", transcripts.values()), ("labels", chain.from_iterable(labels.values()))):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
    print(
        f"{len(records)} records: {len(transcripts)} transcripts, "
        f"{len(records) - len(transcripts)} more with the content of an earlier one, which got their labels; "
        f"{sum(map(len, labels.values()))} labels, {left_out} ratings left out",
        file=sys.stderr,
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python import_fed.py fed_data.json OUT")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
