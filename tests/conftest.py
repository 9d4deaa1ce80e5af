"""What several test files share."""

import os

import pytest
from hypothesis import settings

from lrsched_cli.document import yaml_text

# The same examples at every run of CI, so that it tells what a change does; others at every run by hand.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

PARSERS = ("c", "python")


@pytest.fixture(params=PARSERS)
def parser(request, monkeypatch):
    """Each test that asks for it runs with the C parser and with the one in Python."""
    if request.param == "python":
        monkeypatch.setattr(yaml_text, "LOADERS", yaml_text.LOADERS[-1:])
    elif len(yaml_text.LOADERS) < 2:
        pytest.skip("this PyYAML has no C parser")
    return request.param
