"""The training loop: steps, measurements, checkpoints, and the proof that what came out loads."""

import gc
import hashlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.optimizers
import mlx_lm.utils
from mlx.utils import tree_unflatten

from loopreview.models.errors import UserError
from loopreview.models.training import Outcome
from loopreview.runs import Run
from loopreview.train import order
from loopreview.train.backend import Task
from loopreview.train.mlx.adapter import adapter_config, start_weights
from loopreview.train.mlx.batches import Batch, batch, width
from loopreview.train.mlx.checkpoints import ADAPTER, ADAPTER_CONFIG, Checkpoints, State, Weights, move_whole
from loopreview.train.mlx.loss import TokenLosses, row_losses
from loopreview.train.mlx.memory import memory_errors, peak_memory, try_longest
from loopreview.train.mlx.model import (
    Dice,
    add_adapters,
    base_folder,
    in_precision,
    load_base,
    quiet,
    recomputed,
    trained,
    use_device,
)
from loopreview.train.schedule import learning_rate

_NEAR = 1e-3
"""Of the best validation loss: how far that of the adapter as loaded may be from it."""


def train(task: Task) -> Outcome:
    """Raises UserError, and OutOfMemory where the device has too little."""
    plan = task.plan
    long = max(range(len(task.train)), key=lambda n: len(task.train[n].ids))
    if len(task.train[long].ids) > plan.max_length:
        raise UserError(
            f"example {long + 1} has {len(task.train[long].ids)} tokens, max_length is {plan.max_length}; "
            "set a greater max_length, or export shorter examples"
        )
    if plan.track:
        raise UserError(
            f"track={','.join(plan.track)}: the mlx backend tells no tracker; leave track out, its losses are in "
            "events.jsonl of the run"
        )
    use_device(plan)
    with memory_errors(), ExitStack() as stack:
        return _Training(task, stack).run()


def random_key(seed: int, step: int, micro_batch: int) -> mx.array:
    """Of the dropout of a micro-batch: the same after a resume."""
    said = hashlib.sha256(f"{seed}-{step}-{micro_batch}".encode()).digest()
    key: mx.array = mx.random.key(int.from_bytes(said[:8], "big") >> 1)
    return key


class _Training:
    def __init__(self, task: Task, stack: ExitStack) -> None:
        self._task, self._plan = task, task.plan
        plan = task.plan
        self._run = Run(task.folder)
        self._checkpoints = Checkpoints(self._run.checkpoints)
        self._lengths = [len(row.ids) for row in task.train]
        self._per_epoch = order.steps_per_epoch(plan.micro_batches(), plan.accumulation)
        self.total = self._per_epoch * plan.epochs
        self._epoch: tuple[int, list[list[int]]] = (-1, [])
        if len(task.train) != plan.data.train or len(task.valid) != plan.data.valid:
            raise UserError(
                f"the plan says {plan.data.train} examples to train and {plan.data.valid} to measure, the rows are "
                f"{len(task.train)} and {len(task.valid)}; make the plan again"
            )
        task.report.steps = self.total

        self._base = base_folder(plan, task.base, task.folder.parent, task.report.note)
        task.report.note(f"loading the base model{' in 4 bits' if plan.adapter == 'qlora' else ''}")
        self._model = load_base(self._base, plan)
        self._dice = Dice()
        parameters = add_adapters(self._model, plan, self._dice)
        self._config = adapter_config(len(self._model.layers), parameters, plan, self._base)
        self._weights: Weights = trained(self._model)
        if plan.start_adapter:
            self._weights = start_weights(plan.start_adapter, plan, self._config, self._weights)
        self._optimizer = mlx.optimizers.AdamW(
            learning_rate=0.0, betas=[0.9, 0.999], eps=1e-8, weight_decay=plan.weight_decay, bias_correction=True
        )
        self._optimizer.init(self._weights)
        self._state = State()
        self._resume()
        self._losses = TokenLosses(self._model)
        if plan.gradient_checkpointing:
            stack.enter_context(recomputed(self._model, self._dice))
        self._compile()
        self._trained, self._seconds = 0, 0.0

    def _resume(self) -> None:
        if not self._task.resume:
            self._checkpoints.clear()
            return
        found = self._checkpoints.newest()
        if found is None:
            return
        same = {name: value.shape for name, value in found.weights.items()} == {
            name: value.shape for name, value in self._weights.items()
        }
        if not same:
            raise UserError(
                f"{self._checkpoints.path(found.state.step)}: its adapters are not the plan's; start a new run"
            )
        # In the order of names as before: sums over all weights depend on it in the last bit.
        self._state, self._weights = found.state, {name: found.weights[name] for name in self._weights}
        self._optimizer.state.update(found.optimizer)

    def _compile(self) -> None:
        model, losses, dice, optimizer = self._model, self._losses, self._dice, self._optimizer
        most = self._plan.max_grad_norm

        def summed(weights: Weights, weighing: mx.array, key: mx.array, given: Sequence[mx.array]) -> mx.array:
            model.update(tree_unflatten(list(weights.items())))
            with dice.thrown(key):
                return (losses(given) * weighing).sum()

        with_gradient = mx.value_and_grad(summed)

        def accumulate(
            weights: Weights, before: Weights, weighing: mx.array, key: mx.array, given: Sequence[mx.array]
        ) -> tuple[mx.array, Weights]:
            loss, found = with_gradient(weights, weighing, key, given)
            return loss, {name: value + found[name] for name, value in before.items()}

        def update(weights: Weights, gradient: Weights, supervised: mx.array) -> tuple[Weights, mx.array]:
            gradient = {name: value / supervised for name, value in gradient.items()}
            gradient, norm = mlx.optimizers.clip_grad_norm(gradient, most)
            return optimizer.apply_gradients(gradient, weights), norm

        def measured(weights: Weights, given: Sequence[mx.array]) -> mx.array:
            model.update(tree_unflatten(list(weights.items())))
            return losses(given)

        self._accumulate, self._measured = mx.compile(accumulate), mx.compile(measured)
        self._update = mx.compile(update, inputs=optimizer.state, outputs=optimizer.state)

    def run(self) -> Outcome:
        task, state, plan = self._task, self._state, self._plan
        if not task.valid:
            task.report.warning("no validation examples: no early stopping, the last weights are taken")
        if state.step < self.total and not self._over():
            task.report.note("trying the longest examples")
            self._try_memory()
        if state.step == 0 and task.valid:
            task.report.note("measuring the base model")
            state.base_loss = self._measure()
            if state.base_loss is None:
                return self._outcome(cancelled=True)
            task.report.eval(0, state.base_loss)
        if not state.measured and not self._judge():
            return self._outcome(cancelled=True)
        if task.stop():
            # Nothing was done since the last checkpoint.
            return self._outcome(cancelled=True)
        while state.step < self.total and not self._over():
            self._step()
            due = state.step % plan.eval_steps == 0 or state.step == self.total
            state.measured = not (due and task.valid)
            stopped = task.stop() or not (state.measured or self._judge())
            if due or stopped:
                self._save()
            if stopped:
                return self._outcome(cancelled=True)
        return self._finish()

    def _over(self) -> bool:
        return 0 < self._plan.patience <= self._state.waited

    def _order(self, epoch: int) -> list[list[int]]:
        if self._epoch[0] != epoch:
            plan = self._plan
            self._epoch = (epoch, order.micro_batches(self._lengths, plan.batch, seed=plan.seed, epoch=epoch))
        return self._epoch[1]

    def _step(self) -> None:
        state, plan, began = self._state, self._plan, time.perf_counter()
        epoch, place = divmod(state.step, self._per_epoch)
        places = self._order(epoch)
        some = places[place * plan.accumulation : (place + 1) * plan.accumulation]
        rate = learning_rate(plan, state.step, self.total)
        gradient = self._zeros()
        losses, supervised, tokens = [], 0, 0
        for n, members in enumerate(some):
            given = batch([self._task.train[member] for member in members])
            loss, gradient = self._forward_backward(gradient, given, random_key(plan.seed, state.step, n))
            mx.eval(loss, gradient)
            losses.append(float(loss.item()))
            supervised += given.supervised
            tokens += given.tokens
        self._optimizer.learning_rate = rate
        self._weights, norm = self._update(self._weights, gradient, mx.array(supervised, mx.float32))
        mx.eval(self._weights, self._optimizer.state, norm)
        # Shapes vary from step to step; buffers of the last one's are of no use to the next.
        mx.clear_cache()
        seconds = time.perf_counter() - began
        mean = math.fsum(losses) / supervised
        if not math.isfinite(mean):
            raise UserError(
                f"step {state.step + 1}: the loss is {mean}; use a smaller learning_rate, or precision=fp32",
                exit_code=3,
            )
        state.step += 1
        state.micro_batch += len(some)
        state.epoch = epoch + min(1.0, (place + 1) * plan.accumulation / len(places))
        state.first_loss = mean if state.first_loss is None else state.first_loss
        state.last_loss = mean
        state.tokens += tokens
        self._trained += tokens
        self._seconds += seconds
        self._task.report.step(
            state.step,
            epoch=state.epoch,
            loss=mean,
            learning_rate=rate,
            grad_norm=float(norm.item()),
            tokens_per_s=tokens / seconds,
            tokens=state.tokens,
            peak_memory=peak_memory(),
        )

    def _zeros(self) -> Weights:
        return {name: mx.zeros_like(value) for name, value in self._weights.items()}

    def _forward_backward(self, before: Weights, given: Batch, key: mx.array) -> tuple[mx.array, Weights]:
        self._model.train()
        found: tuple[mx.array, Weights] = self._accumulate(self._weights, before, given.weights, key, given[:3])
        return found

    def _try_memory(self) -> None:
        """A forward and backward pass of the micro-batch that takes most memory; its result is not used, and the
        random keys of the steps are no others for it."""
        most: list[int] = []
        for epoch in range(self._plan.epochs):
            for members in order.micro_batches(self._lengths, self._plan.batch, seed=self._plan.seed, epoch=epoch):
                if self._size(members) > self._size(most):
                    most = members
        key = random_key(self._plan.seed, 0, 0)
        try_longest(
            [self._task.train[member] for member in most],
            lambda rows: mx.eval(self._forward_backward(self._zeros(), batch(rows), key)),
        )

    def _size(self, members: list[int]) -> tuple[int, int]:
        lengths = [self._lengths[member] for member in members]
        return (len(lengths) * width(lengths), max(lengths)) if lengths else (0, 0)

    def _rows(self, losses: Callable[[Batch], mx.array], **more: Any) -> Any:
        return row_losses(losses, self._task.valid, self._plan.batch, **more)

    def _measure(self) -> float | None:
        """The loss over all validation examples; none where stopped."""
        self._model.eval()
        found = self._rows(lambda given: self._measured(self._weights, given[:3]), stop=self._task.stop)
        mx.clear_cache()
        return None if found is None else float(found[0].sum() / found[1].sum())

    def _judge(self) -> bool:
        """Measure, and keep in mind which step was best. False where stopped."""
        state, loss = self._state, self._measure()
        if loss is None:
            return False
        state.measured = True
        self._task.report.eval(state.step, loss)
        if math.isfinite(loss) and (state.best_loss is None or loss < state.best_loss):
            state.best_step, state.best_loss, state.waited = state.step, loss, 0
        else:
            state.waited += 1
        return True

    def _save(self) -> None:
        state = self._state
        path = self._checkpoints.save(state, self._weights, self._optimizer.state, self._config)
        self._task.report.checkpoint(state.step, path)

    def _finish(self) -> Outcome:
        state, task, run = self._state, self._task, self._run
        from_step = state.best_step if task.valid and state.best_step is not None else state.step
        beside = run.adapter.with_name("adapter.partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for name in (ADAPTER, ADAPTER_CONFIG):
            shutil.copyfile(self._checkpoints.path(from_step) / name, beside / name)
        move_whole(beside, run.adapter)
        stopped_early = state.step < self.total
        if not task.valid:
            return self._outcome(adapter=run.adapter, best_step=from_step, stopped_early=stopped_early)
        sums, counts = self._prove(run.adapter)
        loaded = float(sums.sum() / counts.sum())
        best = state.best_loss or 0.0
        if abs(loaded - best) > _NEAR * abs(best):
            task.report.warning(
                f"the adapter as loaded has a validation loss of {loaded:.4f}, in training it had {best:.4f}"
            )
        each = tuple((n + 1, float(loss / count)) for n, (loss, count) in enumerate(zip(sums, counts, strict=True)))
        return self._outcome(
            adapter=run.adapter, stopped_early=stopped_early, loaded_eval_loss=loaded, example_losses=each
        )

    def _prove(self, adapter: Path) -> Any:
        """Read the adapter onto a fresh base as mlx-lm does it, and measure that."""
        self._task.report.note("checking the result: reading it back from the disk")
        # The trained model goes first: there may not be room for two.
        del self._model, self._losses, self._accumulate, self._update, self._measured, self._weights
        gc.collect()
        mx.clear_cache()
        with quiet():
            model, _ = mlx_lm.utils.load(str(self._base), adapter_path=str(adapter), lazy=True)[:2]
        in_precision(model, self._plan)
        mx.eval(model.parameters())
        model.eval()
        losses = TokenLosses(model)
        return self._rows(lambda given: losses(given[:3]))

    def _outcome(self, **more: Any) -> Outcome:
        state = self._state
        first = self._order(0)
        seen = first[: state.micro_batch]
        return Outcome(
            **{
                "steps": state.step,
                "rows": sum(len(members) for members in seen),
                "first_loss": state.first_loss,
                "last_loss": state.last_loss,
                "base_eval_loss": state.base_loss,
                "best_eval_loss": state.best_loss,
                "best_step": state.best_step,
                "peak_memory": peak_memory(),
                "tokens": state.tokens,
                "tokens_per_s": self._trained / self._seconds if self._seconds else None,
                **more,
            }
        )
