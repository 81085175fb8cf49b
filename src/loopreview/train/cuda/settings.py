"""From our plan to the trainer's arguments: each value said, none left to a default that might change."""

import math
from pathlib import Path

from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from trl.trainer.sft_config import SFTConfig

from loopreview.models.training import Plan

_SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def arguments(plan: Plan, *, steps: int, folder: Path, name: str) -> SFTConfig:
    """`steps`: optimizer steps in all; `folder`: for the checkpoints; `name`: what trackers call the run."""
    found = SFTConfig(
        output_dir=str(folder),
        run_name=name,
        report_to=list(plan.track) or "none",
        use_cpu=plan.device == "cpu",
        # Without a GPU the default raises.
        bf16=plan.precision == "bf16",
        fp16=False,
        num_train_epochs=plan.epochs,
        per_device_train_batch_size=plan.batch,
        per_device_eval_batch_size=plan.batch,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=plan.learning_rate,
        lr_scheduler_type=_SCHEDULES[plan.schedule],
        warmup_steps=math.ceil(plan.warmup * steps),
        optim="adamw_torch_fused",
        adam_beta1=0.9,
        adam_beta2=0.999,
        adam_epsilon=1e-8,
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.max_grad_norm,
        seed=plan.seed,
        activation_checkpointing=plan.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy=IntervalStrategy.STEPS if plan.data.valid else IntervalStrategy.NO,
        eval_steps=plan.eval_steps,
        save_strategy=SaveStrategy.STEPS,
        save_steps=plan.save_steps,
        save_total_limit=None,  # which checkpoints may go is decided once the newer one is on the disk
        load_best_model_at_end=False,
        logging_strategy=IntervalStrategy.STEPS,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        push_to_hub=False,
        trust_remote_code=False,
        # The rows are ids and labels already: nothing is cut, dropped, packed or shuffled by trl.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        eval_packing=False,
        padding_free=False,
        shuffle_dataset=False,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_drop_last=False,
    )
    # A cluster's environment can add to what is reported to.
    found.report_to = list(plan.track)
    if found.n_gpu > 1:
        # A run is one device's; several GPUs would be joined by nn.DataParallel, which trl refuses.
        found._n_gpu = 1
    return found
