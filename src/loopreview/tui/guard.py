"""Slips of the finger: a held key or a pasted word must not write labels."""

SLIP_S = 0.03
REPEAT_S = 0.12
FRESH_S = 0.5


class Guard:
    """Knows when keys were pressed. Times are seconds of one clock that only goes forward."""

    def __init__(self, *, on: bool = True) -> None:
        self.on = on
        self._last_key = ""
        self._last_at = float("-inf")
        self._opened_at = float("-inf")
        self._warned = ""

    def opened(self, at: float) -> None:
        """A transcript came onto the screen."""
        self._opened_at = at
        self._warned = ""

    def pressed(self, key: str, at: float) -> tuple[str, float]:
        """Take note of any key; returns the key before it and the seconds since."""
        before = (self._last_key, at - self._last_at)
        self._last_key, self._last_at = key, at
        return before

    def slip(self, key: str, before: tuple[str, float]) -> str | None:
        """Why a judging key is taken for a slip, or null. `before` is what `pressed` returned for it."""
        if not self.on:
            return None
        last, gap = before
        if gap < SLIP_S:
            return f"{key} came too fast after another key and was ignored; press it again"
        if last == key and gap < REPEAT_S:
            return f"{key} was held or pressed twice; ignored"
        return None

    def too_early(self, decision: str, at: float) -> str | None:
        """Why a decision needs a second press, or null: the transcript has only just come up."""
        if not self.on or at - self._opened_at >= FRESH_S or self._warned == decision:
            return None
        self._warned = decision
        return f"this transcript has just come up; press {decision} again to decide about it"
