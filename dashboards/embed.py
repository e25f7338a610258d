"""Copy `queries/*.sql` into the dashboards that use them: `python dashboards/embed.py`, after a query has changed.

A dashboard's data set is called as its query's file; a test compares the two.
"""

import json
from pathlib import Path

HERE = Path(__file__).parent


def embed(dashboard: Path) -> None:
    """Put the queries' present text into one `*.lvdash.json`."""
    content = json.loads(dashboard.read_text())
    for dataset in content["datasets"]:
        query = HERE / "queries" / f"{dataset['displayName']}.sql"
        dataset["queryLines"] = query.read_text().splitlines(keepends=True)
    dashboard.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.lvdash.json")):
        embed(path)
