"""Import, inside an image, what a deployment needs there; run by the image's own Python, with the standard library.

The argument is a JSON list of ``[how, name]``; the answer, on the last line of standard output, a JSON list of the same
length with an empty text for what could be imported, else why it could not.
"""

import importlib
import json
import os
import shutil
import sys
from typing import Any


def attribute(path: str) -> Any:
    """Return what stands at ``module.name``."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def load_class(name: str) -> None:
    """Import the class that Feast's own table has for a type; ``name`` is ``module.TABLE:type``."""
    table, _, kind = name.partition(":")
    attribute(attribute(table).get(kind, kind))


def load_driver(dialect: str) -> None:
    """Import the driver of a SQLAlchemy dialect, as making an engine would."""
    url = importlib.import_module("sqlalchemy.engine").make_url(f"{dialect}://")
    url.get_dialect().import_dbapi()


def find_java(name: str) -> None:
    """Find the program that PySpark and PyFlink start: that of JAVA_HOME, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    if not shutil.which(os.path.join(home, "bin", name) if home else name):
        raise FileNotFoundError(f"{home or 'PATH'} has no program {name}")


HOW = {"module": importlib.import_module, "class": load_class, "driver": load_driver, "java": find_java}


def failure(how: str, name: str) -> str:
    """Return why something cannot be imported, in one line."""
    try:
        HOW[how](name)
    except BaseException as error:  # noqa: BLE001  (a module may raise anything, SystemExit included)
        return f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return ""


def main() -> None:
    """Answer for each name, in order."""
    failures = [failure(how, name) for how, name in json.loads(sys.argv[1])]
    print("\n" + json.dumps(failures))


main()
