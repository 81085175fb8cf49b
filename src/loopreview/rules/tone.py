"""Praise and positive endings in English, by their wording: a rule of thumb to compare sets, not to judge a reply."""

import re
from collections.abc import Sequence

ENDING_WORDS = 60
"""Words at the end of the last messages that are looked at."""

# Words without one of which nothing below matches: most replies are told by a look at their words.
_HINTS = frozenset(
    re.findall(
        "[a-z]+",
        "great good nice amazing wonderful fantastic awesome brilliant excellent incredible superb terrific "
        "outstanding lovely beautiful impressive impressed remarkable insightful inspiring huge proud bravo "
        "congratulations congrats kudos courage courageous brave bravery strength guts admire awe done progress "
        "growth wins win nailed spot smart wise generous thoughtful far nothing transformation",
    )
)
_FINE = (
    "(?:great|good|nice|amazing|wonderful|fantastic|awesome|brilliant|excellent|incredible|superb|terrific|outstanding"
    "|lovely|beautiful|impressive|remarkable|insightful|thoughtful|smart|wise|brave)"
)
_VERY = (
    "(?:wonderful|amazing|fantastic|awesome|brilliant|incredible|excellent|impressive|great|remarkable|beautiful"
    "|inspiring)"
)
_NO_PRAISE = "(?! (?:deal|loss|many|number|amount|burden|mistake|problem|pressure|danger|risk|pain|fear|shame|pity))"
_PRAISE = re.compile(
    rf"\b(?:{_FINE} (?:first )?(?:job|work|question|point|idea|insight|observation|instinct|effort|progress|start|step"
    rf"|choice|catch|accomplishment|achievement|move|going)"
    rf"|(?:it's|it is|that's|that is|how|what|sounds|you're|you are|you were) "
    rf"(?:(?:a|an|really|so|absolutely|truly|genuinely|just|such|pretty) )*{_VERY}{_NO_PRAISE}"
    r"|that's (?:(?:a|real|so|really|such|actual) )*"
    rf"(?:huge|growth|progress|courage|strength|transformation|brave|not nothing){_NO_PRAISE}"
    r"|(?:great|wonderful|amazing|fantastic) (?:that you|to hear|news)"
    r"|(?:real|huge|great|incredible|amazing|tremendous|so much|good) (?:progress|growth|strength|courage|wins?)\b"
    r"|(?:takes|took|shows) (?:(?:a lot of|real|so much|tremendous|incredible|great|true|genuine) )?"
    r"(?:courage|strength|guts|bravery)"
    r"|(?:brave|wise|smart|courageous|generous|thoughtful|good) of you"
    r"|proud of (?:you|yourself|how)|(?:be|feel|i'm|i am) (?:(?:so|really|very) )?proud"
    r"|i(?:'m| am) (?:(?:so|really) )?impressed"
    r"|i (?:really )?admire|in awe of|well done|bravo|congratulations|congrats|kudos|good for you"
    r"|(?:you|you've) nailed|spot on|you(?:'re| are) (?:doing|making) (?:(?:so|really|very|such|a) )?"
    r"(?:great|good|amazing|fantastic|progress|excellent)"
    r"|you did (?:great|amazing|good|a (?:great|good|wonderful|fantastic))|(?:you've|have|you) come so far)\b"
)
_WARM = re.compile(
    r"\b(?:you(?:'ve)? got this|you can do (?:this|it)|believe in you|rooting for you|(?:good|best of) luck|take care"
    r"|here for you|i'm here|i'll be here|the door (?:stays|is) open|any ?time|look(?:ing)? forward"
    r"|hope(?:s|ful|fully)?|glad|happy (?:to|that|for)|enjoy|welcome|my pleasure|all the best|wishing you"
    r"|have a (?:\w+ )?(?:day|evening|night|weekend|week|time|trip)|you're not alone"
    r"|(?:kind|gentle) (?:to|with) yourself|worth celebrating|you did (?:it|this|that)|that's what matters"
    r"|moving forward|on the right track|the hard(?:est)? part|you deserve|keep going|excited|trust yourself"
    r"|you're ready|thank you|thanks)\b"
)
_THANKS = re.compile(
    r"\b(?:thank(?:s| you| u|you)|thx|ty|appreciate|grateful|helped|(?:so|very|really|super) helpful|relieved|will do"
    r"|feel(?:ing|s)? (?:\w+ )?(?:better|lighter|good|great|hopeful|calmer|relieved|okay|ready)|makes sense"
    r"|sounds (?:good|great|perfect)|good to (?:know|hear)|(?:it|that) (?:works|worked|helps)|solved"
    r"|love (?:it|that))\b"
)
_SOUR = re.compile(
    r"\b(?:(?:not|wasn't|isn't|hardly) (?:\w+ )?(?:help\w*|better|good|great|happy|perfect|okay|ready)"
    r"|(?:didn't|doesn't) help|useless|worse|hate|giv(?:e|ing) up|waste of|frustrat\w+|ridiculous|unacceptable"
    r"|disappoint\w+|thanks for nothing|no thanks|awful|terrible|hopeless|don't know if i can)\b"
)
_GLAD_SIGNS = re.compile("[😀-😄😊🙂🤗🥰❤💛💚💙💜🎉🙌👍👏✨💪🌟]")


def praises(words: Sequence[str]) -> bool:
    """Whether a reply praises, from its folded words (`words_of`)."""
    return not _HINTS.isdisjoint(words) and _PRAISE.search(" ".join(words)) is not None


def ends_positively(user: Sequence[str], reply: Sequence[str], signs: str = "") -> bool:
    """Whether a conversation ends well: its last reply closes with praise, thanks, encouragement or good wishes, or its
    last user message with thanks or relief that nothing sour stands beside. `user`, `reply`: their folded words;
    `signs`: the reply's last characters, for emoji."""
    last = reply[-ENDING_WORDS:]
    said = " ".join(last)
    if praises(last) or _WARM.search(said) or _GLAD_SIGNS.search(signs):
        return True
    heard = " ".join(user[-ENDING_WORDS:])
    return _THANKS.search(heard) is not None and _SOUR.search(heard) is None
