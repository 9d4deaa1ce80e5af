"""The command line, as the tests of other verbs run it."""

from __future__ import annotations

from tests.cli.conftest import run as run
