"""Holds the import rule of docs/architecture.md: nouns are pure, verbs run on Ray."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "genreray"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
VERBS = {
    *("cluster", "desk", "evaluate", "extract", "feed", "fitting", "pipeline", "predict", "reproduce", "sharing"),
    *("starts", "tag", "train", "train_worker", "trial", "tune", "tune_all", "tune_summary", "tuner"),
}
OUTERMOST = {"entry", "cli", "walkthrough"}
FILESYSTEMS = {"fsspec", "s3fs", "botocore", "obstore", "shutil", "glob", "tempfile"}


def imports(path: Path) -> set[str]:
    """Full names of what a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own(path: Path) -> set[str]:
    """First names (models, not models.base) of this package's other modules that a file imports."""
    names = {name.split(".")[1] for name in imports(path) if name.startswith("genreray.")}
    return (names & {name.split(".")[0] for name in MODULES}) - {path.relative_to(PACKAGE).parts[0]}


def test_the_rule_reads_real_files():
    assert {"extract", "catalog", "models.mel_cnn"} <= MODULES.keys()
    assert "pipeline" in own(MODULES["extract"])
    assert "ray.data" in imports(MODULES["extract"])


def test_only_verbs_import_ray():
    with_ray = {name for name, path in MODULES.items() if any(i.split(".")[0] == "ray" for i in imports(path))}
    assert with_ray <= VERBS
    assert with_ray >= VERBS - {"evaluate", "reproduce", "tag", "train", "tune", "tune_all", "tune_summary"}


def test_nouns_do_not_import_verbs():
    nouns = MODULES.keys() - VERBS - OUTERMOST
    assert not {name: found for name in nouns if (found := own(MODULES[name]) & (VERBS | OUTERMOST))}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("errors", set()),
        ("machine_code", set()),
        ("metrics", set()),
        ("tables", {"errors"}),
        ("storage", {"errors", "tables"}),
        ("audio", {"errors", "machine_code", "tables"}),
        ("fft", {"machine_code"}),
        ("filters", set()),
        ("features", {"errors", "fft", "filters", "machine_code", "tables"}),
        ("genres", {"errors", "tables"}),
    ],
)
def test_the_lowest_modules_stand_on_little(name, allowed):
    files = [path for module, path in MODULES.items() if module.split(".")[0] == name]
    assert files
    assert {found for path in files for found in own(path)} <= allowed


def test_filesystem_code_is_in_storage_alone():
    users = set()
    for name, path in MODULES.items():
        if {imported.split(".")[0] for imported in imports(path)} & FILESYSTEMS:
            users.add(name.split(".")[0])
    # A checkpoint goes to Ray Train as a local folder, which is made where Ray wants it: on the worker.
    assert users <= {"storage", "train_worker"}


def test_importing_does_nothing(tmp_path):
    import subprocess
    import sys

    names = [f"genreray.{name}" for name in MODULES if name != "__init__" and name]
    code = (
        f"import importlib, os, logging; before = dict(os.environ); [importlib.import_module(n) for n in {names!r}];"
        "import ray; assert not ray.is_initialized(); assert not logging.getLogger('genreray').handlers;"
        "changed = {k for k in os.environ if os.environ[k] != before.get(k)};"
        # libraries set these when they are imported
        "assert all(k.startswith(('RAY_', 'KMP_', 'TORCHINDUCTOR_', 'OMP_')) for k in changed), changed"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
