"""Pipeline glue (Databricks and open-source Spark): the refusing rules as expectations of a dataset.

Databricks counts and drops what breaks an expectation; open-source Spark 4.2 has none, and gets a WHERE of the same
predicates. What is dropped is a row of `quarantine` on both.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from quality.rules import refusing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Query = Callable[[], "DataFrame"]


def expectations(table: str) -> dict[str, str]:
    """Rule -> predicate for the rules that keep a record out of a table; NULL holds."""
    return {rule.name: f"coalesce({rule.predicate}, TRUE)" for rule in refusing(table)}


def accepts(table: str) -> str:
    """Spark SQL: whether a candidate breaks no rule."""
    return " AND ".join(f"({predicate})" for predicate in expectations(table).values())


def accept(dp: Any, table: str) -> Callable[[Query], Query]:
    """Decorates the query of a table's candidates: those that break a rule are dropped."""
    if hasattr(dp, "expect_all_or_drop"):
        by_databricks: Callable[[Query], Query] = dp.expect_all_or_drop(expectations(table))
        return by_databricks

    def decorate(query: Query) -> Query:
        @wraps(query)
        def accepted() -> "DataFrame":
            return query().where(accepts(table))

        return accepted

    return decorate
