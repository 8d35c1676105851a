"""Recipes from the network: right ones, and files only where they may lie."""

import subprocess
import sys
from pathlib import Path

import pytest

from headtail.errors import RequestInvalid
from optimizer.serve.recipe_check import RecipeRules

PLAIN = """
name = "chain"
version = "1"
task = "a/b or ../c, as ~you like.toml"
{top}
[network]
lengths = [32, 8]
channels = [1, 2]
"""


def recipe(sections: str = "", top: str = "") -> bytes:
    """Return a recipe with more in it."""
    return (PLAIN.format(top=top) + sections).encode()


def check(text: bytes, *roots: Path, clusters: tuple[str, ...] = ()) -> str:
    """Return the recipe's name."""
    return RecipeRules(2000, roots, clusters).check(text).name


def test_recipe_without_files_needs_no_folder() -> None:
    """Text for people may say what it likes; profiles have names."""
    assert "chain" == check(recipe('[data]\nsource = "synthetic"'))
    assert "chain" == check(recipe('[partition]\ndevice_profile = "stm32l476-paper"'))


@pytest.mark.parametrize("suffix", ["", "/x.npz", "/a/../b.npz"])
def test_file_below_a_folder_is_allowed(suffix, tmp_path) -> None:
    assert "chain" == check(
        recipe(f'[data]\nsource = "npz"\npath = "{tmp_path}{suffix}"'), tmp_path
    )


def test_captured_inputs_below_a_folder_are_allowed(tmp_path) -> None:
    field = f'[field]\ncaptured = "{tmp_path}/captured"\nlabels = "{tmp_path}/labels"'
    assert "chain" == check(recipe(field), tmp_path)


@pytest.mark.parametrize(
    "sections",
    [
        '[data]\nsource = "npz"\npath = "/etc/shadow"',
        '[data]\nsource = "npz"\npath = "{root}/../x"',
        '[data]\nsource = "npz"\npath = "{root}/link/x"',
        '[data]\nsource = "npz"\npath = "{root}x"',
        '[data]\nsource = "npz"\npath = "~/x"',
        '[data]\nsource = "npz"\npath = "x"',
        '[data]\nsource = "npz"\npath = ""',
        '[data]\nsource = "npz"\npath = "~nobodyatall/x"',
        '[field]\ncaptured = "captured"',
        '[field]\ncaptured = "/etc"',
        '[field]\ncaptured = "{root}/captured"\nlabels = "labels"',
        '[partition]\ndevice_profile = "own.toml"',
        '[partition]\nlink_profile = "/etc/link.toml"',
        '[data]\nexclude = ["100", "../x"]',
    ],
)
def test_file_elsewhere_is_refused(sections, tmp_path) -> None:
    """Also behind a link, and in keys that nobody thought of."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(RequestInvalid, match=r"recipe, \S+: request refused: (expected|no path)"):
        check(recipe(sections.format(root=root)), root)


def test_cluster_must_be_a_known_one() -> None:
    """Whoever runs a cluster runs code in its clients."""
    text = recipe('[executor]\nkind = "ray"\naddress = "10.0.0.1:6379"')
    assert "chain" == check(text, clusters=("10.0.0.1:6379",))
    with pytest.raises(RequestInvalid, match=r"address: .* expected 10\.0\.0\.2:1, received"):
        check(text, clusters=("10.0.0.2:1",))
    with pytest.raises(RequestInvalid, match="expected none"):
        check(text)


def test_prometheus_must_be_a_known_one() -> None:
    """Its answers are not shown, but that it is asked is felt. Labels are no files."""
    text = recipe(
        '[field]\nprometheus = "http://10.0.0.1:9090"\nmodel = "a.b"\n'
        'matchers = { instance = "10.0.0.7:9101", path = "/x" }'
    )
    known = RecipeRules(2000, (), (), ("http://10.0.0.1:9090",))
    assert "chain" == known.check(text).name
    with pytest.raises(RequestInvalid, match=r"\[field\] prometheus: .* expected none, received"):
        check(text)
    with pytest.raises(RequestInvalid, match=r"expected http://10\.0\.0\.1:9090, received 'http:"):
        known.check(text.replace(b"10.0.0.1", b"10.0.0.2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "recipe: request refused: no valid TOML"),
        (b"name = 1", "recipe: request refused: Expected `str`, got `int`"),
        (recipe(top="sed = 1"), "recipe: .*unknown field `sed`"),
        (b"#" * 2001, "recipe: request refused: expected at most 2000 bytes, received 2001"),
    ],
)
def test_what_is_no_recipe_is_refused(text, message) -> None:
    """Without the name of a file that the sender never saw."""
    with pytest.raises(RequestInvalid, match=message) as caught:
        check(text)
    assert "/tmp" not in str(caught.value)


def test_service_loads_no_training_library() -> None:
    """Nor do the commands that ask it; only a job's own process does."""
    code = (
        "import sys, importlib\n"
        "import optimizer.serve.server, optimizer.serve.client\n"
        "from optimizer.cli import COMMANDS\n"
        "for name in COMMANDS.values():\n"
        "    if '.serve.' in name: importlib.import_module(name)\n"
        "from optimizer.serve.recipe_check import RecipeRules\n"
        f"RecipeRules(9999, (), ()).check({recipe()!r})\n"
        "heavy = {'tensorflow', 'keras', 'onnx', 'onnxruntime', 'matplotlib', 'scipy', 'wfdb',"
        " 'pygad', 'ray', 'numba', 'pandas'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)


IMAGES = 'name = "weeds"\nversion = "1"\ntask = "which"\n[data]\nsource = "cifar10_small"\n'


@pytest.mark.parametrize(
    "sections",
    [
        '[backbone]\nweights = "imagenet"',
        '[backbone]\nnetwork = "VGG16"\n[freeze]\nalways = ["block/conv.1"]',
        '[backbone]\nnetwork = "{root}/net.keras"\nweights = "{root}/weights"',
        '[backbone]\n[prune]\nkeep_layers = ["block/conv.1"]',
    ],
)
def test_backbones_by_name_and_below_a_folder_are_allowed(sections, tmp_path) -> None:
    """Layers have names that look like files, and are none."""
    assert "weeds" == check((IMAGES + sections.format(root=tmp_path)).encode(), tmp_path)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ('[backbone]\nnetwork = "net.keras"', "backbone.network"),
        ('[backbone]\nnetwork = "/etc/net.keras"', "backbone.network"),
        ('[backbone]\nweights = "weights"', "backbone.weights"),
        ('[backbone]\nweights = "{root}/../w.h5"', "backbone.weights"),
        ('[backbone]\noptions = {{ alpha = "../x" }}', "backbone.options.alpha"),
        ('[backbone]\n[costs]\npower = "own.toml"', "costs.power"),
    ],
)
def test_files_of_a_backbone_elsewhere_are_refused(sections, key, tmp_path) -> None:
    """The key is named."""
    with pytest.raises(RequestInvalid, match=rf"recipe, {key}: .*an absolute path below"):
        check((IMAGES + sections.format(root=tmp_path)).encode(), tmp_path)
