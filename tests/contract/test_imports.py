"""Who imports what, read from the source: heavy libraries have one door each."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("headtail", "edge_agent", "fog_server", "optimizer")
# Library -> the modules that may import it.
DOORS = {
    "opentelemetry": {"headtail/spans.py"},
    "pygad": {"optimizer/search/evolution.py"},
    "tf2onnx": {"optimizer/keras_onnx.py"},
    "wfdb": {"optimizer/data/mitbih.py"},
}
GENERATED = ("_pb2.py", "_pb2_grpc.py")


def imports(path: Path) -> set[str]:
    """Return the top-level packages a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def importers(library: str) -> set[str]:
    """Return the modules of the project that import `library`."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not path.name.endswith(GENERATED) and library in imports(path)
    }


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_heavy_library_has_one_door(library: str) -> None:
    assert DOORS[library] == importers(library)


def test_every_module_says_what_it_is() -> None:
    """The first line of each file is a sentence."""
    silent = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not path.name.endswith(GENERATED)
        and not (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
        .split("\n")[0]
        .rstrip()
        .endswith((".", ":", "?"))
    ]
    assert [] == silent


def test_no_package_hides_behind_the_name_of_another() -> None:
    """Some libraries install top-level `tests`, `tools` and `proto`: ours are no packages."""
    assert [] == [str(p) for f in ("tests", "proto") for p in (ROOT / f).rglob("__init__.py")]
