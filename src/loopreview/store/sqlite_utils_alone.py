"""The one importer of sqlite_utils. Where pandas and numpy are installed it would load both, which costs a third of
a second and 100 MB, only to know their types; it works without them."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

_absent = [name for name in ("pandas", "numpy") if name not in sys.modules]
_modules: dict[str, Any] = sys.modules  # None in it makes an import fail: documented, but not in the type
_modules.update(dict.fromkeys(_absent))
try:
    import_module("sqlite_utils")
finally:
    for _name in _absent:
        if _modules.get(_name, ...) is None:
            del _modules[_name]

if TYPE_CHECKING:
    from sqlite_utils import Database, Migrations
else:
    Database, Migrations = sys.modules["sqlite_utils"].Database, sys.modules["sqlite_utils"].Migrations

__all__ = ["Database", "Migrations"]
