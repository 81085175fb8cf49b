"""The plan of a run: every value proposed, with the reason for it, from the dataset, the base and the machine."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.training import Backend, Plan
from loopreview.rules.documents import nearest
from loopreview.train.base import Base
from loopreview.train.gates import Check, data_gate
from loopreview.train.machine import Device, Machine
from loopreview.train.memory import Estimate, estimate, fitting
from loopreview.train.plan_file import parse_settings, read_plan, refuse_changed, write_plan
from loopreview.train.prepare import measure, token_folder
from loopreview.train.proposal import BF16_FROM, OF_ADAPTER, Proposal, gigabytes, shown

__all__ = ["Planned", "parse_settings", "propose", "read_plan", "refuse_changed", "write_plan"]


class Planned(NamedTuple):
    """`reasons`: key of the plan → why the value is what it is. A check that is an error stops a start."""

    plan: Plan
    reasons: dict[str, str]
    checks: list[Check]
    estimate: Estimate
    device: Device


def propose(
    dataset: Exported,
    base: Base,
    machine: Machine,
    *,
    given: Mapping[str, Any],
    run_folder: Path,
    pass_rate: float | None = None,
    earlier: tuple[Plan, Path] | None = None,
) -> Planned:
    """The plan of a run. `given`: what the person set, by key of the plan; `earlier`: the plan and the adapter of the
    run to go on from, whose values are taken over. Token rows that the dataset lacks are made in `run_folder`.

    Raises UserError for what cannot be.
    """
    for key in given:
        if key not in Plan.model_fields:
            raise UserError(f"unknown key `{key}`{nearest(key, list(Plan.model_fields), 'known keys:')}")
    if "data" in given or given.get("base", base.reference) != base.reference:
        raise UserError("the dataset and the base model are named with --dataset and --base, not as settings")
    backend, device, why = _backend(machine, given.get("backend"), given.get("device"))
    if base.quantised and backend == "cuda":
        raise UserError(f"{base.reference}: holds MLX's 4-bit weights, which the cuda backend cannot train on")
    if earlier:
        _refuse_to_go_on(base, backend, given, earlier)
    tokens = token_folder(dataset, base, run_folder)
    lengths = measure(tokens)
    if not lengths.train:
        raise UserError(f"{dataset.folder}: holds no example to train on; approve transcripts and export again")
    proposal = Proposal(dataset, base, backend, device, why, lengths, tokens, given, earlier)
    plan = proposal.make()
    _refuse_what_the_machine_cannot(plan, device)
    checks = data_gate(dataset, plan, base, measured=lengths, pass_rate=pass_rate)
    needed = estimate(base.config, plan)
    checks.append(_memory(base, plan, device, needed))
    return Planned(plan, proposal.reasons, checks, needed, device)


def _backend(machine: Machine, asked: Backend | None, kind: str | None) -> tuple[Backend, Device, str]:
    """(backend, device, why). Raises UserError, exit 3 where what is asked for is not installed."""
    if asked is None:
        gpu = next((device for device in machine.devices if device.kind in ("cuda", "metal")), None)
        if gpu is None or kind == "cpu":
            raise UserError(
                "no NVIDIA GPU and no Apple GPU was found; for a slow try on the CPU say --backend cuda or "
                f"--backend mlx ({_installed(machine)})"
            )
        asked = "cuda" if gpu.kind == "cuda" else "mlx"
        why = f"{gpu.name} was found"
    elif asked not in machine.backends:
        raise UserError(f"backend: {asked} is none; choose {' or '.join(machine.backends)}")
    else:
        why = "as asked for"
    found = machine.backends[asked]
    if not found.ready:
        todo = f"; {found.fix}" if found.fix else ""
        raise UserError(f"the {asked} backend cannot train here: {found.why}{todo}", exit_code=3)
    device = found.device or machine.devices[-1]
    if kind is not None and kind != device.kind:
        device = next((one for one in machine.devices if one.kind == kind), device)
        if device.kind != kind:
            have = ", ".join(one.kind for one in machine.devices)
            raise UserError(f"device: {kind} is not here; this machine has {have}")
    return asked, device, why


def _installed(machine: Machine) -> str:
    return "; ".join(
        f"{name}: {'installed' if found.ready else found.fix or found.why}" for name, found in machine.backends.items()
    )


def _refuse_to_go_on(base: Base, backend: Backend, given: Mapping[str, Any], earlier: tuple[Plan, Path]) -> None:
    plan, folder = earlier
    run = folder.parent.name
    if plan.adapter == "full":
        raise UserError(f"{run} trained all weights and has no adapter to go on from; name {folder} with --base")
    if plan.base != base.reference:
        raise UserError(
            f"{run} has an adapter for {plan.base}; it cannot go on with {base.reference}: leave out --base"
        )
    if plan.backend != backend:
        raise UserError(f"{run} was trained with {plan.backend}, this would be {backend}; say --backend {plan.backend}")
    if given.get("adapter") == "full":
        raise UserError(f"adapter: full does not go on from {run}, which has an adapter; allowed are qlora and lora")
    for key in OF_ADAPTER:
        had = getattr(plan, key)
        if key in given and (tuple(given[key]) if key == "targets" else given[key]) != had:
            raise UserError(f"{key}: {shown(given[key])} does not go with the adapter of {run}, made with {shown(had)}")


def _refuse_what_the_machine_cannot(plan: Plan, device: Device) -> None:
    """What nobody proposes, but may be asked for."""
    old = device.kind == "cuda" and device.compute is not None and device.compute < BF16_FROM
    if plan.precision == "bf16" and old:
        raise UserError(f"precision: {device.name} does not compute in bf16; allowed is fp32")
    for name in plan.track:
        if plan.backend == "mlx":
            raise UserError(f"track: the mlx backend tells no tracker, so not {name}; allowed is none")
        if find_spec(name) is None:
            raise UserError(f"track: {name} is not installed; `pip install {name}`", exit_code=3)


def _memory(base: Base, plan: Plan, device: Device, needed: Estimate) -> Check:
    free = f"{gigabytes(device.free)} free of {gigabytes(device.memory)} on {device.name}"
    text = f"about {gigabytes(needed.total)} needed, {free}"
    if needed.total <= device.free:
        return Check("Memory", "ok", text)
    fit = fitting(base.config, plan, device.free)
    advice = f"max_length {fit.max_length:,} would fit" if fit.max_length else "no max_length would fit"
    if needed.total <= device.memory:
        return Check("Memory", "warning", f"{text}: end what else uses it, or {advice}")
    return Check("Memory", "error", f"{text}; {advice}; take a smaller base, or export with a smaller max_tokens")
