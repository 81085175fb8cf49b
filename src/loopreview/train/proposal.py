"""The values of a plan, each with its reason, and what they are reckoned from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopreview.formats.exported import Exported
from loopreview.models.errors import UserError
from loopreview.models.training import ATTENTION, MLP, Backend, Plan
from loopreview.train.base import Base
from loopreview.train.machine import Device
from loopreview.train.memory import estimate
from loopreview.train.order import steps_per_epoch
from loopreview.train.plan_file import checked
from loopreview.train.prepare import Measured

SMALL = 300_000_000
"""Parameters below which a CPU gains nothing from holding the base in 4 bits."""
STEP = 64
"""max_length is a multiple of it."""
ACCUMULATION = 8
STEPS_AT_LEAST = 4
"""In an epoch, where the examples suffice."""
MEASUREMENTS = 4
"""In an epoch."""
BF16_FROM = 8.0
"""Compute capability of NVIDIA GPUs."""
_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack")
"""Names of layers that hold q, k and v in one."""
OF_ADAPTER = ("rank", "alpha", "targets", "dora")
"""What an adapter is made with, and cannot be changed later."""
_KEPT = (
    "adapter", *OF_ADAPTER, "dropout", "epochs", "learning_rate", "schedule", "warmup", "batch", "accumulation",
    "weight_decay", "max_grad_norm", "seed", "packing", "gradient_checkpointing", "patience", "track",
)  # fmt: skip
"""What `--from RUN` takes over; the rest follows from data and machine."""


class Proposal:
    """A plan in the making: each value is what was given, else what the earlier run had, else what is proposed."""

    def __init__(
        self,
        dataset: Exported,
        base: Base,
        backend: Backend,
        device: Device,
        why_backend: str,
        lengths: Measured,
        tokens: Path,
        given: Mapping[str, Any],
        earlier: tuple[Plan, Path] | None,
    ) -> None:
        self.base, self.device, self.lengths, self.earlier = base, device, lengths, earlier
        self.reasons: dict[str, str] = {}
        self._values: dict[str, Any] = {}
        fixed = {
            "backend": backend,
            "device": device.kind,
            "base": base.reference,
            "method": given.get("method", "sft"),
            "data": {
                "folder": dataset.folder,
                "hash": dataset.hash,
                "tokens": tokens.absolute(),
                "tokenizer": base.tokenizer.hash,
                "train": len(lengths.train),
                "valid": len(lengths.valid),
            },
        }
        given = dict(given)
        steps = given.get("eval_steps", given.get("save_steps"))
        if steps is not None:  # one of the two is enough
            given = {"eval_steps": steps, "save_steps": steps, **given}
        # Each value by itself, so that what is reckoned from it is reckoned from what it can be.
        whole = checked({"max_length": STEP, **given, **fixed}, "settings")
        self.given = {key: getattr(whole, key) for key in given if key not in fixed}
        self._values.update(fixed)
        own = dataset.folder / "tokens" == tokens
        rows = "the dataset's own token rows" if own else "token rows made for this base"
        self.reasons |= {
            "backend": why_backend,
            "device": f"{device.name}, {gigabytes(device.free)} free of {gigabytes(device.memory)}",
            "base": f"{millions(base.parameters)} parameters",
            "method": "supervised fine-tuning: the model learns the replies of the examples",
            "data": f"{len(lengths.train):,} examples to train on, {len(lengths.valid):,} to measure on; {rows}",
        }

    def make(self) -> Plan:
        """Raises UserError where the values do not go together."""
        self._adapter()
        self._length()
        self._packing()
        self._optimizer()
        self._steps()
        self._machine()
        if self.earlier:
            self._put("start_adapter", self.earlier[1].absolute(), f"goes on from the adapter of {self._run}")
        else:
            self._put("start_adapter", None, "begins with new adapters; --from RUN goes on from a run's")
        return checked(self._values, "settings")

    @property
    def _run(self) -> str:
        return self.earlier[1].parent.name if self.earlier else ""

    def _put(self, key: str, value: Any, why: str) -> Any:
        if key in self.given:
            value, why = self.given[key], "as asked for"
        elif self.earlier and key in _KEPT:
            value, why = getattr(self.earlier[0], key), f"as in {self._run}"
        self._values[key] = value
        self.reasons[key] = why
        return value

    def _adapter(self) -> None:
        put, base = self._put, self.base
        small = self.device.kind == "cpu" and base.parameters < SMALL and not base.quantised
        adapter = put(
            "adapter",
            "lora" if small else "qlora",
            f"adapters on the base as it is; {millions(base.parameters)} parameters on a CPU gain nothing from 4 bits"
            if small
            else f"adapters on the base held in 4 bits: {millions(base.parameters)} parameters take about "
            f"{gigabytes(base.parameters * 0.56)} instead of {gigabytes(base.parameters * 2)}",
        )
        unused = "unused, all weights are trained"
        full = adapter == "full"
        put("dora", False, unused if full else "weight-decomposed adapters are slower, and seldom better")
        rank = put(
            "rank", 16, unused if full else "the usual size; 4 to 8 is enough for a format, 32 to 64 suits a new field"
        )
        put(
            "alpha",
            2.0 * rank,
            unused if full else f"twice the rank of {rank}: adapters are scaled by alpha / rank = 2",
        )
        put(
            "dropout",
            0.05,
            unused if full else "5 % of an adapter's inputs are left out in each step, against learning by heart",
        )
        self._targets(full)

    def _targets(self, full: bool) -> None:
        here = self.base.linear_layers
        attention = tuple(name for name in ATTENTION if name in here)
        if not set(attention) - {"o_proj"}:
            attention = tuple(name for name in _FUSED if name in here) + attention
        if not full and not attention and "targets" not in self.given and not self.earlier:
            raise UserError(
                f"{self.base.reference}: has no attention layers of a known name; choose with --set targets= from "
                f"{', '.join(here)}"
            )
        rest = ", ".join(name for name in here if name in MLP or name == "gate_up_proj")
        more = f"; {rest} can be added" if rest else ""
        why = "unused, all weights are trained" if full else f"the attention's layers in this model{more}"
        targets = self._put("targets", attention or ATTENTION, why)
        missing = [] if full else [name for name in targets if name not in here]
        if missing:
            raise UserError(
                f"targets: {', '.join(missing)} is no layer of {self.base.name}; allowed are {', '.join(here)}"
            )
        if not full and not targets:
            raise UserError(f"targets: at least one layer is needed; allowed are {', '.join(here)}")

    def _optimizer(self) -> None:
        put, count = self._put, len(self.lengths.train)
        epochs = put("epochs", 3, f"3 epochs of {count:,} examples: each is seen 3 times, {3 * count:,} in all")
        full = self._values["adapter"] == "full"
        put(
            "learning_rate",
            2e-5 if full else 2e-4,
            "usual where all weights are trained; adapters take ten times as much"
            if full
            else "usual for adapters: ten times what is usual where all weights are trained",
        )
        put("schedule", "cosine", "the learning rate falls to 0, slowly at first and at the end")
        batch = put("batch", 1, "one example at a time takes the least memory; accumulation makes the steps larger")
        packed = self._values["packing"]
        micro = -(-sum(self.lengths.train) // self._values["max_length"]) if packed else -(-count // batch)
        most = max(1, ACCUMULATION // batch)
        fits = next((n for n in range(most, 0, -1) if steps_per_epoch(micro, n) >= STEPS_AT_LEAST), 1)
        size = f"{batch} × {fits} = {batch * fits} examples in a step"
        put(
            "accumulation",
            fits,
            size
            if fits == most
            else f"{size}; with {most} an epoch of {count:,} would be under {STEPS_AT_LEAST} steps",
        )
        self._epoch = steps_per_epoch(micro, self._values["accumulation"])
        steps = epochs * self._epoch
        put("warmup", 0.1, f"the learning rate rises in the first 10 % of {steps:,} steps")
        put("weight_decay", 0.01, "usual: weights that nothing in the examples asks for shrink a little")
        put("max_grad_norm", 1.0, "a gradient longer than this is shortened, so that one example cannot undo the rest")
        put("seed", 0, "the same seed gives the same order of examples")

    def _length(self) -> None:
        longest, split, row = self.lengths.longest
        limit = self.base.positions
        rounded = -(-longest // STEP) * STEP
        fits = min(rounded, limit) if limit else rounded
        why = f"the longest example has {longest:,} tokens ({split}, row {row}), rounded up to a multiple of {STEP}"
        if fits < rounded:
            why = f"the longest example has {longest:,} tokens; the model takes {limit:,} at most"
        if self.earlier and self.earlier[0].max_length >= fits and "max_length" not in self.given:
            fits, why = self.earlier[0].max_length, f"as in {self._run}; the longest example has {longest:,} tokens"
        found = self._put("max_length", fits, why)
        if limit and found > limit:
            raise UserError(f"max_length: {found:,} is more than {self.base.name} takes; allowed are up to {limit:,}")

    def _packing(self) -> None:
        longest, median = self.lengths.longest[0], self.lengths.median
        cuda = self.device.kind == "cuda"
        why = f"an example has {median:,} tokens in the middle, {longest:,} at most"
        if cuda and 2 * median <= self._values["max_length"]:
            together = self._values["max_length"] // max(1, median)
            why += f"; packing=yes would put about {together} into a row of max_length, and be faster"
        self._put("packing", False, why)

    def _steps(self) -> None:
        valid = len(self.lengths.valid)
        every = max(1, round(self._epoch / MEASUREMENTS))
        times = math.ceil(self._epoch / every)
        of = f"an epoch has {self._epoch:,} steps"
        self._put(
            "eval_steps",
            every,
            f"the loss of {valid:,} examples is measured about {times} times an epoch; {of}"
            if valid
            else f"there is nothing to measure on; {of}",
        )
        self._put(
            "save_steps", self._values["eval_steps"], "equal to eval_steps, so that the best measured one is kept"
        )
        self._put(
            "patience",
            3,
            "training stops after 3 measurements without a better validation loss"
            if valid
            else "unused, there is nothing to measure on",
        )
        self._put("track", (), "no experiment tracker is told; --track names one")

    def _machine(self) -> None:
        device, values = self.device, self._values
        fast = device.kind != "cpu"
        old = device.kind == "cuda" and device.compute is not None and device.compute < BF16_FROM
        precision = "bf16" if fast and not old else "fp32"
        why = f"what {device.name} computes fastest" if fast else "a CPU gains nothing from fewer bits"
        self._put("precision", precision, f"{device.name} has no bf16" if old else why)
        without = checked({**values, "gradient_checkpointing": False}, "settings")
        needed = estimate(self.base.config, without).total
        short = needed > device.free
        self._put(
            "gradient_checkpointing",
            fast or short,
            f"what the gradients need is computed again instead of kept; without it the estimate is {gigabytes(needed)}"
            if fast or short
            else f"not needed: the estimate without it is {gigabytes(needed)}, {gigabytes(device.free)} are free",
        )


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def millions(count: int) -> str:
    return f"{count / 1e9:.1f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"
