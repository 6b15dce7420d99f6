"""What the documentation says is there, and what is there is documented."""

import ast
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from adreamer_jax.run import cli, recipe

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "adreamer_jax").rglob("*.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("&&")[-1].strip()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if "python main.py" in line
]

EXTRAS = ("viser",)  # imported where asked for; pyproject.toml names them
INSTALLED_AS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "dm_pix": "dm-pix",
    "huggingface_hub": "huggingface-hub",
    "ml_collections": "ml-collections",
    "orbax": "orbax-checkpoint",
    "skimage": "scikit-image",
}


def name_of(path):
    return str(path.relative_to(ROOT))


def undocumented(tree):
    """Public functions and classes at the top of a file that have no docstring."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in tree.body if isinstance(node, kinds)]
    public = [node for node in found if not node.name.startswith("_")]
    return [node.name for node in public if not ast.get_docstring(node)]


def defined(tree):
    """Names that a file defines or imports at its top level."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
    return names


def offered(tree):
    """The names in a file's __all__."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_file_and_public_name_is_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the file has no docstring"
    assert not undocumented(tree)
    modules = {p.stem for p in path.parent.iterdir()} if path.stem == "__init__" else ()
    assert not set(offered(tree)) - defined(tree) - set(modules)


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.stem not in ("__init__", "types")], ids=name_of
)
def test_every_file_has_a_test_of_its_name(path):
    room = path.relative_to(ROOT / "adreamer_jax").parts[0]
    assert any((ROOT / "tests" / room).rglob(f"test_{path.stem}.py"))


def test_the_readme_has_commands():
    assert len(COMMANDS) >= 6
    assert COMMANDS[0] == "python main.py --config=configs/csd.py"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readmes_commands_are_understood(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)[1:]
    values = cli.parse(words)
    assert values.config is not None or values.workdir


def test_the_readmes_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


def test_the_readmes_set_up_is_the_requirements_files():
    assert "pip install -r requirements.txt -r requirements-dev.txt && pytest" in README
    for name in ("requirements.txt", "requirements-dev.txt", "LICENSE", ".ci/run"):
        assert (ROOT / name).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=name_of)
def test_every_recipe_has_its_sizes(path):
    sizes = [recipe.load_recipe(f"{path}:{size}") for size in ("default", "smoke")]
    keys = [set(recipe.flatten(config.to_dict())) for config in sizes]
    assert keys[0] == keys[1]
    with pytest.raises(ValueError, match="smoke"):
        recipe.load_recipe(f"{path}:no-such-size")


def required():
    """The packages that requirements.txt asks for."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return {re.split(r"[<>=\[ ]", line)[0] for line in lines if line[:1] != "#"}


def imported(path):
    """Packages that a file imports, by the names that installers know."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[0] for name in names)


def test_requirements_need_no_torch():
    assert "jax" in required() and not {"torch", "tensorflow"} & required()


def test_what_is_imported_is_required():
    found = {name for path in SOURCES for name in imported(path)}
    foreign = found - set(sys.stdlib_module_names) - {"adreamer_jax", *EXTRAS}
    assert {INSTALLED_AS.get(name, name) for name in foreign} <= required()


def test_every_package_is_installed():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in SOURCES}
    packages = {".".join(folder.parts) for folder in folders}
    assert set(tools["packages"]) == packages | {"adreamer_jax.configs"}
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)
