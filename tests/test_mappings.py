from tlcore.mappings import flatten


def test_nested_mappings_become_dotted_keys():
    nested = {"a": {"b": {"c": 1}, "d": (2, 3)}, "e": None, "f": {}}
    assert flatten(nested) == {"a.b.c": 1, "a.d": (2, 3), "e": None}
