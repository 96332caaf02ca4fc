import types

import pytest

from benchmarks import laps, machine, stages, stages_lines
from benchmarks.laps import Laps, Place


@pytest.fixture
def clock(monkeypatch):
    """A clock of CPU time that is set by hand."""
    hands = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(laps.time, "process_time", lambda: hands.now)
    return hands


def test_all_that_passes_is_one_stage_s_or_another_s(clock):
    def outer():
        clock.now += 1
        program.inner()
        clock.now += 10

    def inner():
        clock.now += 100

    program = types.SimpleNamespace(outer=outer, inner=inner)
    found = Laps(("before", "outer", "inner"))
    with found.at(Place(program, "inner", "outer", "inner"), Place(program, "outer", "before", "outer")):
        clock.now += 1000
        program.outer()
    assert found.seconds == {"before": 1000, "outer": 11, "inner": 100}
    assert found.per(2)["inner"] == 50
    assert program.outer is outer
    assert program.inner is inner


def test_a_stage_that_was_never_met_is_an_error(clock):
    found = Laps(("one", "two"))
    found.start()
    clock.now += 1
    found.lap("one")
    with pytest.raises(RuntimeError, match="'two'"):
        found.per(1)
    with pytest.raises(AttributeError), found.at(Place(types.SimpleNamespace(), "gone", "one", "two")):
        pass


def test_the_stages_of_a_job_are_shown_with_their_sum_and_floor():
    job = stages_lines.Job(
        "job", {"a": [0.003, 0.001], "b": [0.001, 0.001]}, [0.005, 0.002], {"a": 2.5e6}, {"copy": [0.001, 0.002]}, ["a"]
    )
    lines = {line.name: line for line in job.lines()}
    assert lines["job: a"].note == "55.0%; 2.50 MB"
    assert lines["job: sum of the stages"].values == pytest.approx([4.0, 2.0])
    assert lines["job: the whole"].note == "1.12 of the sum"
    assert lines["job: floor, copy"].note == "116.7% of a"
    assert job.claim().values == pytest.approx([1.25, 1.0])


@pytest.mark.faults
def test_the_stages_of_all_jobs_are_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    options = stages.StagesOptions(repeats=1, block=2, answered=2, clips=1, seconds=4.0, rows=(8, 8), folder=tmp_path)
    found = stages.run(options)
    times = {line.name: line.values for line in found.lines}
    jobs = ("extract", "tag, mel_cnn", "tag, short_chunk_resnet", "train, first pass", "train, mel_cnn")
    for job in (*jobs, "train, short_chunk_resnet"):
        own = {name: values[0] for name, values in times.items() if name.startswith(f"{job}: ")}
        assert min(own.values()) > 0
        floors = sum(value for name, value in own.items() if ": floor" in name)
        whole, total = own[f"{job}: the whole"], own[f"{job}: sum of the stages"]
        assert total == pytest.approx(sum(own.values()) - floors - whole - total)
        assert 0.3 < whole / total < 3
    assert all("never run" in line.note for line in found.lines if " GPU" in line.name)
    assert len(found.claims) == 6
    assert list(tmp_path.iterdir()) == []
