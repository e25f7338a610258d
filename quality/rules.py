"""The rules, assembled: from them come the quarantine split, the suites and `quality_results` (pure)."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict

from lakesight.sections import CheckConfig
from lakesight.spark import quote
from quality.annotation_rules import annotation_rules
from quality.category_rules import category_rules
from quality.image_rules import image_rules
from quality.pixel_rules import pixel_rules
from quality.rule import Rule
from quality.split_rules import split_rules


def rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule, by table."""
    families = (category_rules, image_rules, pixel_rules, annotation_rules, split_rules)
    return tuple(rule for family in families for rule in family(config))


def of_table(table: str, some: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules of one table."""
    return tuple(rule for rule in some if rule.table == table)


def refusing(table: str) -> tuple[Rule, ...]:
    """The rules that keep a record out of a table."""
    return tuple(r for r in rules(CheckConfig()) if r.table == table and r.severity == "error")


def fingerprint(some: Iterable[Rule]) -> str:
    """sha256 of the rules: changes when any predicate, threshold or severity does."""
    return hashlib.sha256(json.dumps([asdict(rule) for rule in some]).encode()).hexdigest()


def errors_sql(some: Iterable[Rule]) -> str:
    """Spark SQL of `quarantine.errors`: one struct for each rule the row breaks, in one pass."""
    structs = (f"CASE WHEN NOT ({rule.predicate}) THEN {_struct(rule)} END" for rule in some)
    return f"filter(array({', '.join(structs)}), error -> error IS NOT NULL)"


def _struct(rule: Rule) -> str:
    fields = {"rule": rule.name, "column": rule.column, "severity": rule.severity, "message": rule.message}
    pairs = [f"{quote(key)}, {quote(value)}" for key, value in fields.items()]
    return f"named_struct({', '.join(pairs)}, 'observed', {rule.evidence})"
