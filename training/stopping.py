"""Early stopping: whether the last validations brought anything (pure)."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Progress:
    """The best score so far, and how many validations ago it was."""

    best: float = -1.0
    waited: int = 0

    def after(self, score: float, min_delta: float) -> "Progress":
        """With one more validation; only `min_delta` more than the best counts as better."""
        if score >= self.best + min_delta:
            return Progress(score, 0)
        return replace(self, waited=self.waited + 1)
