"""Build a tiny model with random weights and its tokenizer, without a network, to try training with.

    python examples/tiny_model.py tiny/
    loopreview export --tokenizer tiny/
    loopreview train start --backend cuda --base tiny/ --set adapter=lora

Hidden size 64, 2 layers, a few hundred tokens: it learns within seconds on a CPU, and says nothing of use. Where your
conversations are long, let the tokenizer learn from them, so that they become fewer tokens:

    python examples/tiny_model.py tiny/ --vocabulary 6000 --text transcripts/*.json
"""

import argparse
from pathlib import Path

from loopreview.train.tiny import build

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build a tiny model with random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=["llama", "qwen2"], default="llama")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocabulary", type=int, default=300)
    parser.add_argument("--text", type=Path, nargs="+", help="Files that the tokenizer learns from.")
    given = parser.parse_args()
    options = {name: value for name, value in vars(given).items() if name not in ("folder", "text")}
    if given.text:
        options["text"] = "\n".join(path.read_text(encoding="utf-8") for path in given.text)
    print(build(given.folder, **options))
