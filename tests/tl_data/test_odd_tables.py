"""Every odd table is read as it is written, with what is left out named, or refused in words that say what to do."""

import pytest

from tests.support.odd_tables import odd_tables
from tl_data import TableOptions
from tl_data.table import TableSource
from tlcore import Example, TLError
from tlcore.data.dataset import split_examples

CASES = list(odd_tables())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_table_is_read_as_it_is_written_or_refused_with_its_reason(case, tmp_path):
    path = tmp_path / case.name
    path.write_bytes(case.content)

    def read():
        source = TableSource(TableOptions(path=path, **case.options))
        dataset = split_examples(source, shares={"validation": 0.15, "test": 0.15}, max_bad=None)
        return dataset.examples, dataset.problems

    if case.refused:
        with pytest.raises(TLError) as caught:
            read()
        said = f"{caught.value.what}\n{caught.value.where}\n{caught.value.hint}"
        assert all(words in said for words in case.refused), said
        assert caught.value.exit_code == (2 if "no encoding" in said else 3)
        assert caught.value.hint, "nothing says what to do next"
        return
    examples, problems = read()
    left_out = {problem.id: problem.reason for problem in problems if problem.skipped}
    notes = " ".join(problem.reason for problem in problems if not problem.skipped)
    assert {example.label for example in examples.values()} == set(case.labels)
    assert left_out.keys() == case.skipped.keys()
    assert all(words in left_out[place] for place, words in case.skipped.items())
    assert all(words in notes for words in case.notes)
    assert bool(notes) == bool(case.notes), notes
    assert len(examples) + len(left_out) == case.rows


def test_leaving_a_row_out_moves_no_other(tmp_path):
    """Of each table with a row left out, the others keep their ids and labels."""
    plain = next(case for case in CASES if case.name == "plain.csv")

    def read(case):
        path = tmp_path / case.name
        path.write_bytes(case.content)
        found = TableSource(TableOptions(path=path)).examples()
        return {item.id: (item.input, item.label) for item in found if isinstance(item, Example)}

    whole = read(plain)
    cases = [
        case for case in CASES if case.skipped and case.name.endswith((".csv", ".jsonl")) and "named" not in case.name
    ]
    assert len(cases) > 10
    for case in cases:
        left = read(case)
        assert len(left) == len(whole) - 1
        assert left.items() <= whole.items()
