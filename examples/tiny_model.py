"""Build a tiny model with random weights and its tokenizer, without a network, to try training with.

    python examples/tiny_model.py tiny/
    loopreview export --tokenizer tiny/
    loopreview train start --backend cuda --base tiny/ --set adapter=lora

Hidden size 64, 2 layers, a few hundred tokens: it learns within seconds on a CPU, and says nothing of use.
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
    given = parser.parse_args()
    options = {name: value for name, value in vars(given).items() if name != "folder"}
    print(build(given.folder, **options))
