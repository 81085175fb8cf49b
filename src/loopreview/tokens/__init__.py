"""Tokens by a model's own tokenizer and chat template. The only importer of tokenizers and jinja2; no torch."""
