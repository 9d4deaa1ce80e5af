"""What the tests against the real libraries need."""

import importlib.util
import sys
from types import ModuleType


def _without_models() -> None:
    """Let ``timm.scheduler`` be imported without the rest of timm, which loads every model it has, and torchvision."""
    found = importlib.util.find_spec("timm")
    if found is None or "timm" in sys.modules:
        return
    package = ModuleType("timm")
    package.__path__ = list(found.submodule_search_locations or ())
    package.__spec__ = found
    sys.modules["timm"] = package


_without_models()
