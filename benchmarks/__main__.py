"""`python -m benchmarks [NAME ...] [--json]`: run benchmarks and print their ratios; exit 1 if a goal is not met."""

import argparse
import dataclasses
import importlib
import json
import pkgutil
import sys

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.frame import Result

NO_BENCHMARK = {"__main__", "frame"}


def names() -> list[str]:
    """One module a benchmark."""
    return sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in NO_BENCHMARK
    )


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; default: all")
    parser.add_argument("--json", action="store_true", help="one array of results on stdout")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names()):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    results: list[Result] = []
    for name in arguments.names or names():
        results += importlib.import_module(f"benchmarks.{name}").run()
    if arguments.json:
        print(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    else:
        Console().print(_grid(results))
    return 0 if all(result.met for result in results) else 1


def _grid(results: list[Result]) -> Table:
    grid = Table("benchmark", "what", "ours", "peer takes", "peer", "ratio", "goal", "", "note")
    for r in results:
        verdict = "[green]met[/]" if r.met else "[red]not met[/]"
        numbers = (_amount(r.ours, r.unit), _amount(r.peer, r.unit), r.peer_name, f"{r.ratio:.1f}x", f"{r.goal:.1f}x")
        grid.add_row(r.name, r.what, *numbers, verdict, r.note)
    return grid


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"


if __name__ == "__main__":
    sys.exit(main())
