"""Names that formats give to splits -> ours (pure)."""

KNOWN = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
KNOWN |= {"test": "test", "testing": "test"}
NONE = ("", "default")


def split_name(stated: str) -> str | None:
    """`Validation` is `val`; a name that is not known is kept, and no name is none."""
    return None if stated.lower() in NONE else KNOWN.get(stated.lower(), stated)
