"""What several test files share."""

import pytest

from lrsched_cli import document

PARSERS = ("c", "python")


@pytest.fixture(params=PARSERS)
def parser(request, monkeypatch):
    """Each test that asks for it runs with the C parser and with the one in Python."""
    if request.param == "python":
        monkeypatch.setattr(document, "LOADERS", document.LOADERS[-1:])
    elif len(document.LOADERS) < 2:
        pytest.skip("this PyYAML has no C parser")
    return request.param
