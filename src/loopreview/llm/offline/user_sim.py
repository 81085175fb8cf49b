"""The simulated user: composes a message from persona, topics and dice. No language model."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence

from loopreview.llm.offline import reading, talk
from loopreview.llm.offline.chance import deal, dice
from loopreview.llm.offline.domain import Matter
from loopreview.llm.offline.scene import Scene, first_person, read_scene
from loopreview.rules.words import count_words

_MUST, _SHOULD, _MAY, _GREETING, _BACKGROUND = range(5)
"""Ranks: what has a higher one goes first where room is short."""


def write(messages: Sequence[Mapping[str, str]], seed: int | None) -> str:
    """The next message of the simulated user, within the word range of its turn block."""
    scene = read_scene(messages)
    rng = dice("user", scene.key, scene.number, seed)
    draft = _Draft(scene, rng)
    _compose(draft)
    draft.fit()
    sentences = [text for _, text in draft.parts]
    if sentences[0].endswith(",") and len(sentences) > 1:  # a greeting
        second = sentences[1]
        if not second.startswith("I"):
            second = second[:1].lower() + second[1:]
        sentences[:2] = [f"{sentences[0]} {second}"]
    return talk.in_style(sentences, scene.style, rng)


class _Draft:
    """The sentences of a message with their ranks."""

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene, self.rng = scene, rng
        self.parts: list[tuple[int, str]] = []

    def say(self, rank: int, template: str, matter: Matter | None = None, **slots: str) -> None:
        if text := self.scene.told(template, self.rng, matter or self.scene.domain.general, **slots):
            self.parts.append((rank, text))

    def unsaid(self, pool: Sequence[str], matter: Matter, turn: int, **slots: str) -> Iterator[str]:
        """Texts of a pool that begin like nothing that was said in this conversation so far."""
        for template in deal(pool, self.scene.key, turn, self.scene.total) if pool else ():
            text = self.scene.told(template, self.rng, matter, **slots)
            if not self._said(text):
                yield text

    def fit(self) -> None:
        """Brings the message within its word range: what matters least goes, and the user's life fills the room."""
        low, high = self.scene.words
        target = self.rng.randint(low + (high - low) // 5, low + (high - low) * 3 // 5)
        for rank in (_BACKGROUND, _GREETING, _MAY, _SHOULD):
            for part in [part for part in reversed(self.parts) if part[0] == rank]:
                if self.words() > high - 3:
                    self.parts.remove(part)
        for text in self._filling():
            if self.words() >= target:
                break
            if not self._said(text) and self.words() + count_words(text) <= high - 3:
                first_request = next(
                    (i for i, (_, said) in enumerate(self.parts) if said.endswith("?")), len(self.parts)
                )
                self.parts.insert(self.rng.randint(min(2, first_request), first_request), (_MAY, text))
        while self.words() < low:
            self.parts.append((_MAY, self.rng.choice(talk.phrases().short)))

    def words(self) -> int:
        return sum(count_words(text) for _, text in self.parts)

    def _filling(self) -> Iterator[str]:
        scene = self.scene
        told = {tell: scene.matter(topic) for topic in scene.known for tell in scene.matter(topic).tells}
        for template in deal([*scene.domain.life, *told], scene.key, scene.number - 1, scene.total):
            yield scene.told(template, self.rng, told.get(template, scene.domain.general))
        for _ in range(60):
            yield scene.told(self.rng.choice(scene.domain.episodes), self.rng, scene.domain.general)

    def _said(self, text: str) -> bool:
        start = " ".join(reading.normalised(text).split()[:5])
        return start in self.scene.own or any(
            start == " ".join(reading.normalised(said).split()[:5]) for _, said in self.parts
        )


def _compose(draft: _Draft) -> None:
    scene, rng, phrases = draft.scene, draft.rng, talk.phrases()
    turn = scene.number - 1
    if scene.number == 1:
        draft.say(_GREETING, rng.choice(phrases.hello[scene.style]))
    else:
        draft.say(_SHOULD, rng.choice(_reactions(scene)), quote=_quote(scene.last_reply, rng))
    current = scene.current
    for topic in current:
        matter = scene.matter(topic)
        if topic in scene.fresh:
            bring = phrases.brings_up if scene.number == 1 else phrases.brings_up_later
            draft.say(_SHOULD, rng.choice(bring), topic=topic.name, subtopic=topic.subtopic)
        tells = draft.unsaid(matter.tells, matter, turn)
        for _, text in zip(range(1 if len(current) > 1 else 2), tells, strict=False):
            draft.parts.append((_MAY, text))
    if scene.number == 1 and len(scene.dimensions) >= 2:
        known = [scene.dimensions[name] for name in ("who", "how") if name in scene.dimensions]
        first, second = (known if len(known) == 2 else list(scene.dimensions.values()))[:2]
        draft.say(_BACKGROUND, rng.choice(phrases.background), a=first, b=second)
    if scene.number == 1:
        draft.say(_SHOULD, deal(scene.domain.detail, scene.key, 0, 1)[0])
    if scene.upset:
        draft.say(_MAY, rng.choice(scene.domain.upset))
    elif scene.number > 2 and scene.mode in ("engage", "tangent"):
        draft.say(_MAY, rng.choice(scene.domain.glad))
    if scene.edge_case and scene.number == max(2, scene.total // 2):
        draft.say(_MUST, first_person(scene.edge_case).rstrip(".") + ".")
    for flaw in scene.flaws:
        draft.say(_SHOULD, talk.flaw_line(flaw, scene.key, scene.number))
    for topic in current:
        draft.parts.append((_MUST, _request(draft, scene.matter(topic), topic.name)))
    if scene.number == scene.total and scene.total > 1:
        draft.say(_SHOULD, rng.choice(phrases.end(scene.trajectory)))


def _reactions(scene: Scene) -> Sequence[str]:
    phrases = talk.phrases()
    known = {"ignore": phrases.ignores, "tangent": phrases.tangents, "push_back": scene.domain.push_back}
    return known.get(scene.mode, phrases.engages)


def _request(draft: _Draft, matter: Matter, topic: str) -> str:
    """Something new that the user wants to know about a matter; what was asked before once more, when all was."""
    fresh = next(draft.unsaid(matter.asks, matter, draft.scene.number - 1, topic=topic), None)
    if fresh:
        return fresh
    old = deal(matter.asks, draft.scene.key, draft.scene.number - 1, draft.scene.total)
    asked = {text for _, text in draft.parts}
    texts = [draft.scene.told(template, draft.rng, matter, topic=topic) for template in old]
    text = next((text for text in texts if text not in asked), texts[0])
    return draft.rng.choice(talk.phrases().asks_again) + text


def _quote(reply: str, rng: random.Random) -> str:
    """Up to seven words of a reply, from one sentence."""
    whole = [s for s in reading.sentences(reply) if len(s.split()) >= 4 and not re.search(r"[\"“”]", s)]
    if not whole:
        return "wait and see"
    pieces = rng.choice(whole).rstrip(".!?…").split()
    start = rng.randrange(max(1, len(pieces) - 6))
    return " ".join(pieces[start : start + 7]).strip(",;:")
