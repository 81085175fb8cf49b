"""Run the benchmarks and print one table."""

import importlib
import os
import pkgutil
import platform
import sys

import benchmarks


def run(names: list[str]) -> int:
    known = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__")
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or known:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += [(name, *(str(row[key]) for key in ("claim", "measured", "budget"))) for row in _main(name)]
    header = ("benchmark", "claim", "measured", "budget")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _main(name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = importlib.import_module(f"benchmarks.{name}").main()
    return found


sys.exit(run(sys.argv[1:]))
