"""The import rule of the house, as a function over a source tree: who may import whom."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "microsite"
KERNEL = (f"{PACKAGE}.core", f"{PACKAGE}.config", f"{PACKAGE}.extensions")
MAY_ALL = {"cli", "migrations", "templates", "static"}
SERVER = {
    "flask",
    "sqlalchemy",
    "werkzeug",
    "jinja2",
    "alembic",
    "apiflask",
    "gunicorn",
    "socketio",
    "engineio",
}


@dataclass(frozen=True)
class Imported:
    """One import: the whole name of what it reaches, and whether it was written with dots."""

    name: str
    line: int
    relative: bool = False

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]

    def within(self, *modules: str) -> bool:
        return any(self.name == module or self.name.startswith(f"{module}.") for module in modules)


def imports_of(path: Path, root: Path) -> Iterator[Imported]:
    """Every import of a module, inside functions too, and by `import_module` of a constant."""
    here = [PACKAGE, *path.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Imported(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = here[: len(here) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield Imported(f"{base}.{alias.name}", node.lineno, relative=bool(node.level))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield Imported(node.args[0].value, node.lineno)


def objection(path: Path, root: Path, found: Imported) -> str | None:
    """What to do about an import that trespasses; None for a lawful one."""
    parts = path.relative_to(root).parts
    module, folder = "/".join(parts), parts[0]
    ours = found.top == PACKAGE
    if module in ("core/exceptions.py", "core/clock.py"):
        return None if found.top in sys.stdlib_module_names else "it may use the standard library only"
    if module == "config.py":
        lawful = found.top in sys.stdlib_module_names | {"dotenv"}
        return None if lawful else "it may use the standard library and python-dotenv only"
    if module == "extensions.py":
        return "it may use third parties only" if ours else None
    if len(parts) == 1 or folder in MAY_ALL:
        return None
    if folder == "core":
        lawful = not ours or found.within(*KERNEL) or found.name == f"{PACKAGE}.__version__"
        return None if lawful else "the kernel knows no feature; meet through a capability"
    if folder == "client":
        lawful = found.top not in SERVER and (
            not ours or found.within(f"{PACKAGE}.client", f"{PACKAGE}.__version__")
        )
        return None if lawful else "the client imports nothing of the server"
    return _objection_to_feature(folder, found) if ours else None


def _objection_to_feature(feature: str, found: Imported) -> str | None:
    own = found.within(f"{PACKAGE}.{feature}")
    if found.relative:
        return (
            None
            if own
            else "dots are for files of its own; import the kernel absolutely, and no other feature"
        )
    if own:
        return "import files of its own relatively"
    return (
        None
        if found.within(*KERNEL)
        else "a feature imports the kernel and itself; meet others through a capability"
    )


def trespasses(root: Path) -> list[str]:
    """A sentence for every import below `root` that breaks the rule."""
    found = []
    for path in sorted(root.rglob("*.py")):
        for imported in imports_of(path, root):
            objected = objection(path, root, imported)
            if objected:
                found.append(
                    f"{path.relative_to(root).as_posix()}:{imported.line} imports {imported.name}: {objected}"
                )
    return found
