"""The one exception a user can cause. Imports nothing, so that the command line starts fast."""


class UserError(Exception):
    """Something the user can mend. The message is one line: what, where, what to do.

    `exit_code` is 2 for a user's error, 3 where a provider or the machine failed, 1 where a gate or check said no.
    """

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code
