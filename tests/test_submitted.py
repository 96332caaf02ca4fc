import pytest

from genreray import cli
from genreray.errors import UserError
from genreray.parsing import JOBS, parse
from genreray.submitted import check_output


@pytest.fixture
def submitted(monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")


@pytest.mark.parametrize("uri", ["out", "./out", "../out", "a/b", "."])
def test_a_submitted_job_is_refused_relative_output(submitted, uri):
    with pytest.raises(UserError, match=r"is relative, .*: give an absolute path .*, or a bucket"):
        check_output(uri)


@pytest.mark.parametrize("uri", ["/data/out", "~/out", "file:///data/out", "s3://bucket/out", "memory://out"])
def test_a_submitted_job_writes_to_any_other_place(submitted, uri):
    check_output(uri)


def test_other_processes_write_where_they_are():
    check_output("out")


@pytest.mark.parametrize("name", JOBS)
def test_every_job_is_checked_before_it_does_anything(submitted, capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    source = {"fetch": ["fma-small"], "demo": [], "untag": [], "review": []}.get(name, ["music"])
    target = ["--plot", "output"] if name == "inspect" else ["output"]
    needed = ["--checkpoint", "run"] if name in ("evaluate", "tag", "inspect") else []
    assert cli.main([name, *source, *target, *needed]) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith("genreray: output is relative")
    assert list(tmp_path.iterdir()) == []
    job = parse([name, *source, *target, *needed])
    assert getattr(job, job.output) == "output"
