"""User errors: one message that says what failed, where, what was expected and what to do."""

_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "database or disk is full")
"""What the system and SQLite say, alone or in the middle of what delta-rs, Arrow or MLflow make of it."""


class UserError(Exception):
    """The user's input is wrong; the CLI prints the message and exits 2."""

    def __init__(self, what: str, *, where: str = "", expected: str = "", fix: str = "") -> None:
        """`what` failed; `where`: file, table, row or field; `expected`; `fix`: what to do next."""
        lines = [what]
        lines += [f"  where:    {where}"] * bool(where)
        lines += [f"  expected: {expected}"] * bool(expected)
        lines += [f"  to do:    {fix}"] * bool(fix)
        self._message = "\n".join(lines)
        super().__init__(self._message)
        self.what = what

    def __str__(self) -> str:
        """Not of `args`, to which Ray Data adds advice of its own."""
        return self._message


class ConfigError(UserError):
    """A configuration file or a `--set` is wrong."""


class FormatError(UserError):
    """A file is not what its format promises."""


class TableError(UserError):
    """A table is missing, or has a feature or a schema this code cannot read."""


class SetupError(UserError):
    """The machine lacks something: Java, a jar, a port, a writable folder."""


def of_full_disk(error: BaseException) -> UserError | None:
    """What to tell the user where an error, or one that it came of, says that there is no space to write to."""
    link: BaseException | None = error
    seen: set[int] = set()  # an error may be among what it came of
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if said := next((line for line in str(link).splitlines() if any(sign in line for sign in _FULL)), None):
            return SetupError(
                "no more can be written",
                where=said.strip()[:300],
                expected="space on the disk, within the user's limits",
                fix="make space, then run it again",
            )
        link = link.__cause__ or link.__context__
    return None
