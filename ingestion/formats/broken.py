"""What parsers of single files and records raise: it costs that record, never its neighbours (pure)."""


class Broken(ValueError):
    """A file or a record is not as its format says; the message is the reason."""
