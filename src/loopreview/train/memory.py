"""How much memory a training run needs, from a model's config.json and the plan: before anything is loaded.

Sizes are in bytes, counts in numbers. T is the tokens of a micro-batch (batch x max_length), h the hidden size, i the
MLP's inner size, q and k the sizes of all query and of all key heads together, V the vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loopreview.models.errors import UserError
from loopreview.models.training import Plan

OVERHEAD = {
    ("cuda", "cuda"): 700 << 20,
    ("cuda", "cpu"): 540 << 20,
    ("mlx", "metal"): 400 << 20,
    ("mlx", "cpu"): 270 << 20,
}
"""What the framework itself takes, by backend and device.

On a GPU: a CUDA context was measured with 287 MB where kernels are loaded as they are used, as by default, and 667 MB
with all of them (pytorch/pytorch#86509); cuBLAS' workspaces and what the allocator cannot use again come on top. Where
a device shares the machine's memory: what the process holds when its libraries are loaded, measured on Linux (Metal's
own share is a guess)."""
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""Per weight, double quantisation: an 8-bit scale per 64 weights, a 32-bit one per 256 scales (QLoRA, section 3)."""
MLX_GROUP = 64
"""Weights that share a scale and an offset, in mlx's 4-bit form."""
CUDA_PIECE = 1 << 28
"""Logits that the cuda backend computes at once: `LOGITS` of `cuda/loss.py`."""
MLX_PIECE = 1 << 27
"""Logits that the mlx backend holds at a time (`_LOGITS` in mlx/loss.py)."""
STEP = 64
"""Lengths are proposed in multiples of it."""
LONGEST = 1 << 20
MOST = 4096


class Linear(NamedTuple):
    """A linear layer of a decoder layer: its sizes, and how many of it a decoder layer has (experts)."""

    inputs: int
    outputs: int
    bias: bool = False
    copies: int = 1

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * self.copies


class Shape(NamedTuple):
    """A decoder, as its config.json describes it."""

    hidden: int
    layers: int
    vocabulary: int
    tied: bool
    """The output layer is the embedding."""
    heads: int
    head_size: int
    kv_heads: int
    inner: int
    """Inner size of the MLP that a token passes: with experts, of all those that it is sent to."""
    linears: dict[str, Linear]
    """Of one decoder layer."""
    norms: int
    """Parameters of one decoder layer's norms."""
    normed: int
    """Numbers per token that go through the norms of one decoder layer."""
    experts: int
    other: int
    """Parameters outside the decoder: of the part that sees pictures."""

    @property
    def linear_weights(self) -> int:
        return self.layers * sum(linear.weights for linear in self.linears.values())

    @property
    def biases(self) -> int:
        return self.layers * sum(linear.outputs * linear.copies for linear in self.linears.values() if linear.bias)

    @property
    def embeddings(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        unquantised = self.biases + self.layers * self.norms + self.hidden + self.other
        return self.linear_weights + self.embeddings + unquantised


class Estimate(NamedTuple):
    """Bytes."""

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int
    """Of the framework itself."""

    @property
    def total(self) -> int:
        return sum(self)


class Fit(NamedTuple):
    """The largest that fits, the other one as the plan has it; None where not even the smallest does."""

    max_length: int | None
    batch: int | None


# What transformers takes where a config.json is silent (its config classes' defaults).
_SILENT: dict[str, dict[str, Any]] = {
    "gemma": {"head_dim": 256, "tie_word_embeddings": True},
    "gemma2": {"head_dim": 256, "tie_word_embeddings": True},
    "gemma3": {"tie_word_embeddings": True},
    "gemma3_text": {
        "head_dim": 256, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262_208,
        "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26, "tie_word_embeddings": True,
    },
    "qwen3": {"head_dim": 128},
    "qwen3_moe": {"head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8},
    "mixtral": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "phi3": {},
}  # fmt: skip
_BIASED = {"qwen2": ("q_proj", "k_proj", "v_proj"), "qwen2_moe": ("q_proj", "k_proj", "v_proj")}


def shape(config: Mapping[str, Any]) -> Shape:
    """Read a config.json of the Llama family and its relatives (Qwen, Mistral, Gemma, Phi-3, Mixtral).

    Raises UserError where a size that every such model has is missing.
    """
    text = config.get("text_config") or config
    kind = str(text.get("model_type") or config.get("model_type") or "")
    silent = _SILENT.get(kind, {})

    def get(name: str, default: Any = None) -> Any:
        value = text.get(name)
        return value if value is not None else silent.get(name, default)

    sizes = {}
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"):
        value = get(name)
        if not isinstance(value, int) or value < 1:
            raise UserError(
                f"config.json: the base model ({kind or 'of unknown kind'}) has no {name}; its memory cannot be "
                "estimated, so choose a base of the Llama, Qwen, Mistral, Gemma or Phi family"
            )
        sizes[name] = value
    h, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    kv = get("num_key_value_heads", heads)
    size = get("head_dim", h // heads)
    inner = get("intermediate_size", 4 * h)
    biased = _BIASED.get(kind, ("q_proj", "k_proj", "v_proj", "o_proj") if get("attention_bias") else ())
    if kind == "phi3":
        linears = {
            "qkv_proj": Linear(h, (heads + 2 * kv) * size),
            "o_proj": Linear(heads * size, h),
            "gate_up_proj": Linear(h, 2 * inner),
            "down_proj": Linear(inner, h),
        }
    else:
        linears = {
            "q_proj": Linear(h, heads * size, "q_proj" in biased),
            "k_proj": Linear(h, kv * size, "k_proj" in biased),
            "v_proj": Linear(h, kv * size, "v_proj" in biased),
            "o_proj": Linear(heads * size, h, "o_proj" in biased),
        }
    experts = get("num_local_experts", get("num_experts", 0)) or 0
    if kind != "phi3":
        wide = get("moe_intermediate_size", inner) if experts else inner
        copies, bias = experts or 1, bool(get("mlp_bias"))
        linears["gate_proj"] = linears["up_proj"] = Linear(h, wide, bias, copies)
        linears["down_proj"] = Linear(wide, h, bias, copies)
        if experts:
            linears["router"] = Linear(h, experts)
            inner = wide * get("num_experts_per_tok", 2)
    norms = normed = 4 * h if kind in ("gemma2", "gemma3_text", "gemma3") else 2 * h
    if kind in ("qwen3", "qwen3_moe", "gemma3_text", "gemma3"):
        # Of each head's queries and keys.
        norms, normed = norms + 2 * size, normed + (heads + kv) * size
    tied = config.get("tie_word_embeddings")
    return Shape(
        hidden=h,
        layers=sizes["num_hidden_layers"],
        vocabulary=sizes["vocab_size"],
        tied=bool(get("tie_word_embeddings", False) if tied is None else tied),
        heads=heads,
        head_size=size,
        kv_heads=kv,
        inner=inner,
        linears=linears,
        norms=norms,
        normed=normed,
        experts=experts,
        other=_pictures(config.get("vision_config"), h),
    )


def _pictures(vision: Mapping[str, Any] | None, hidden: int) -> int:
    """Parameters of a vision transformer and of its projection, but for biases and norms."""
    if not vision or not isinstance(vision.get("hidden_size"), int):
        return 0
    h = vision["hidden_size"]
    layer = 4 * h * h + 2 * h * vision.get("intermediate_size", 4 * h)
    # SigLIP ends with a layer that sums up, unless told.
    layers = vision.get("num_hidden_layers", 0) + bool(
        vision.get("vision_use_head", "siglip" in str(vision.get("model_type")))
    )
    patch = vision.get("patch_size", 16)
    places = (vision.get("image_size", 224) // patch) ** 2
    return int(layers * layer + (3 * patch * patch + places + hidden) * h)


def estimate(config: Mapping[str, Any], plan: Plan, *, supervised: float = 1.0) -> Estimate:
    """The peak of a run: weights, and what a micro-batch of the longest examples adds.

    `supervised` is the share of tokens that logits are computed for. It is 1 here unless told: an example may be
    nearly all reply, and the largest one decides.
    """
    found = shape(config)
    trained = found.parameters if plan.adapter == "full" else adapter_parameters(found, plan)
    tokens = plan.batch * plan.max_length
    logits = _logits(found, plan, tokens * supervised)
    return Estimate(
        weights=_weights(found, plan),
        adapters=0 if plan.adapter == "full" else 4 * trained,
        gradients=4 * trained,
        optimizer=8 * trained,
        activations=_activations(found, plan, tokens, logits),
        logits=logits,
        overhead=OVERHEAD[plan.backend, plan.device],
    )


def adapter_parameters(shape: Shape, plan: Plan) -> int:
    """Of A (in x rank) and B (rank x out) on each target; with DoRA a magnitude per output too."""
    found = 0
    for name in plan.targets:
        if linear := shape.linears.get(name):
            per = plan.rank * (linear.inputs + linear.outputs) + (linear.outputs if plan.dora else 0)
            found += per * linear.copies
    return shape.layers * found


def _weights(shape: Shape, plan: Plan) -> int:
    rest = shape.parameters - shape.linear_weights
    width = _width(plan)
    if plan.adapter == "full":
        return 4 * shape.parameters
    if plan.adapter == "lora":
        return width * shape.parameters
    if plan.backend == "mlx":
        # mlx holds embedding and output layer in 4 bits too.
        quantised = shape.linear_weights + shape.embeddings
        return int(quantised * (4 + 2 * 8 * width / MLX_GROUP) / 8) + width * (shape.parameters - quantised)
    # transformers holds the experts of a layer as one tensor, which bitsandbytes leaves as it is.
    experts = shape.layers * sum(linear.weights for linear in shape.linears.values() if linear.copies > 1)
    return int((shape.linear_weights - experts) * NF4_BITS / 8) + width * (rest + experts)


def _activations(shape: Shape, plan: Plan, tokens: int, logits: int) -> int:
    """What the forward pass keeps for the backward pass, and what computing one layer's gradients takes."""
    h, wide = shape.hidden, _width(plan)
    linear = tokens * _kept_per_token(shape, plan)
    layer = linear + _attention(shape, plan)
    # With all weights trained the residual stream is fp32, as the embeddings are.
    residual = tokens * h * (4 if plan.adapter == "full" else wide)
    kept = shape.layers * (residual if plan.gradient_checkpointing else layer)
    if plan.adapter == "full" and plan.precision == "bf16":
        # Mixed precision computes with a copy of the weights, and keeps it.
        kept += 2 * shape.linear_weights
    again = layer if plan.gradient_checkpointing else 0
    if plan.backend == "mlx":
        # mlx computes lazily: a layer's gradients come while its values, and the logits', are still held.
        return kept + again + 2 * linear
    working = again + tokens * (3 * shape.inner + 2 * h) * wide + _unpacked(shape, plan)
    # The logits' memory is free again when the first layer's gradients are computed.
    return kept + max(0, working - logits)


def _kept_per_token(shape: Shape, plan: Plan) -> int:
    """Bytes per token of one layer: what its backward pass needs."""
    h, i, wide = shape.hidden, shape.inner, _width(plan)
    q, k = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    # Queries and the attention's output, keys and values; gate, its activation, and up.
    inside = 2 * q + 2 * k + 3 * i
    adapted = [linear for name, linear in shape.linears.items() if name in plan.targets]
    entries = sum(linear.inputs for linear in adapted)
    # DoRA keeps the outputs of the layer and of the adapter, to learn their magnitude.
    magnitudes = 3 * sum(linear.outputs for linear in adapted) if plan.dora else 0
    if plan.backend == "mlx":
        # Adapters compute in fp32.
        return (inside + shape.normed + magnitudes) * wide + 4 * entries
    # Norms compute in fp32, and keep what they get.
    norms = 4 * shape.normed
    if plan.adapter == "full":
        # Norms are trained too: they keep what they have normalised as well. In bf16 each linear layer keeps a copy of
        # its own of what it gets; in fp32 the layers that get the same share it.
        inputs = i + shape.normed if wide == 4 else i + 5 * h + q
        return inside * wide + 2 * norms + inputs * wide
    mask = 0 if not plan.dropout else 1 if plan.device == "cuda" else 4
    return inside * wide + norms + entries * (wide + mask) + magnitudes * wide


def _attention(shape: Shape, plan: Plan) -> int:
    """Bytes per layer that grow with the square of the length."""
    square = plan.batch * plan.max_length**2
    if plan.backend == "mlx":
        # mlx computes the attention of a training step in its plain form: each head's scores and weights are kept.
        return 2 * square * shape.heads * _width(plan)
    # The mask of padded or packed rows, in the form that the kernel takes.
    return square * _width(plan) if plan.packing or plan.batch > 1 else 0


def _unpacked(shape: Shape, plan: Plan) -> int:
    """A layer's 4-bit weights while they are computed with; mlx needs no unpacking. With DoRA the full product of the
    adapter's matrices too."""
    largest = max(linear.inputs * linear.outputs for linear in shape.linears.values())
    unpacked = largest * _width(plan) if plan.adapter == "qlora" and plan.backend == "cuda" else 0
    return unpacked + (2 * 4 * largest if plan.dora else 0)


def _logits(shape: Shape, plan: Plan, tokens: float) -> int:
    """In fp32: torch holds the logarithms of the probabilities, and the gradients of these and of the logits at once;
    mlx the logits as well."""
    if plan.backend == "cuda":
        return int(3 * 4 * shape.vocabulary * min(tokens, max(1, CUDA_PIECE // shape.vocabulary)))
    return int(4 * 4 * shape.vocabulary * min(tokens, max(32, MLX_PIECE // shape.vocabulary)))


def _width(plan: Plan) -> int:
    """Bytes of a number that is computed with."""
    return 2 if plan.precision == "bf16" else 4


def fitting(config: Mapping[str, Any], plan: Plan, free: int, *, supervised: float = 1.0) -> Fit:
    """What fits into `free` bytes: the largest max_length (a multiple of 64) at the plan's batch, and the largest batch
    at the plan's max_length."""

    def fits(change: Mapping[str, int]) -> bool:
        return estimate(config, plan.model_copy(update=dict(change)), supervised=supervised).total <= free

    lengths = _largest(lambda n: fits({"max_length": n * STEP}), LONGEST // STEP)
    return Fit(lengths * STEP if lengths else None, _largest(lambda n: fits({"batch": n}), MOST) or None)


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest of 1..most that fits, 0 where none does; what fits is all below it."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
