"""Build a small tokenizer with a chat template, without network and without a model, to try an export with.

    python examples/tiny_tokenizer.py tiny/
    loopreview export --tokenizer tiny/

The folder gets what a model's folder has: tokenizer.json, tokenizer_config.json and chat_template.jinja. The tokenizer
is a byte-level BPE with a few hundred merges learnt from the text below, so its counts are two to three times those of
a real one.
"""

import argparse
from pathlib import Path

from loopreview.tokens.tiny import TEMPLATE, build

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build a small tokenizer with a chat template.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--template", type=Path, help="A Jinja file with a chat template (default: ChatML).")
    given = parser.parse_args()
    text = given.template.read_text(encoding="utf-8") if given.template else TEMPLATE
    print(build(given.folder, template=text))
