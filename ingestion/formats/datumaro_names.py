"""Names of classes for people, where a format has others for machines (run in datumaro's own environment)."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

DESCRIPTIONS = "*class-descriptions*.csv"
"""Open Images: rows of a machine's name (`/m/01g317`) and a display name (`Person`); in V6 under a heading."""


def displayed(categories: list[dict[str, Any]], folder: str) -> None:
    """Call COCO categories of Open Images, and what they are kinds of, as its files describe them.

    Two of one display name keep their machine's names.
    """
    names: dict[str, str] = {}
    for file in sorted(Path(folder).rglob(DESCRIPTIONS)):
        with file.open(encoding="utf-8-sig", newline="") as lines:
            names |= {row[0]: row[1].strip() for row in csv.reader(lines) if len(row) == 2}
    counts = Counter(names.get(category["name"], category["name"]) for category in categories)
    for category in categories:
        for key in ("name", "supercategory"):
            name = names.get(category[key])
            if name and counts[name] <= 1:
                category[key] = name
