"""A training run's plan and what became of the run."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Backend = Literal["cuda", "mlx"]
Device = Literal["cuda", "metal", "cpu"]
Adapter = Literal["qlora", "lora", "full"]
Schedule = Literal["cosine", "linear", "constant"]
State = Literal["planned", "running", "done", "cancelled", "failed"]

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


class Data(BaseModel):
    """The dataset of a run, as it was when the plan was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    """Where it was exported to; absolute."""
    hash: str
    tokens: Path
    """The folder with `train.jsonl` and `valid.jsonl` of `input_ids` and `labels`; absolute."""
    tokenizer: str
    """Hash of the tokenizer and chat template that made the token rows."""
    train: int = Field(ge=1)
    """Examples that are trained on."""
    valid: int = Field(ge=0)
    """Examples that the loss is measured on."""


class Plan(BaseModel):
    """All that decides what a training run does. Each value arrives in the trainer, or is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    backend: Backend
    device: Device
    base: str = Field(min_length=1)
    """The base model: an absolute folder, or a name on the Hub."""
    method: Literal["sft"] = "sft"
    adapter: Adapter = "qlora"
    """`qlora`: adapters on a base held in 4 bits; `lora`: on the base as it is; `full`: all weights are trained."""
    dora: bool = False
    """Weight-decomposed adapters."""
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    """Adapters are scaled by alpha / rank."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: tuple[str, ...] = ATTENTION
    """The linear layers that get an adapter."""
    epochs: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)
    schedule: Schedule = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    batch: int = Field(default=1, ge=1)
    """Examples in a micro-batch; with `packing` the tokens of one are at most `max_length`."""
    accumulation: int = Field(default=8, ge=1)
    """Micro-batches in an optimizer step."""
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)
    max_length: int = Field(ge=2)
    """Tokens. A longer example is refused, never cut."""
    packing: bool = False
    """Several examples in one row, each seeing only itself (CUDA backend)."""
    gradient_checkpointing: bool = True
    precision: Literal["bf16", "fp32"] = "fp32"
    """Of the computation; trained weights are always fp32."""
    eval_steps: int = Field(default=10, ge=1)
    """Optimizer steps between two measurements of the validation loss."""
    save_steps: int = Field(default=10, ge=1)
    """Equal to `eval_steps`, or no checkpoint could be the best one."""
    patience: int = Field(default=3, ge=0)
    """Measurements without a better validation loss after which training stops; 0 for never."""
    track: Annotated[tuple[Literal["mlflow", "wandb", "trackio", "tensorboard"], ...], Field()] = ()
    """Experiment trackers that are told as well."""
    start_adapter: Path | None = None
    """An adapter of an earlier run to go on from; absolute."""
    data: Data

    @field_validator("learning_rate", "weight_decay", "warmup", "dropout", "alpha", "max_grad_norm", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        # YAML 1.2 and 1.1 disagree on `2e-4`; as a text it is a number all the same.
        if isinstance(value, bool):
            raise ValueError("must be a number")
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"{value!r} is no number") from None

    @model_validator(mode="after")
    def _together(self) -> "Plan":
        if self.save_steps != self.eval_steps:
            raise ValueError(
                f"save_steps ({self.save_steps}) and eval_steps ({self.eval_steps}) must be equal: the best checkpoint "
                "is one that was measured"
            )
        if self.backend == "mlx" and self.packing:
            raise ValueError("packing is of the cuda backend; the mlx backend pads")
        if self.backend == "mlx" and self.adapter == "full":
            raise ValueError("the mlx backend trains adapters; use adapter qlora or lora, or the cuda backend")
        if self.adapter == "full" and (self.dora or self.start_adapter):
            raise ValueError("dora and start_adapter are about adapters; adapter is full")
        if self.device == "metal" and self.backend != "mlx":
            raise ValueError("the cuda backend does not train on Metal; use backend mlx")
        if self.device == "cuda" and self.backend != "cuda":
            raise ValueError("the mlx backend does not train on an NVIDIA GPU; use backend cuda")
        return self

    def micro_batches(self) -> int:
        """In an epoch, without packing."""
        return -(-self.data.train // self.batch)


class Outcome(BaseModel):
    """What a backend hands back when it has finished, cancelled or not."""

    model_config = ConfigDict(frozen=True)

    cancelled: bool = False
    stopped_early: bool = False
    steps: int
    """Optimizer steps done, counted from the very beginning."""
    rows: int = 0
    """Different training examples that were trained on."""
    first_loss: float | None = None
    last_loss: float | None = None
    base_eval_loss: float | None = None
    """Of the base model, before the first step."""
    best_eval_loss: float | None = None
    best_step: int | None = None
    adapter: Path | None = None
    """The folder with the best weights; none where cancelled before any were kept."""
    loaded_eval_loss: float | None = None
    """Of the adapter, read from disk onto a fresh base."""
    example_losses: tuple[tuple[int, float], ...] = ()
    """(row from 1, loss) of each validation example under the best weights."""
    peak_memory: int | None = None
    """Bytes."""
    tokens: int = 0
    """Tokens of the rows that were trained on, padding not counted."""
    tokens_per_s: float | None = None
