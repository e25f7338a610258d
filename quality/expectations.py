"""Great Expectations glue (on Spark): the rules as suites, validated, with Data Docs as static HTML.

One suite a table, one expectation a rule: the rule's predicate is a boolean column of its name, and no value of it may
be FALSE. So all rules of a table are counted in one aggregate, and NULL holds, as in `quality/rules.py`.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quality.rule import Rule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SITE = "lakesight"


def load() -> None:
    """Import Great Expectations, which takes seconds, without its telemetry."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations  # noqa: F401 - for the import itself

    logging.getLogger("great_expectations").setLevel(logging.ERROR)


def validate(
    tables: "Mapping[str, DataFrame]", rules: Mapping[str, Sequence[Rule]], docs: Path, run_id: str
) -> dict[str, int]:
    """Unexpected rows by rule name, as Great Expectations counts them in these rows; writes `docs/index.html`.

    Args:
        tables: one DataFrame a table, with a boolean column for each of its rules.
        rules: the rules of each table.
        docs: folder of the site.
        run_id: name of this validation in the site.
    """
    load()
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    from quality.rule_expectation import of_rule

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.add_data_docs_site(SITE, _site(docs))
    source = context.data_sources.add_spark("spark", persist=False)
    counts: dict[str, int] = {}
    for name, frame in tables.items():
        batches = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=[of_rule(r) for r in rules[name]]))
        definition = gx.ValidationDefinition(name=name, data=batches, suite=suite)
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            run_id=gx.RunIdentifier(run_name=run_id),
            result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
        )
        counts |= _counts(result)
    context.build_data_docs(site_names=[SITE])
    return counts


def _site(docs: Path) -> Any:
    view = {"module_name": "quality.docs_pages", "class_name": "Page"}
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "view": view},
        "site_section_builders": {"expectations": {"view": view}, "validations": {"view": view}},
    }


def _counts(result: Any) -> dict[str, int]:
    counts = {}
    for one in result.results:
        if one.exception_info.get("raised_exception"):
            raise RuntimeError(f"Great Expectations could not evaluate {one.expectation_config}: {one.exception_info}")
        counts[one.expectation_config.meta["rule"]] = int(one.result["unexpected_count"] or 0)  # None: no rows
    return counts
