"""Great Expectations glue: what a rule is to it. It is loaded when a check needs it: the import takes seconds."""

from typing import Any

from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.validator.validator import ValidationDependencies

from quality.rule import Rule

SEVERITIES = {"error": "critical", "warn": "warning", "info": "info"}


class ExpectRuleToHold(ExpectColumnValuesToBeInSet):
    """No value of the column of a rule's name is FALSE, by counts alone.

    Great Expectations would fetch examples too, by a query for each rule, where none is to be shown: ours are in
    `quality_results`.
    """

    def get_validation_dependencies(self, *args: Any, **kwargs: Any) -> ValidationDependencies:
        """What is asked of the table."""
        needed = super().get_validation_dependencies(*args, **kwargs)
        needed.remove_metric_configuration(f"{self.map_metric}.unexpected_values")
        return needed


def of_rule(rule: Rule) -> ExpectRuleToHold:
    """The expectation of a rule."""
    return ExpectRuleToHold(
        column=rule.name,
        value_set=[True],
        severity=FailureSeverity(SEVERITIES[rule.severity]),
        description=f"{rule.column}: {rule.predicate}",
        notes=f"If broken: {rule.message}. To do: {rule.fix}.",
        meta={"rule": rule.name},
    )
