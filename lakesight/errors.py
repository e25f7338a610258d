"""User errors: one message that says what failed, where, what was expected and what to do."""


class UserError(Exception):
    """The user's input is wrong; the CLI prints the message and exits 2."""

    def __init__(self, what: str, *, where: str = "", expected: str = "", fix: str = "") -> None:
        """`what` failed; `where`: file, table, row or field; `expected`; `fix`: what to do next."""
        lines = [what]
        lines += [f"  where:    {where}"] * bool(where)
        lines += [f"  expected: {expected}"] * bool(expected)
        lines += [f"  to do:    {fix}"] * bool(fix)
        super().__init__("\n".join(lines))
        self.what = what


class ConfigError(UserError):
    """A configuration file or a `--set` is wrong."""


class FormatError(UserError):
    """A file is not what its format promises."""


class TableError(UserError):
    """A table is missing, or has a feature or a schema this code cannot read."""


class SetupError(UserError):
    """The machine lacks something: Java, a jar, a port, a writable folder."""
