"""`python -m benchmarks [NAME...]`: all benchmarks, or the named ones."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

import benchmarks
from benchmarks.tables import machine


def modules() -> dict[str, ModuleType]:
    """Benchmarks by name: the modules here that have a `NAME`."""
    names = [info.name for info in pkgutil.iter_modules(benchmarks.__path__) if not info.name.startswith("_")]
    loaded = [importlib.import_module(f"benchmarks.{name}") for name in names]
    return {module.NAME: module for module in loaded if hasattr(module, "NAME")}


def main(asked: list[str]) -> int:
    """Run the named benchmarks, or all."""
    known = modules()
    if unknown := [name for name in asked if name not in known]:
        print(f"unknown benchmark {unknown[0]!r}. Known: {', '.join(known)}.", file=sys.stderr)
        return 2
    print(machine())
    for name in asked or known:
        print()
        known[name].run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
