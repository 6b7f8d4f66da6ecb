"""What is predicted from texts: the tasks of tlcore, whose examples are read."""

from __future__ import annotations

from tlcore import Classification, Example, MultiLabel, Regression

PREVIEW_CHARACTERS = 400


class Read:
    """Shows an example as its text."""

    def preview(self, example: Example) -> str:
        """Return the text, cut where it is long."""
        text = str(example.input)
        return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


class TextClassification(Read, Classification):
    """One label for each text."""


class TextMultiLabel(Read, MultiLabel):
    """A set of labels for each text."""


class TextRegression(Read, Regression):
    """A number for each text."""
