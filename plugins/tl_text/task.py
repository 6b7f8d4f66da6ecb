"""Text classification: classification whose examples are read."""

from __future__ import annotations

from tlcore import Classification, Example

PREVIEW_CHARACTERS = 400


class TextClassification(Classification):
    """One label for each text."""

    def preview(self, example: Example) -> str:
        """Return the text, cut where it is long."""
        text = str(example.input)
        return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
