"""Random versions of a text; what is drawn depends on the seed, the version's number and the example alone."""

from __future__ import annotations

import random

from tl_text import Augment

__all__ = ["augmented"]


def augmented(text: str, options: Augment, seed: int) -> str:
    """Return the text with words left out, swapped or in another case; at least one word stays.

    Word dropout and swaps: Wei and Zou, EDA, EMNLP 2019, section 2.
    """
    drawn = random.Random(seed)  # noqa: S311 - it draws versions of a text, no secrets
    words = text.split()
    if options.word_dropout:
        kept = [word for word in words if drawn.random() >= options.word_dropout]
        words = kept or [drawn.choice(words)]
    if options.swap:
        for place in range(len(words) - 1):
            if drawn.random() < options.swap:
                words[place], words[place + 1] = words[place + 1], words[place]
    changed = " ".join(words)
    if options.casing and drawn.random() < options.casing:
        changed = drawn.choice((str.lower, str.upper, str.capitalize))(changed)
    return changed
