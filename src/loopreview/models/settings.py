"""`loopreview.toml`: every number has its name and default here."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from loopreview.models.hashing import content_hash

RESERVED_BACKENDS = {"check", "merged", "human", "strictest", "majority"}


FlawLevel = Literal["primary", "secondary"]


def _flaw_probability() -> dict[FlawLevel, float]:
    return {"primary": 0.5, "secondary": 0.2}


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class ModelSettings(BaseModel):
    """One model in one role."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    """litellm's model string: `provider/name`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Sent with each call: temperature, max_tokens, top_p, …"""
    api_base: str | None = None
    """Where the server listens, for Ollama, llama.cpp, vLLM, mlx_lm.server and other compatible servers."""
    api_key_env: str | None = None
    """The NAME of the environment variable that holds the key; never the key itself."""
    concurrency: int = Field(default=4, ge=1)
    """Calls under way at once to this backend."""
    timeout_s: float = Field(default=120, gt=0)
    price: Price | None = None
    answer_format: Literal["auto", "schema", "object", "text"] = "auto"
    """How a judge is asked for JSON: by schema, as any JSON object, or in words alone. `auto` tries in that order."""

    @field_validator("params")
    @classmethod
    def _no_secrets(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name.lower() in ("api_key", "key", "token", "authorization", "extra_headers", "headers"):
                raise ValueError(
                    f"`{name}` does not belong in a file: put the key in an environment variable "
                    "and name that in api_key_env"
                )
        return value

    @field_validator("api_base")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value and "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError("an address with a name or password in it does not belong in a file; use api_key_env")
        return value

    @property
    def fingerprint(self) -> str:
        """Hash of model and parameters, the part of a backend that makes its answers what they are."""
        return content_hash(self.model, self.params)


class Settings(BaseModel):
    """The settings of a workspace, with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rubric: str = "rubrics/rubric.yaml"
    reviewer: str | None = None
    """Who reviews, where `--reviewer` is not given; else the login name."""

    exchanges: tuple[int, int] = (8, 16)
    """Fewest and most exchanges of a generated transcript."""
    max_redraws: int = Field(default=2, ge=0)
    """How often a message outside its limits is asked for again before it is kept and marked."""
    reply_ratio: float = Field(default=2.0, gt=0)
    """A reply may have at most this many times the user's words."""
    response_modes: dict[str, float] = Field(
        default_factory=lambda: {"ignore": 0.3, "tangent": 0.3, "push_back": 0.2, "engage": 0.2}
    )
    """How the simulated user treats the reply before; shares that sum to 1."""
    flaw_probability: dict[FlawLevel, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=_flaw_probability)
    """Chance per message that a flaw of this level shows."""
    flawless_share: float = Field(default=0.2, ge=0, le=1)
    """Share of personas without flaws."""

    criteria_per_call: int = Field(default=0, ge=0)
    """Criteria in one judge call; 0 for all of them."""
    merge: str = "strictest"
    """`strictest`, `majority`, or the name of one judge."""

    target_pass_rate: float = Field(default=0.70, gt=0, le=1)
    revise_below: float = Field(default=0.50, ge=0, le=1)
    stable_batches: int = Field(default=2, ge=2, le=3)
    full_share: float = Field(default=0.2, ge=0, le=1)
    """Share of each batch on which every criterion is to be answered."""
    sample_share: float = Field(default=0.1, ge=0, le=1)
    """Share of criteria the judges agree about that is asked of the reviewer all the same."""
    repeat_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of what is shown to a reviewer that they decided before and see again unannounced; 0 for none."""
    labels_needed: int = Field(default=20, ge=1)
    """People's answers to a criterion before its agreement is put into words."""
    guard: bool = True
    """Ignore judging keys that come faster than a person presses them."""

    budget_usd: float | None = Field(default=None, gt=0)
    """A job stops before the call that would take its cost over this."""
    retries: int = Field(default=5, ge=0)
    """Times a call is tried again after a rate limit, a time-out or a server's error."""
    max_message_chars: int = Field(default=2_000_000, ge=1)
    """A longer message is refused on import."""

    slice_gap: tuple[int, int] = (4, 8)
    max_tokens: int = Field(default=16_000, ge=1)
    target_examples: int = Field(default=1_000, ge=1)
    base_model: str | None = None
    """The model that is trained: a folder, or a name on the Hub; its tokenizer is the export's, too."""

    user_sim: ModelSettings | None = None
    assistant: ModelSettings | None = None
    judges: dict[str, ModelSettings] = Field(default_factory=dict)

    @field_validator("exchanges", "slice_gap")
    @classmethod
    def _in_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= value[0] <= value[1]:
            raise ValueError(f"[{value[0]}, {value[1]}] must be two whole numbers, the smaller first, from 1")
        return value

    @field_validator("response_modes")
    @classmethod
    def _sums_to_one(cls, value: dict[str, float]) -> dict[str, float]:
        if any(share < 0 for share in value.values()):
            raise ValueError("a share is from 0 to 1")
        if abs(sum(value.values()) - 1) > 1e-6:
            raise ValueError(f"the shares sum to {sum(value.values()):.6g}, not 1")
        return value

    @model_validator(mode="after")
    def _names(self) -> "Settings":
        for name in self.judges:
            if name in RESERVED_BACKENDS:
                raise ValueError(f"judges.{name}: that name has a meaning of its own; choose another")
        if self.merge not in ("strictest", "majority") and self.merge not in self.judges:
            known = ", ".join(["strictest", "majority", *self.judges])
            raise ValueError(f"merge = {self.merge!r} is no rule and no judge; use one of {known}")
        return self
