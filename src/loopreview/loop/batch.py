"""A batch that is judged as it is made, and judging with what a person should know about it."""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any

from loopreview import assess, generate, jobs, standing
from loopreview.llm.client import About, Client, Reply
from loopreview.loop.rubric_versions import write_prompt_versions
from loopreview.models.errors import UserError
from loopreview.progress import Progress, Together
from loopreview.rules.lint import lint_backend
from loopreview.store import calls
from loopreview.workspace import Workspace


def make_batch(
    workspace: Workspace,
    *,
    count: int = 5,
    seed: int | None = None,
    judged: bool = False,
    watcher: Progress,
) -> dict[str, Any]:
    """Make or finish a batch; `judged`: ask the judges about each transcript as soon as it is complete.

    Returns what `generate --json` prints. Raises UserError for what stops the job; what was stored stays.
    """
    client = client_of(workspace)
    client.check([*generate.ROLES, *(workspace.settings.judges if judged else ())])
    with ExitStack() as stack:
        log = stack.enter_context(jobs.exclusive(workspace.root, "generate", count=count, judged=judged))
        if judged:
            stack.enter_context(jobs.exclusive(workspace.root, "assess"))
        batch = generate.choose_batch(workspace, count=count, seed=seed, fresh=random.Random())
        log.write("batch", batch=batch.id, count=batch.count)
        progress = Together(watcher, log)

        async def finished(id: str) -> None:
            plan = assess.make_plan(workspace, [id])
            # Notes are for whoever watches; the bar counts messages.
            await assess.ask_all(workspace, client, plan, Together(log))

        result: dict[str, Any] = run(
            generate.generate(workspace, client, batch, progress, finished=finished if judged else None), client
        )
        standing.refresh(workspace)
        _keep_prompts(workspace, progress)
        if judged:
            _, result["judge_errors"] = assess.rows(workspace, [row["id"] for row in result["transcripts"]])
        log.write("done", batch=batch.id, errors=len(result["errors"]))
    return result


def _keep_prompts(workspace: Workspace, progress: Progress) -> None:
    """The prompts of this batch as files. A folder that can't be written does not undo a batch."""
    try:
        write_prompt_versions(workspace)
    except UserError as error:
        progress.note(str(error))


def estimate_batch(workspace: Workspace, *, count: int, judged: bool) -> dict[str, Any]:
    """Calls and dollars of a new batch, and of its judging; `cost_usd` is null where a price is unknown."""
    client = client_of(workspace)
    client.check([*generate.ROLES, *(workspace.settings.judges if judged else ())])
    found = generate.estimate(workspace, client, count=count)
    if judged:
        more = assess.estimate_new(workspace, client, count=count)
        found["calls"] += more["calls"]
        known = found["cost_usd"] is not None and more["cost_usd"] is not None
        found["cost_usd"] = round(found["cost_usd"] + more["cost_usd"], 4) if known else None
    return found


def judge(
    workspace: Workspace,
    *,
    batch: int | None = None,
    every: bool = False,
    only: str | None = None,
    dry_run: bool = False,
    watcher: Progress,
) -> dict[str, Any]:
    """Ask the judges what is stale in scope. Returns what `assess --json` prints, and `notes` for the person."""
    client = client_of(workspace)
    client.check(workspace.settings.judges)
    scope = assess.scope_of(workspace, batch=batch, every=every)
    if dry_run:
        return _dry_run(workspace, client, assess.make_plan(workspace, scope, only=only))
    with jobs.exclusive(workspace.root, "assess", batch=batch) as log:
        plan = assess.make_plan(workspace, scope, only=only)
        before = calls.cost(workspace.store)
        run(assess.ask_all(workspace, client, plan, Together(watcher, log)), client)
        standing.refresh(workspace)
        result = assess.result(workspace, plan, before)
        log.write("done", errors=len(result["errors"]))
    return result | {"notes": _notes(workspace, plan)}


def _dry_run(workspace: Workspace, client: Client, plan: assess.Plan) -> dict[str, Any]:
    found, errors = assess.rows(workspace, plan.scope)
    return {
        "calls": len(plan.asks),
        "stale": plan.stale,
        "asks": [ask._asdict() for ask in plan.asks],
        "cost_usd": assess.estimate(workspace, client, plan),
        "errors": errors,
        "transcripts": found,
        "incomplete": plan.incomplete,
        "stale_imported": assess.imported_rows(plan),
        "notes": _notes(workspace, plan),
    }


def _notes(workspace: Workspace, plan: assess.Plan) -> list[str]:
    notes = []
    settings = workspace.settings
    if not settings.judges:
        notes.append("no judge is configured: add a section [judges.NAME] to loopreview.toml to have one asked")
    if plan.incomplete:
        named = ", ".join(plan.incomplete[:5]) + (" …" if len(plan.incomplete) > 5 else "")
        notes.append(f"not asked about {len(plan.incomplete)} that are not complete: {named}")
    if plan.stale_imported:
        which = sorted({verdict.criterion for verdict in plan.stale_imported})
        notes.append(
            f"{len(plan.stale_imported)} imported answers are to an earlier wording of {', '.join(which)}; "
            "nobody here can be asked again: import new ones, or take the wording back"
        )
    if settings.assistant:
        for name, backend in settings.judges.items():
            warning = lint_backend(backend.model, settings.assistant.model)
            if warning:
                notes.append(f"{name}: {warning}")
    return notes


def client_of(workspace: Workspace) -> Client:
    """A client that writes each call it made into the store."""

    def record(name: str, reply: Reply, about: About | None) -> None:
        about = about or About("other")
        calls.record(
            workspace.store,
            role=name,
            model=reply.model,
            purpose=about.purpose,
            batch=about.batch,
            transcript=about.transcript,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            cost_usd=reply.cost_usd,
            latency_s=reply.latency_s,
        )

    return Client(workspace.settings, on_call=record)


def run(work: Coroutine[Any, Any, Any], client: Client) -> Any:
    async def whole() -> Any:
        try:
            return await work
        finally:
            await client.close()

    return asyncio.run(whole())
