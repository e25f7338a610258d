"""Early stopping: whether the last validations brought anything (pure)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """The best AP so far, and how many validations ago it was."""

    best: float = -1.0
    waited: int = 0

    def after(self, ap: float, min_delta: float) -> "Progress":
        """With one more validation; only `min_delta` more than the best counts as better."""
        if ap >= self.best + min_delta:
            return Progress(ap, 0)
        return replace(self, waited=self.waited + 1)
