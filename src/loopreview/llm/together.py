"""Running many calls at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from loopreview.models.errors import UserError


async def run_all(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all of them; the first UserError stops the others and is raised as itself, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as failures:
        known, _ = failures.split(UserError)
        leaf: BaseException = known or failures
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        raise leaf from None
