"""The example passes the vectors that all SDKs' examples pass."""

import pathlib
import sys

import pytest
from purlin_plugin import testing

SDK = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(SDK / "python/examples/halton"))


@pytest.mark.parametrize("case", testing.cases(SDK / "halton.json"), ids=str)
def test_vectors(case):
    from plugin import plugin

    case.run(plugin)
