"""What the documentation says is there, is there: commands, flags, modules, columns, statuses, links, dependencies."""

import dataclasses
import inspect
import re
import shlex
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from making import failed_row, feature_rows, write_features

from benchmarks.quality import Quality
from genreray import arguments, models, parsing, space, tables, trials, winner
from genreray.errors import FileOutcome, Status
from genreray.features import FeatureConfig
from genreray.parts import Parts
from genreray.search_plan import SearchPlan

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("architecture", "models", "running", "tables", "tagging")),
]
EVERY_PAGE = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])  # with the benchmarks' own, which a program writes


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language, also those inside lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in text.split("\n")) for indent, text in found]


def lines(page: Path) -> list[str]:
    """The command lines of a page's sh blocks, continued ones joined."""
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    return [line for line in text.split("\n") if line.strip()]


def jobs(line: str) -> list[list[str]]:
    """The arguments of each call of genreray in a command line, by name, as a script or submitted."""
    words = shlex.split(line, comments=True)
    if words[:3] == ["ray", "job", "submit"]:
        words = words[words.index("--") + 1 :]
    if words[:1] == ["genreray"]:
        return [words[1:]]
    if words[:1] == ["python"] and words[1].startswith("jobs/"):
        script = ROOT / words[1]
        assert script.is_file(), line
        return [[script.stem, *words[2:]]]
    return []


COMMANDS = [(page.name, argv) for page in EVERY_PAGE for line in lines(page) for argv in jobs(line)]


@pytest.mark.parametrize(("page", "argv"), COMMANDS, ids=[f"{page}: {shlex.join(argv)}" for page, argv in COMMANDS])
def test_every_command_line_parses(page, argv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--config" in argv:
        best = winner.Winner("mel_cnn", space.default_configs(models.family("mel_cnn")))
        winner.write(argv[argv.index("--config") + 1], best)
    assert isinstance(parsing.parse(argv), parsing.JOBS[argv[0]])


def test_each_job_is_shown_in_the_readme():
    shown = {argv[0] for page, argv in COMMANDS if page == "README.md"}
    assert shown >= {"extract", "train", "evaluate", "tag"}


def flags() -> set[str]:
    """Every flag of genreray; of train, those of all architectures."""
    owners = [*parsing.JOBS.values(), arguments.FeatureConfig, arguments.TrainingConfig, arguments.Wanted]
    owners.append(SearchPlan)
    owners += [family.config for family in models.MODELS.values()]
    owners.append(Quality)  # models.md shows how to measure with it
    return {f"--{field.name.replace('_', '-')}" for owner in owners for field in dataclasses.fields(owner)} | {"--help"}


def test_every_flag_that_is_named_exists():
    """Other programs' flags are written with the program before them."""
    named = {flag for page in PAGES for flag in re.findall(r"`(--[a-z][a-z0-9-]*)", page.read_text(encoding="utf-8"))}
    assert named
    assert named <= flags()


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        word
        for page in EVERY_PAGE
        for line in lines(page)
        if line.startswith("make ")
        for word in shlex.split(line, comments=True)[1:]
    }
    assert named >= {"demo", "test"}
    assert named <= targets


def test_the_architecture_names_every_module_and_no_other():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^(genreray/[\w/]+\.py) ", text, re.MULTILINE)
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "genreray").rglob("*.py")}
    assert set(named) == there
    assert len(named) == len(set(named))


def test_the_architecture_names_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w-]+)`", text[text.index("## Dependencies") :]))
    assert {re.split(r"[^\w-]", requirement)[0] for requirement in wanted} <= named


def rows(section: str) -> list[list[str]]:
    """The rows of the first table below a heading of tables.md, a list of cells each."""
    text = (DOCS / "tables.md").read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    table = re.search(r"^\|.*?\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, section
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.group(1).splitlines()]


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("CATALOG", list(tables.CATALOG)),
        ("FEATURES", [field for field in tables.FEATURES if field.name not in tables.CATALOG.names]),
        ("PREDICTIONS", list(tables.PREDICTIONS)),
        ("TRIALS", list(trials.TRIALS)),
    ],
)
def test_every_column_is_described_with_its_type(section, fields):
    described = [(name, kind, null != "never") for name, kind, null, _ in rows(section)]
    assert described == [(f"`{field.name}`", f"`{written(field.type)}`", field.nullable) for field in fields]


def written(kind: pa.DataType) -> str:
    """A type as the page writes it: list<string>, whatever this version of Arrow calls the items."""
    return re.sub(r"\b(item|element): ", "", str(kind))


def test_every_status_is_described():
    assert [name for name, *_ in rows("Statuses")] == [f"`{status}`" for status in Status]


def test_every_outcome_of_a_file_is_described():
    assert [name for name, *_ in rows("Tags in files")] == [f"`{outcome}`" for outcome in FileOutcome]


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=lambda page: page.name)
def test_every_link_leads_to_something(page):
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.is_file(), f"{page.name} links to {target}"
        assert not anchor or anchor in slugs(file), f"{page.name} links to {target}"


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """A folder with features, predictions and music, where the snippets run."""
    write_features(tmp_path / "features", [*feature_rows(), {**failed_row("x", None, None), "status": "unreadable"}])
    ranked = [{"genre": "Rock", "probability": 0.4}]
    rated = {"track_id": "a", "uri": "/a.mp3", "status": "ok", "genre": "Rock", "confidence": 0.4, "genres": ranked}
    labels = Parts(str(tmp_path / "tags" / "predictions"), tables.with_metadata(tables.PREDICTIONS, {}))
    labels.write(pa.Table.from_pylist([rated], schema=tables.PREDICTIONS))
    (tmp_path / "music" / "Jazz").mkdir(parents=True)
    (tmp_path / "music" / "Jazz" / "a.mp3").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page: Path, word: str) -> dict[str, object]:
    """Run the snippet of a page that holds a word, and return its names."""
    (code,) = (block for block in blocks(page, "python") if word in block)
    names: dict[str, object] = {}
    exec(compile(code, page.name, "exec"), names)
    return names


def test_the_snippets_read_the_tables(outputs):
    page = DOCS / "tables.md"
    names = run(page, "np.frombuffer")
    config = names["config"]
    assert names["mel"].shape == (config["n_mels"], names["row"]["n_frames"])
    assert names["mfcc"].shape == (config["n_mfcc"], names["row"]["n_frames"])
    assert names["mel_db"].max() <= names["row"]["mel_ref"]
    assert set(run(page, "import pandas")["failed"]["status"]) == {"undecodable", "unreadable"}
    assert run(page, "import polars")["per_genre"]["len"].sum() == 48
    assert list(run(page, "import duckdb")["doubtful"]["genre"]) == ["Rock"]
    assert len(blocks(page, "python")) == 4


def test_the_snippet_for_folders_makes_a_manifest(outputs):
    from genreray.catalog import read_catalog

    run(DOCS / "running.md", "rows.writerow")
    (row,) = read_catalog("songs.csv").to_pylist()
    assert (row["genre"], row["uri"]) == ("Jazz", str(outputs / "music" / "Jazz" / "a.mp3"))


def test_the_model_of_ones_own_is_a_module_that_works(tmp_path, monkeypatch):
    (source,) = blocks(DOCS / "models.md", "python")
    (tmp_path / "mypackage").mkdir()
    (tmp_path / "mypackage" / "mymodel.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    job = parsing.parse(["train", "a", "b", "--model", "mypackage.mymodel", "--filters", "3", "5"])
    model = models.build(job.model, job.architecture, FeatureConfig(n_mels=16, n_mfcc=8), 40, 4)
    crops = {name: torch.zeros(3, 16 if name == "mel" else 8, 40, dtype=torch.uint8) for name in model.inputs}
    assert model(crops).shape == (3, 4)


@pytest.mark.parametrize("name", models.MODELS)
def test_search_spaces_are_documented_as_they_are(name):
    """Each setting in the model's own row, or in one of those of several."""
    text = (DOCS / "models.md").read_text(encoding="utf-8").split("## Search spaces")[1].split("```yaml")[0]
    found = dict(re.findall(r"^\| (.*?) \| (.*) \|$", text, re.MULTILINE))
    own = found.pop(name, "")
    shared = "; ".join(found[row] for row in found if row not in models.MODELS)
    missing = [
        field
        for field, dimension in models.family(name).space.items()
        if f"`{field}` {dimension};" not in f"{own if f'`{field}`' in own else shared};"
    ]
    assert missing == []


def test_the_space_in_a_file_is_one(tmp_path):
    (text,) = blocks(DOCS / "models.md", "yaml")
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    found = space.read_space(str(tmp_path / "space.yaml"), models.family("mel_cnn"))
    assert len(space.varied(found)) == len(found) - 1 == 6


@pytest.mark.parametrize("name", models.MODELS)
def test_models_are_documented_as_they_are(name):
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    model = models.build(name, models.family(name).config(), FeatureConfig(), 385, 16)
    assert re.search(rf"^#+ .*\b{name}\b", text, re.MULTILINE)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert not parameters or f"{parameters:,}" in text
    table = re.findall(r"^        .*$", type(model).__doc__ or "", re.MULTILINE)
    if table:
        assert inspect.cleandoc("\n".join(table)) in text
