"""The requests, a module a subject. `load` imports them all, which registers their cases."""

import importlib
import pkgutil


def load():
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")
