"""One script per claim. Each has `main() -> list[Row]`; `python -m benchmarks [NAME …]` prints one table.

Machines differ and are noisy: a claim is a ratio within one run where that is possible.
"""
