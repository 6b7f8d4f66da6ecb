"""Whatever is registered keeps the contracts: the checks that every plugin author runs, over all that is here."""

import pytest

from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import KINDS, Registry
from tlcore.testing import check_light_import, check_offer

HOST = PluginHost(environ={"TL_PLUGINS": ""})
REGISTRY = Registry(HOST)
LABELS = {"regression": (0.5, "1", "2.5", -3, 0.5), "multilabel": ((), ("a",), ("a", "b"), "b", ["c"])}
OFFERS = [offer for kind in KINDS for offer in REGISTRY.offers(kind)]


def test_every_built_in_plugin_works():
    assert [str(failure) for failure in HOST.failures] == []
    assert [plugin.name for plugin in HOST.plugins] == ["adapters", "data", "demo", "report", "text", "tools", "vision"]


def test_what_the_shipped_recipes_need_is_registered():
    names = {offer.full_name for offer in OFFERS}
    for needed in ("vision/vgg16", "text/minilm", "adapters/feature-extraction", "adapters/fine-tuning", "data/table"):
        assert needed in names


@pytest.mark.parametrize("plugin", HOST.plugins, ids=lambda plugin: plugin.name)
def test_offering_is_light(plugin):
    check_light_import(plugin.module)


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: f"{offer.spec.kind} {offer.full_name}")
def test_what_is_offered_keeps_its_contract(offer, tmp_path):
    kind = offer.spec.name.rpartition("-")[2]
    given = {"labels": LABELS[kind]} if offer.spec.kind == "task" and kind in LABELS else {}
    check_offer(offer, REGISTRY, tmp_path, **given)
