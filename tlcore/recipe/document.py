"""A recipe's text as a tree of scalars, lists and sections that know where they stand.

YAML is read down to text only: what `no`, `012` or `1e-5` mean is decided by the type of the key that they are given
for. What can do harm or surprise (tags, merge keys, several documents, deep or huge trees) is refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from tlcore.errors import RecipeError, RecipeFault
from tlcore.redaction import looks_secret

__all__ = ["MAX_BYTES", "Entry", "Listing", "Node", "Scalar", "Section", "parse_document", "shown"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50
MAX_ALIASES = 1000
MAX_VALUES = 10_000

NULLS = ("", "~", "null", "Null", "NULL")


@dataclass
class Scalar:
    """A single value as written; ``plain`` means without quotes."""

    text: str
    plain: bool
    at: str

    @property
    def is_null(self) -> bool:
        """Whether it is nothing in the sense of YAML 1.2."""
        return self.plain and self.text in NULLS


@dataclass
class Listing:
    """A list."""

    items: list[Node]
    at: str


@dataclass
class Entry:
    """A key's value and where the key stands."""

    at: str
    value: Node


@dataclass
class Section:
    """Keys and values."""

    entries: dict[str, Entry]
    at: str


Node: TypeAlias = Scalar | Listing | Section


def shown(node: Node) -> str:
    """Return a node as a message may show it: short and on one line."""
    if isinstance(node, Section):
        return "a section"
    if isinstance(node, Listing):
        return "a list"
    if node.is_null:
        return "nothing"
    text = node.text if len(node.text) <= 60 else node.text[:57] + "..."
    return repr(text) if node.plain else f"the text {text!r}"


def parse_document(
    text: str, place: Callable[[int, int], str], faults: list[RecipeFault], key: str = ""
) -> Node | None:
    """Return the tree of one YAML document, or None if it is empty; ``place`` writes a line and column, from 1.

    ``key`` is the one that the document is the value of. Faults that leave a tree, such as a key given twice, are added
    to ``faults``.

    Raises:
        RecipeError: the text is no YAML, or more than a recipe may be.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise RecipeError([RecipeFault(place(1, 1), f"it is larger than {MAX_BYTES // 1024} KiB, too large")])
    text = text.removeprefix("\ufeff")
    try:
        root = _Loader(text).get_single_node()
        return None if root is None else _Tree(place, faults).grown(root, key=key)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = place(before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1)
        fault = RecipeFault(at, f"the character U+{int(error.character):04X} may not stand in YAML")
    except yaml.MarkedYAMLError as error:
        fault = _syntax_fault(error, text, place)
    raise RecipeError([fault])


class _Refusal(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any, hint: str | None = None) -> None:
        super().__init__(problem=problem, problem_mark=mark)
        self.hint = hint


class _Loader(yaml.SafeLoader):
    """Composes nodes and stops as soon as a limit is passed, since composing a hostile text takes minutes."""

    depth = aliases = values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise _Refusal(f"more than {MAX_ALIASES} uses of aliases, too many", mark)
            return super().compose_node(parent, index)
        if event.tag is not None:
            raise _Refusal(f"the tag {event.tag!r} is not allowed", mark, "a recipe holds plain values only")
        self.values += 1
        self.depth += 1
        _check_size(self.values, self.depth, mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Tree:
    """Turns YAML's nodes into ours, each alias into what it stands for; the limits hold for the result."""

    def __init__(self, place: Callable[[int, int], str], faults: list[RecipeFault]) -> None:
        self.place = place
        self.faults = faults
        self.values = 0

    def grown(self, node: yaml.Node, depth: int = 1, key: str = "") -> Node:
        self.values += 1
        _check_size(self.values, depth, node.start_mark)
        at = self._at(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at, key)
        if isinstance(node, yaml.SequenceNode):
            return Listing([self.grown(item, depth + 1) for item in node.value], at)
        return Section(self._entries(node, depth), at)

    def _entries(self, node: yaml.Node, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            at, line = self._at(key), key.start_mark.line + 1
            word = _whole(key) if isinstance(key, yaml.ScalarNode) else None
            if word is None:
                self.faults.append(RecipeFault(at, "a key must be a single word"))
            elif word == "<<" and key.style is None:
                self.faults.append(
                    RecipeFault(at, "the merge key `<<` is not allowed", "write the keys out where they are needed")
                )
            elif word in entries:
                fault = f"duplicate key {word!r} (lines {lines[word]} and {line})"
                self.faults.append(RecipeFault(at, fault, "keep one"))
            else:
                entries[word] = Entry(at, self.grown(value, depth + 1, word))
                lines[word] = line
        return entries

    def _scalar(self, node: yaml.ScalarNode, at: str, key: str) -> Scalar:
        text = _whole(node)
        if looks_secret(text, key):
            fault = "this value looks like a secret, and a recipe is kept with every run"
            self.faults.append(RecipeFault(at, fault, "leave it out, and set it in the environment, such as HF_TOKEN"))
            text = "***"
        return Scalar(text, node.style is None, at)

    def _at(self, node: yaml.Node) -> str:
        return self.place(node.start_mark.line + 1, node.start_mark.column + 1)


def _whole(node: yaml.ScalarNode) -> str:
    """Return the text of a scalar; JSON writes rare characters as two halves, which belong together."""
    try:
        return str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        raise _Refusal("this text is not valid Unicode", node.start_mark) from error


def _check_size(values: int, depth: int, mark: Any) -> None:
    if depth > MAX_DEPTH:
        raise _Refusal(f"nested more than {MAX_DEPTH} deep, too deep", mark)
    if values > MAX_VALUES:
        raise _Refusal(f"more than {MAX_VALUES} values, too many", mark)


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, place: Callable[[int, int], str]) -> RecipeFault:
    mark = error.problem_mark or error.context_mark
    at = place(mark.line + 1, mark.column + 1) if mark else place(1, 1)
    if isinstance(error, _Refusal):
        return RecipeFault(at, error.problem or "", error.hint)
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return RecipeFault(at, "a tab stands before this line's text", "YAML is indented by spaces")
    if error.problem == "but found another document":
        return RecipeFault(at, "a second document begins here", "a recipe is one document: remove the line `---`")
    return RecipeFault(at, f"this is not readable as YAML: {error.problem or error.context}")
