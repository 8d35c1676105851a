"""Write the Python stubs of every .proto, or with --check compare them with those committed.

`proto/inference` is generated as `headtail.inference` and `proto/headtail/v1` as `headtail.v1`, so
that stubs import one another. Of a service's classes only what is used is kept: the client,
and the server's base without bodies, so that a server that lacks a method does not start.
"""

import argparse
import ast
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
# Python package (as a path) -> folder of its .proto files.
PACKAGES = {"headtail/inference": "proto/inference", "headtail/v1": "proto/headtail/v1"}
STUB_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def generate(out: Path) -> None:
    """Write the stubs of every package below `out`."""
    scripts = Path(sys.executable).parent
    well_known = resources.files("grpc_tools") / "_proto"
    for package, folder in PACKAGES.items():
        (out / package).mkdir(parents=True, exist_ok=True)
        names = [f"{package}/{p.name}" for p in sorted((ROOT / folder).glob("*.proto"))]
        arguments = [
            "protoc",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"-I{well_known}",
            f"-I{package}={ROOT / folder}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            *names,
        ]
        if protoc.main(arguments) != 0:
            raise SystemExit(f"protoc failed for {folder}")
        for path in sorted((out / package).glob("*_pb2_grpc.py")):
            path.write_text(without_bodies(path.read_text()))


def without_bodies(text: str) -> str:
    """Return a module of services without its third kind of class and without servers' bodies.

    The third kind, beside client and server, holds calls that gRPC says are experimental. A body
    answers UNIMPLEMENTED for a method that a server lacks; without it, adding the server fails.
    """
    lines = text.split("\n")
    dropped: list[ast.stmt] = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        if node.name.endswith("Servicer"):
            dropped += [part for part in node.body if isinstance(part, ast.FunctionDef)]
        elif not node.name.endswith("Stub"):
            dropped.append(node)
    for node in reversed(dropped):
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while first and (not lines[first - 1].strip() or lines[first - 1].startswith(" #")):
            first -= 1  # the blank lines and the comment ahead of it
        del lines[first : node.end_lineno]
    return "\n".join(lines)


def stubs(root: Path) -> dict[str, bytes]:
    """Return the stubs below `root`, by relative path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for package in PACKAGES
        for pattern in STUB_PATTERNS
        for path in sorted((root / package).glob(pattern))
    }


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    if not parser.parse_args().check:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, committed = stubs(Path(folder)), stubs(ROOT)
    stale = sorted(n for n in fresh.keys() | committed.keys() if fresh.get(n) != committed.get(n))
    for name in stale:
        sys.stderr.write(f"{name}: does not match its .proto; run `make proto`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
