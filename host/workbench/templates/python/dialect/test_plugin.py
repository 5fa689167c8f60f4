"""python3 -m pytest (with PyYAML): the cases without WebAssembly."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "sdk")]

from plugin import plugin  # noqa: E402
from purlin_plugin import testing  # noqa: E402


@pytest.mark.parametrize("case", testing.cases(HERE / "cases"), ids=str)
def test_case(case):
    case.run(plugin)
