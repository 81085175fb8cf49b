"""What a run says of itself in words: its model card (README.md), from the files of its folder alone."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from loopreview.models.training import Plan
from loopreview.rules.safe_text import safe
from loopreview.runs import Run
from loopreview.train.gates import QUESTIONS

_ADAPTERS = {
    "qlora": "low-rank adapters (QLoRA) on the base held in 4 bits",
    "lora": "low-rank adapters (LoRA) on the base as it is",
    "full": "all weights of the base",
}
_LIBRARY = {"cuda": "peft", "mlx": "mlx"}
_GB = 1e9
_WRITTEN = ".card.sha256"


def write_card(run: Run, plan: Plan) -> bool:
    """Write the run's card anew. One that a person edited since is theirs: it is left, and False is returned."""
    if run.card_file.exists() and not untouched(run):
        return False
    text = card(run, plan).encode()
    run.card_file.write_bytes(text)
    (run.folder / _WRITTEN).write_text(sha256(text).hexdigest() + "\n", encoding="utf-8")
    return True


def untouched(run: Run) -> bool:
    """Whether the card is as this program, or an earlier version of it, wrote it."""
    try:
        written = (run.folder / _WRITTEN).read_text(encoding="utf-8").strip()
        return sha256(run.card_file.read_bytes()).hexdigest() == written
    except OSError:
        return False


def card(run: Run, plan: Plan) -> str:
    """Markdown with the head that the Hugging Face Hub reads. What the run's files do not say is said to be missing;
    the same files give the same card."""
    lineage = run.read_json(run.lineage_file)
    lines = [
        *_head(plan),
        f"# {_text(run.id)}",
        "",
        *_revoked(run),
        *_what(run, plan, lineage),
        "",
        "## Training",
        "",
        *_training(plan),
        "",
        "## Data",
        "",
        *_data(plan, lineage),
        "",
        "## Results",
        "",
        *_results(run),
        "",
        "## Best and worst validation examples",
        "",
        *_examples(run, lineage),
        "",
        "## Should this have been fine-tuned?",
        "",
        *_gate(run),
        "",
        "## Environment",
        "",
        *_environment(run),
        "",
        "## Limits",
        "",
        "- The loss says how well the replies of the dataset are predicted. It does not say that a conversation with "
        "the model goes well: try it, and have conversations judged and reviewed.",
        "- The model is as good as the conversations it learnt from: see the dataset's own card for their limits.",
        "- The best checkpoint was chosen on the validation examples, so their loss is a little too good.",
        "",
        "## How to load it",
        "",
        *_loading(plan),
    ]
    return "\n".join(lines) + "\n"


def _head(plan: Plan) -> list[str]:
    head: dict[str, Any] = {}
    if not _is_folder(plan.base):  # the Hub takes names of the Hub only
        head["base_model"] = plan.base
    head["library_name"] = "transformers" if plan.adapter == "full" else _LIBRARY[plan.backend]
    head["pipeline_tag"] = "text-generation"
    head["tags"] = ["loopreview", plan.method, *([] if plan.adapter == "full" else ["lora"])]
    if plan.adapter == "qlora":
        head["tags"].append("qlora")
    if plan.dora:
        head["tags"].append("dora")
    return ["---", *yaml.safe_dump(head, sort_keys=False, allow_unicode=True).splitlines(), "---", ""]


def _revoked(run: Run) -> list[str]:
    found = run.read_json(run.revoked_file)
    if not found:
        return []
    rows = [
        (id, *((mark.get("at"), mark.get("by"), mark.get("reason")) if isinstance(mark, dict) else (None, None, None)))
        for id, mark in sorted(found.items())
    ]
    return [
        "**Do not use this model: conversations that it was made with were withdrawn since.**",
        "",
        *_table(("transcript", "when", "by", "reason"), rows),
        "",
    ]


def _what(run: Run, plan: Plan, lineage: Mapping[str, Any]) -> list[str]:
    base = f"the model in the folder {_code(Path(plan.base).name)}" if _is_folder(plan.base) else _code(plan.base)
    lines = [
        f"Supervised fine-tuning of {base}: {_ADAPTERS[plan.adapter]}, trained with loopreview on conversations that "
        "people reviewed."
    ]
    state = run.standing().state
    if state not in ("done", "running"):  # a card is written while the job still runs
        lines.append(f"The run is {state}.")
    start = lineage.get("start_run")
    if start:
        lines.append(f"It went on from the adapter of the run {_code(str(start))}.")
    elif plan.start_adapter:
        lines.append(f"It went on from an earlier adapter, {_code(plan.start_adapter.parent.name)}.")
    return lines


def _training(plan: Plan) -> list[str]:
    adapters = plan.adapter != "full"
    rows: list[tuple[str, object]] = [
        ("backend", f"{plan.backend} on {plan.device}"),
        ("method", plan.method),
        ("what is trained", plan.adapter),
    ]
    if adapters:
        rows += [
            ("rank", plan.rank),
            ("alpha", f"{plan.alpha:g}"),
            ("dropout", f"{plan.dropout:g}"),
            ("DoRA", _yes(plan.dora)),
            ("layers", ", ".join(plan.targets)),
        ]
    rows += [
        ("epochs", plan.epochs),
        ("learning rate", f"{plan.learning_rate:g}, {plan.schedule}, warm-up {plan.warmup:.0%} of the steps"),
        ("batch", f"{plan.batch} × {plan.accumulation} micro-batches in a step"),
        ("weight decay", f"{plan.weight_decay:g}"),
        ("largest gradient norm", f"{plan.max_grad_norm:g}"),
        ("longest example", f"{plan.max_length:,} tokens; nothing is ever cut"),
        ("packing", _yes(plan.packing)),
        ("gradient checkpointing", _yes(plan.gradient_checkpointing)),
        ("precision", plan.precision),
        ("measured and saved", f"every {plan.eval_steps} steps" if plan.eval_steps > 1 else "every step"),
        ("early stopping", f"after {plan.patience} measurements without a better one" if plan.patience else "no"),
        ("seed", plan.seed),
    ]
    return [
        "Only replies are supervised: the loss is that of their tokens, the one that ends the turn included.",
        "",
        *_table(("", "value"), rows),
    ]


def _data(plan: Plan, lineage: Mapping[str, Any]) -> list[str]:
    data = plan.data
    lines = [f"The dataset {_code(data.hash)}: {data.train:,} examples to train on, {data.valid:,} to measure on."]
    rows = lineage.get("rows")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if not rows:
        return [*lines, "", "Where its examples come from is not recorded with the run."]
    of = {str(row.get("transcript")): row for row in rows}
    made = [row["versions"] for row in of.values() if isinstance(row.get("versions"), dict)]
    origins = Counter(str(row.get("origin")) for row in of.values())
    lines += [
        f"They are of {len(of):,} transcripts: {origins['generated']:,} were made with a simulated user, "
        f"{origins['imported']:,} were imported. Each example's way back is in `lineage.json`.",
        "",
        *_counts("decision", Counter(str(row.get("decision")) for row in of.values())),
        *_counts("reviewer", Counter(who for row in of.values() for who in _texts(row.get("reviewers")))),
        *_counts(
            "judge",
            Counter(who for row in of.values() for who in _texts(row.get("panel"))),
            none="No judge was asked about these transcripts.",
        ),
    ]
    versions = [
        *(("rubric at the decision", v) for v in _distinct(v for one in made for v in _texts(one.get("rubric")))),
        *(("system prompt", v) for v in _distinct(one.get("system") for one in made)),
        *(("generation", v) for v in _distinct(one.get("generation") for one in made)),
        ("tokenizer and chat template", data.tokenizer),
    ]
    lines += _table(("version of", "hash"), versions)
    return lines


def _results(run: Run) -> list[str]:
    metrics = run.metrics
    if not metrics:
        return ["No results are recorded: the run has not come to its end."]
    loss, found = _part(metrics, "loss"), _part(metrics, "eval_loss")
    measured = {event.get("step"): event.get("perplexity") for event in run.events() if event.get("event") == "eval"}
    rows = [
        ("loss of the first step, of the last", f"{_number(loss.get('first'))} → {_number(loss.get('last'))}"),
        ("validation loss of the base model", _number(found.get("base"))),
        ("validation loss, best", _number(found.get("best"))),
        ("validation loss of the weights as read from disk", _number(found.get("loaded"))),
        ("perplexity of the base model", _number(measured.get(0))),
        ("perplexity, best", _number(measured.get(found.get("best_step")))),
        ("best step", _count(found.get("best_step"))),
        ("steps", _count(metrics.get("steps"))),
        ("stopped early", _yes(metrics.get("stopped_early"))),
        ("different examples trained on", _count(metrics.get("rows"))),
        ("tokens trained on", _count(metrics.get("tokens"))),
        ("tokens per second", _number(metrics.get("tokens_per_s"), ".1f")),
        ("seconds", _number(metrics.get("seconds"), ".1f")),
        ("peak memory", _memory(metrics.get("peak_memory"))),
    ]
    return _table(("", "value"), rows)


def _examples(run: Run, lineage: Mapping[str, Any]) -> list[str]:
    metrics = run.metrics
    rows = lineage.get("rows")
    of = {
        row.get("row"): row
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and row.get("split") == "valid"
    }
    found = [
        (kind, one.get("row"), _number(one.get("loss")), of.get(one.get("row"), {}))
        for kind in ("best", "worst")
        for one in metrics.get(kind) or ()
        if isinstance(one, dict)
    ]
    if not found:
        return ["The loss of single examples is not recorded."]
    return [
        "By their loss under the best weights. Rows are those of `valid.jsonl` of the dataset, counted from 1.",
        "",
        *_table(
            ("", "row", "loss", "transcript", "exchange"),
            [(kind, row, loss, from_.get("transcript"), from_.get("exchange")) for kind, row, loss, from_ in found],
        ),
    ]


def _gate(run: Run) -> list[str]:
    gate = run.read_json(run.gate_file)
    answers = gate.get("answers")
    answers = answers if isinstance(answers, dict) else {}
    if not gate.get("answered"):
        return ["The questions of the TRAIN gate were not answered."]
    rows = []
    asked = {question.key: question.asks for question in QUESTIONS}
    for key in dict.fromkeys([*asked, *answers]):
        given = answers.get(key)
        given = given if isinstance(given, dict) else {}
        answer = given.get("answer")
        answer = _yes(answer) if isinstance(answer, bool) else answer
        rows.append((asked.get(key, key), answer or "not answered", given.get("reason") or None))
    by = f"Answered by {_text(str(gate['by']))}" if gate.get("by") else "Answered; by whom is not recorded"
    at = f", {_text(str(gate['at']))}" if gate.get("at") else ""
    return [f"{by}{at}.", "", *_table(("question", "answer", "reason"), rows)]


def _environment(run: Run) -> list[str]:
    found = run.read_json(run.environment_file)
    if not found:
        return ["Not recorded."]
    packages = found.get("packages")
    rows = [
        *(
            (name, _found(found, name))
            for name in ("loopreview", "python", "platform", "device", "gpu", "threads", "commit")
        ),
        *(sorted(packages.items()) if isinstance(packages, dict) else ()),
    ]
    return _table(("", "version"), rows)


def _found(environment: Mapping[str, Any], name: str) -> object:
    """A part that was looked for and not found is there, as null."""
    return "not recorded" if name not in environment else environment[name] if environment[name] is not None else "none"


_SAID = ['messages = [{"role": "user", "content": "Hello"}]']
_ANSWERED = [
    *_SAID,
    "inputs = tokenizer.apply_chat_template(",
    '    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"',
    ")",
    "answer = model.generate(**inputs, max_new_tokens=200, do_sample=False)",
    'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
]


def _loading(plan: Plan) -> list[str]:
    base = "path/to/" + Path(plan.base).name if _is_folder(plan.base) else plan.base
    base = repr(base)
    if plan.backend == "mlx":
        code = [
            "from mlx_lm import generate, load",
            "",
            f'model, tokenizer = load({base}, adapter_path="adapter")',
            *_SAID,
            "prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)",
            "print(generate(model, tokenizer, prompt=prompt, max_tokens=200))",
        ]
    elif plan.adapter == "full":
        code = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("adapter")',
            f"tokenizer = AutoTokenizer.from_pretrained({base})",
            *_ANSWERED,
        ]
    else:
        code = [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base}), "adapter")',
            f"tokenizer = AutoTokenizer.from_pretrained({base})",
            *_ANSWERED,
        ]
    note = " The adapter was trained on the base held in 4 bits." if plan.adapter == "qlora" else ""
    return [f"From this folder; the base model is not in it.{note}" if plan.adapter != "full" else "From this folder.",
            "", "```python", *code, "```"]  # fmt: skip


def _counts(what: str, counts: Counter[str], none: str = "") -> Iterator[str]:
    if counts:
        yield from _table((what, "transcripts"), counts.most_common())
    else:
        yield none or f"No {what} is recorded."
    yield ""


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join("–" if cell is None else _text(str(cell)) for cell in cells) + " |"

    return [line(header), "|" + "---|" * len(header), *map(line, rows)]


def _part(metrics: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = metrics.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: Any, form: str = ".4f") -> str:
    return format(value, form) if isinstance(value, int | float) and not isinstance(value, bool) else "not measured"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "not recorded"


def _memory(value: Any) -> str:
    return f"{value / _GB:.2f} GB" if isinstance(value, int | float) and value else "not measured"


def _yes(value: Any) -> str:
    return "yes" if value is True else "no" if value is False else "not recorded"


def _distinct(values: Iterable[Any]) -> list[str]:
    return sorted({value for value in values if isinstance(value, str)})


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _is_folder(base: str) -> bool:
    return Path(base).is_absolute()


_MARKDOWN = re.compile(r"([\\`*_\[\]|!~])")


def _text(text: str) -> str:
    """What people and models wrote, on one line, as text and nothing else."""
    plain = " ".join(safe(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", plain)


def _code(text: str) -> str:
    return "`" + " ".join(safe(text).split()).replace("`", "'") + "`"
