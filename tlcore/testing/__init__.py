"""Conformance checks for plugin authors: what tlcore relies on, tried on tiny instances of what a plugin offers.

They need no test framework: each returns nothing, or raises ConformanceError with what is wrong. In a test:

    def test_that_it_is_a_good_plugin(tmp_path):
        tlcore.testing.check_plugin(my_plugin, tmp_path)
"""

from tlcore.testing.adapters import TinyBackbone, check_adapter
from tlcore.testing.backbones import check_backbone
from tlcore.testing.data_sources import check_data_source
from tlcore.testing.plugins import check_light_import, check_offer, check_plugin
from tlcore.testing.promises import ConformanceError
from tlcore.testing.tasks import check_task

__all__ = [
    "ConformanceError",
    "TinyBackbone",
    "check_adapter",
    "check_backbone",
    "check_data_source",
    "check_light_import",
    "check_offer",
    "check_plugin",
    "check_task",
]
