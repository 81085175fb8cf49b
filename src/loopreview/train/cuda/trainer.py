"""trl's trainer with our rows, our order, our loss, and our word on when to measure, save and stop."""

import math
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from trl.trainer.sft_trainer import SFTTrainer

from loopreview.models.errors import UserError
from loopreview.train.backend import Task
from loopreview.train.cuda.batches import Batch, Order, Unit, collate, optimizer_steps
from loopreview.train.cuda.checkpoints import Checkpoints, Progress
from loopreview.train.cuda.load import pad_id
from loopreview.train.cuda.loss import Measured, computing, loss_sum, measure, on_device, sees_neighbours
from loopreview.train.cuda.settings import arguments


class Stopped(Exception):
    """Training need not go on, or not begin: the person asked, or the run is over already."""


class LoopTrainer(SFTTrainer):
    """One run's training loop. The steps are transformers' own."""

    model: Any
    optimizer: Any
    loss_is_scaled_for_ga: Any

    def __init__(self, task: Task, model: Any, processing_class: Any, progress: Progress) -> None:
        self.task, self.plan, self.progress = task, task.plan, progress
        self.order = Order(task.plan, task.train)
        self.pad = pad_id(model)
        self.saved = Checkpoints(task.folder / "checkpoints")
        self.cancelled = False
        # trl rounds the trainable weights of a 4-bit model to bf16; training so would not be exact over a resume.
        exact = {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(
                model=model,
                args=arguments(
                    task.plan,
                    steps=optimizer_steps(task.plan, task.train),
                    folder=self.saved.folder,
                    name=task.folder.name,
                ),
                # The rows themselves come from get_train_dataloader and evaluate: trl must not touch them.
                train_dataset=_places(task.train),
                eval_dataset=_places(task.valid) if task.valid else None,
                processing_class=processing_class,
                data_collator=self.collated,
                callbacks=[_Watch(self)],
            )
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                weight.data = exact[name].to(weight.device, torch.float32)
        # What compute_loss returns is divided by the supervised tokens of the whole step already.
        self.loss_is_scaled_for_ga = True
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def _send_telemetry(self) -> None:
        """trl tells its makers of each run: the model's architecture, the GPU. Nothing leaves this machine."""

    # Data

    def collated(self, batch: Sequence[Unit]) -> Batch:
        return collate(self.task.train, batch, pad=self.pad, packing=self.plan.packing)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(_Same(), batch_sampler=self.order, collate_fn=self.collated)  # type: ignore[arg-type]

    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        return len(self.task.train)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], int]:
        """The micro-batches of an optimizer step, and the supervised tokens in all of them."""
        found = list(islice(epoch_iterator, num_batches))
        return found, sum(batch["items"] for batch in found)

    # Loss

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        self.progress.tokens += inputs["tokens"]
        for place in inputs["places"]:
            self.progress.seen |= 1 << place
        return loss

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        items: int = num_items_in_batch or inputs["items"]
        with computing(self.plan):
            return loss_sum(model, inputs) / items

    def floating_point_ops(self, inputs: Batch) -> int:
        """Nobody asks, and counting goes through all weights at each micro-batch."""
        return 0

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation loss, unless the person asks to stop meanwhile: a resume does it then."""
        step = self.state.global_step
        found = measure(self.model_wrapped, self.task.valid, self.plan, pad=self.pad, stop=self.task.stop)
        if found is None:
            self.cancelled = True
            self.control.should_training_stop = self.control.should_save = True
            return {}
        self._took(step, found)
        metrics = {"eval_loss": found.loss}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _took(self, step: int, found: Measured) -> None:
        self.task.report.eval(step, found.loss)
        progress = self.progress
        progress.measured = step
        if step == 0:
            progress.base_loss = found.loss
        elif math.isfinite(found.loss) and (progress.best_loss is None or found.loss < progress.best_loss):
            progress.best_loss, progress.best_step, progress.worse = found.loss, step, 0
        else:
            progress.worse += 1
        if self.plan.patience and progress.worse >= self.plan.patience and step < self.state.max_steps:
            progress.stopped_early = True
            self.control.should_training_stop = True

    # Checkpoints

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Not trl's, which writes a model card into each.
        Trainer._save_checkpoint(self, model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        options = {} if self.plan.adapter == "full" else {"save_embedding_layers": False}
        self.model.save_pretrained(output_dir, state_dict=state_dict, **options)

    def is_due(self, step: int) -> bool:
        """Whether the validation loss is measured after this step."""
        return bool(self.task.valid) and (step % self.plan.eval_steps == 0 or step >= self.state.max_steps)

    def mark(self) -> None:
        """Say that the checkpoint of this step is complete; only then may older ones go."""
        step, progress = self.state.global_step, self.progress
        progress.step = step
        if not self.task.valid:
            progress.best_step = step
        over = step >= self.state.max_steps or progress.stopped_early
        progress.finished = over and (not self.task.valid or progress.measured == step)
        folder = self.saved.complete(step, progress)
        self.saved.keep(step, progress.best_step)
        self.task.report.checkpoint(step, folder)

    # Memory

    def probe(self) -> None:
        """Forward and backward of the longest micro-batch there is, so that too little memory shows before the first
        step. Leaves no trace: random numbers, gradients and counts are as they were."""
        batch = self.order.longest()
        cuda = [torch.cuda.current_device()] if self.plan.device == "cuda" else []
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        with torch.random.fork_rng(devices=cuda):
            # The optimizer's two moments, where they are not there yet.
            moments = None if self.optimizer.state else [torch.empty_like(weight) for weight in trained for _ in "12"]
            inputs = on_device(self.collated(batch), self.args.device)
            self.model_wrapped.train()
            with computing(self.plan):
                loss = loss_sum(self.model_wrapped, inputs)
            torch.autograd.backward(loss)
            del loss, inputs, moments
            if self.plan.packing and sees_neighbours(
                self.model_wrapped, self.task.train, self.order.units, plan=self.plan, pad=self.pad
            ):
                raise UserError("packing: this base lets packed examples see each other; use --set packing=false")
        self.model_wrapped.zero_grad()


class _Watch(TrainerCallback):
    """Tells the report what happens, and the loop when to stop."""

    def __init__(self, trainer: LoopTrainer) -> None:
        self.trainer = trainer
        self._began = time.perf_counter()
        self._tokens = 0

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        trainer = self.trainer
        trainer.task.report.steps = state.max_steps
        if trainer.task.stop():
            raise Stopped
        trainer.task.report.note("trying the longest examples")
        trainer.probe()
        step, progress = state.global_step, trainer.progress
        missed = (step == 0 or trainer.is_due(step)) and progress.measured != step
        if not trainer.task.valid or not missed:
            return
        # Before the first step; or after a stop that did not wait for this step's measurement.
        trainer.task.report.note("measuring the base model" if step == 0 else "measuring the validation loss")
        trainer.evaluate()
        if trainer.cancelled:
            raise Stopped
        if step:
            trainer.mark()
        if progress.finished:
            raise Stopped

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # At the end of an epoch this is its number exactly, for it is n + k / k.
        self.trainer.order.epoch = int(state.epoch or 0)

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began, self._tokens = time.perf_counter(), self.trainer.progress.tokens

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.trainer.task.stop():
            self.trainer.cancelled = True
            control.should_evaluate = False
            control.should_save = control.should_training_stop = True

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        trainer, progress = self.trainer, self.trainer.progress
        seconds = time.perf_counter() - self._began
        progress.seconds += seconds
        progress.last_loss = logs["loss"]
        if progress.first_loss is None:
            progress.first_loss = logs["loss"]
        progress.peak_memory = max(progress.peak_memory, peak_memory(trainer.plan.device))
        if not math.isfinite(logs["loss"]):
            trainer.task.report.warning(
                f"step {state.global_step}: the loss is no number; the learning rate may be too high"
            )
        trainer.task.report.step(
            state.global_step,
            epoch=state.epoch or 0.0,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=logs.get("grad_norm"),
            tokens_per_s=(progress.tokens - self._tokens) / max(seconds, 1e-9),
            tokens=progress.tokens,
            peak_memory=peak_memory(trainer.plan.device),
        )

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.trainer.mark()


def peak_memory(device: str) -> int:
    """Bytes: of the GPU, or of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


class _Same:
    """A data set whose item is what was asked for: units, which the collator makes tensors of."""

    def __getitem__(self, unit: Unit) -> Unit:
        return unit


def _places(rows: Sequence[Any]) -> Dataset:
    return Dataset.from_dict({"place": range(len(rows))})
