"""The claims of docs/benchmarks.md, each measured by a script of its own, both sides in one run."""
