"""efcnlib: rewrite a trained CNN exactly as a fully-connected network, train on, and see how far it goes.

The names below are imported when they are first used, so that the command line starts without PyTorch.
"""

import importlib

_HOME = {
    "embed": "embedding",
    "embed_local": "embedding",
    "project": "embedding",
    "deviation": "embedding",
    "delta": "embedding",
    "sharing": "embedding",
    "UserError": "errors",
    "results": "sweep",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'efcnlib' has no attribute {name!r}")
    return getattr(importlib.import_module(f"efcnlib.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
