"""What is predicted from pictures: the tasks of tlcore, whose examples are seen, not read."""

from __future__ import annotations

import io

from tl_vision.decoding import decoded
from tlcore import Classification, Example, MultiLabel, Regression

PREVIEW_SIDE = 160


class Seen:
    """Shows an example as a small picture."""

    def preview(self, example: Example) -> bytes:
        """Return a PNG of the picture as the network sees it, its longest side at most 160 pixels."""
        picture = decoded(example.input)
        picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        png = io.BytesIO()
        picture.save(png, "PNG")
        return png.getvalue()


class ImageClassification(Seen, Classification):
    """One label for each picture."""


class ImageMultiLabel(Seen, MultiLabel):
    """A set of labels for each picture."""


class ImageRegression(Seen, Regression):
    """A number for each picture."""
