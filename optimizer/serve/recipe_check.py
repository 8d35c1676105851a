"""What a recipe from the network may say: a right recipe, and files only where they may lie."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from headtail.errors import ConfigError, RequestInvalid
from optimizer.recipe.image import AnyRecipe, read_any_recipe
from optimizer.recipe.recipe import Recipe

FILE = "recipe.toml"
# What a recipe says to people, and where no program looks for a file.
_FREE_TEXT = {("name",), ("version",), ("task",), ("executor", "address")}
_FREE_TEXT |= {("freeze", "always"), ("freeze", "layers"), ("prune", "keep_layers")}
_FREE_TEXT |= {("field", "prometheus"), ("field", "range"), ("field", "model")}
_FREE_TABLES = {("field", "matchers")}
_PATH_KEY = re.compile(r"(.*_)?(path|file|folder)s?")
_FOLDERS = {("field", "captured"), ("field", "labels")}
_WEIGHTS, _NO_FILES = ("backbone", "weights"), {"none", "imagenet"}


@dataclass(frozen=True, slots=True)
class RecipeRules:
    """What recipes may ask for."""

    max_bytes: int
    """Largest recipe."""
    roots: tuple[Path, ...]
    """Folders below which the files that it names must lie."""
    clusters: tuple[str, ...]
    """HOST:PORT of the Ray clusters that it may name."""
    prometheus: tuple[str, ...] = ()
    """Addresses of the Prometheus servers that it may have asked."""

    def check(self, text: bytes) -> AnyRecipe:
        """Return the recipe.

        Raises:
            RequestInvalid: If it is too large, no recipe, or asks for what is not allowed.
        """
        if len(text) > self.max_bytes:
            raise RequestInvalid(
                "recipe", f"expected at most {self.max_bytes} bytes, received {len(text)}"
            )
        recipe = _read(text)
        if isinstance(recipe, Recipe):
            _check_listed("[executor] address", recipe.executor.address, self.clusters)
            asked = recipe.field.prometheus if recipe.field else ""
            _check_listed("[field] prometheus", asked, self.prometheus)
        # Every string, so that a key that comes later is not forgotten here.
        for key, value in _strings(msgspec.to_builtins(recipe)):
            if _is_path(key, value):
                self._check_path(".".join(key), value)
        return recipe

    def _check_path(self, key: str, value: str) -> None:
        try:
            path = Path(value).expanduser()
            real = path.resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise RequestInvalid(f"recipe, {key}", f"no path: {value[:80]!r}") from error
        if path.is_absolute() and any(real.is_relative_to(r.resolve()) for r in self.roots):
            return
        allowed = _one_of([str(r) for r in self.roots])
        what = (
            f"an absolute path below {allowed}" if allowed else "no path: this service allows none"
        )
        raise RequestInvalid(f"recipe, {key}", f"expected {what}, received '{value[:200]}'")


def _check_listed(key: str, address: str, listed: tuple[str, ...]) -> None:
    if address and address not in listed:
        raise RequestInvalid(
            f"recipe, {key}", f"expected {_one_of(listed) or 'none'}, received '{address[:80]}'"
        )


def _read(text: bytes) -> AnyRecipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        path.write_bytes(text)
        try:
            return read_any_recipe(path)
        except ConfigError as error:
            raise RequestInvalid("recipe", str(error).replace(f"{path}: ", "")) from error


def _strings(value: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every string of a tree with its key; items of a list have that of the list."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, (*key, str(name)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, key)


def _is_path(key: tuple[str, ...], value: str) -> bool:
    """Return whether a program may take a value for a file: it looks like one, or its key says so.

    Values from closed lists and profiles by name do neither.
    """
    if key in _FREE_TEXT or key[:-1] in _FREE_TABLES:
        return False
    looks = "/" in value or "\\" in value or value[:1] in ("~", ".")
    is_named = _PATH_KEY.fullmatch(key[-1]) is not None
    is_named |= key in _FOLDERS and bool(value)
    is_named |= key == _WEIGHTS and value not in _NO_FILES
    return looks or bool(PurePosixPath(value).suffix) or is_named


def _one_of(values: Sequence[str]) -> str:
    return " or ".join(values)
