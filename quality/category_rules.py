"""Rules of `categories` (pure)."""

from lakesight.sections import CheckConfig
from quality.rule import Rule, parsed, unique


def category_rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule of `categories`."""
    return (*CATEGORY_RULES, *_class_sizes(config))


CATEGORY_RULES = (
    parsed("categories", "category_record_valid"),
    unique("categories", "category_id_unique", "category_id"),
    Rule(
        name="category_name_unique",
        table="categories",
        column="name",
        predicate="num_same_name <= 1",
        severity="warn",
        message="another class of the data set has the same name, but for case and blanks",
        fix="make one class of the two, or tell them apart by name",
    ),
    Rule(
        name="category_ids_contiguous",
        table="categories",
        column="category_id",
        # The first id may be 0 or 1.
        predicate="category_id - coalesce(previous_id, least(category_id - 1, 0)) = 1",
        severity="info",
        message="ids are missing below this one (COCO's own 80 classes have gaps)",
        fix="nothing: models see `label`, which has no gaps; but other tools may take ids for labels",
    ),
)


def _class_sizes(config: CheckConfig) -> tuple[Rule, ...]:
    least, ratio = config.min_class_annotations, config.max_class_imbalance
    return (
        Rule(
            name="category_has_annotations",
            table="categories",
            column="name",
            predicate=f"num_annotations >= {least}",
            severity="warn",
            message=f"the class has fewer than {least} boxes: too few to learn or to score",
            fix="collect more, or leave the class out",
            observed="concat(name, ': ', num_annotations)",
        ),
        Rule(
            name="category_balanced",
            table="categories",
            column="name",
            predicate=f"num_annotations = 0 OR most_annotations <= {ratio!r}D * num_annotations",
            severity="warn",
            message=f"the largest class has more than {ratio:g} times the boxes of this one",
            fix="collect more of the rare class, or sample it more often; see the view `class_balance`",
            observed="concat(name, ': ', num_annotations, ' of at most ', most_annotations)",
        ),
    )
