"""Rules of the splits of a data set: a row is one figure of one split, held against the largest split (pure)."""

from lakesight.sections import CheckConfig
from quality.rule import Rule

FIGURES = {"split_classes_alike": "class mix", "split_box_sizes_alike": "box size"}
"""Rule -> the figure of the view `split_drift` that it is about."""


def split_rules(config: CheckConfig) -> tuple[Rule, ...]:
    """Every rule of splits."""
    return tuple(
        Rule(
            name=name,
            table="splits",
            column="split",
            predicate=f"figure <> '{figure}' OR psi < greatest({config.max_split_psi!r}D, psi_of_chance)",
            severity="warn",
            message=f"the {figure} of the split is another than that of the largest split",
            fix="draw the splits at random, by groups of like images; see the view `split_drift`",
            observed="concat(split, ' against ', reference, ': PSI ', round(psi, 2))",
        )
        for name, figure in FIGURES.items()
    )
