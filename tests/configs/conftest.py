"""The command line's fixtures, for the tests that go through it."""

from tests.cli.conftest import run

__all__ = ["run"]
