import contextlib
import dataclasses
import functools
import itertools
import json
import multiprocessing
import operator
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import buckets
import mirrors
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import searches
import torch
from commands import runs

from benchmarks import __main__ as bench
from benchmarks import (
    extract,
    feed,
    gpu,
    gpu_run,
    growth,
    kernel,
    loaders,
    loop,
    machine,
    material,
    measure,
    page,
    peers,
    remote,
    results,
    search,
    tag_peers,
    train,
    watch,
    workers,
)
from benchmarks import s3 as s3_benchmark
from benchmarks import tag as tag_benchmark
from benchmarks.apart import Apart
from benchmarks.results import Claim, Line, Section
from genreray import heap, resume
from genreray.errors import UserError
from genreray.features import FeatureConfig
from genreray.tune import Searched

ROOT = Path(__file__).parent.parent


def section(name="one", machine_name="A", value=2.0):
    return Section(
        name,
        f"Title of {name}",
        "How it was done.",
        [Line("ours", [1234.5, 1200.0, 1300.0], "files/s", "a note")],
        [Claim(f"{name}: faster", 1.8, [value, value - 0.5, value + 0.5])],
        f"python -m benchmarks.{name}",
        "2025-01-31",
        {"CPU": machine_name},
    )


def test_contenders_take_turns_and_the_warm_up_is_dropped():
    count = itertools.count()
    sides = {name: lambda: next(count) for name in "abc"}
    assert measure.interleave(sides, repeats=2, warm_up=1) == {"a": [3, 6], "b": [4, 7], "c": [5, 8]}


def test_ratios_are_taken_within_each_round():
    assert measure.paired_ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]


def test_a_claim_is_judged_by_its_median():
    assert Claim("", 2.0, [1.0, 2.0, 3.0]).is_met
    assert Claim("", 2.0, [1.0, 2.0, 3.0]).rounds_met == 2
    assert not Claim("", 2.0, [1.0, 1.9, 3.0]).is_met
    assert not Claim("", 1.1, [1.0, 1.2, 1.3], at_least=False).is_met
    assert Claim("", 1.1, [1.0, 1.1, 1.3], at_least=False).is_met


@pytest.mark.parametrize(
    ("values", "unit", "text"),
    [
        ([0.98765], "x", "0.988x"),
        ([1.0, 2.0, 30.0], "x", "2.00x (1.00 to 30.0)"),
        ([1234.5], "files/s", "1,234 files/s"),
        ([1.0], "", "1.00"),
        ([], "files/s", "not run"),
    ],
)
def test_figures_have_three_digits_and_their_range(values, unit, text):
    assert page.figure(values, unit) == text


def test_the_page_shows_claims_lines_and_commands():
    text = page.render([section("one"), section("two", value=1.0)])
    assert "| one: faster | at least 1.8x | 2.00x (1.50 to 2.50) | met | 2 of 3 |" in text
    assert "| two: faster | at least 1.8x | 1.00x (0.500 to 1.50) | **not met** | 0 of 3 |" in text
    assert "| ours | 1,234 files/s (1,200 to 1,300) | 3 | a note |" in text
    assert "Run on 2025-01-31 by\n\n    python -m benchmarks.two\n" in text
    assert text.count("- CPU: A") == 1


def test_the_page_tells_two_machines_apart():
    text = page.render([section("one", "A"), section("two", "B")])
    assert "Run on machine 1 on" in text
    assert "Run on machine 2 on" in text
    assert "## Machine 2\n\n- CPU: B\n" in text


def test_a_new_run_replaces_its_own_sections_alone(tmp_path):
    bench.update(tmp_path, [section("feed"), section("kernel")])
    bench.update(tmp_path, [section("feed", value=9.0)])
    kept = results.read(tmp_path / "benchmarks.json")
    assert kept == [section("kernel"), section("feed", value=9.0)]
    assert (tmp_path / "benchmarks.md").read_text() == page.render(kept)


PROSE = """\
Before.

<!-- stages: extract -->
old
<!-- end -->

Between.

<!-- stages: nothing -->
kept
<!-- end -->
"""


def test_the_tables_of_another_page_are_written_anew(tmp_path):
    lines = [Line("extract: decode", [1.5], "ms", "50 %"), Line("extracted: no", [1.0], "ms")]
    (tmp_path / "performance.md").write_text(PROSE)
    for _ in range(2):
        bench.update(tmp_path, [dataclasses.replace(section(name), lines=lines) for name in ("stages", "growth")])
        text = (tmp_path / "performance.md").read_text()
        assert text.startswith("Before.\n\n<!-- stages: extract -->\n\n| what |")
        assert "| decode | 1.50 ms | 1 | 50 % |\n\n<!-- end -->\n\nBetween." in text
        assert "old" not in text
        assert text.count("decode") == 1
        assert "kept\n<!-- end -->\n" in text


def test_the_tables_of_the_documentation_are_those_of_the_last_run():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    sections = results.read(ROOT / "docs" / "benchmarks.json")
    assert page.renewed(text, sections) == text
    lines = [f"{one.name}: {line.name}" for one in sections if one.name in ("stages", "shares") for line in one.lines]
    assert set(page.tables_in(text)) == {name.rsplit(": ", 1)[0] for name in lines if name.count(": ") == 2}


def test_the_machine_is_described():
    about = machine.describe()
    assert f"{machine.n_cpus()} cores" in about["CPU"]
    assert "librosa 0.11" in about["libraries"]


NAMES = peers.Peer("a pool", "pathlib", functools.partial(operator.attrgetter, "name"))  # says the names of files


def test_the_kernel_is_compared(monkeypatch):
    monkeypatch.setattr(peers, "missing", lambda peer, extra: None)
    monkeypatch.setattr(peers, "ESSENTIA", NAMES)
    found = kernel.run(kernel.KernelOptions(repeats=2, clips=1, seconds=12.0))
    values = {line.name: line.values for line in found.lines}
    assert all(len(times) == 2 and min(times) > 0 for times in values.values())
    assert [claim.wanted for claim in found.claims] == [0.75, 0.8, 2.0, 6.0, 5.0]
    slower = [values[name] for name in ("soundfile merely decoding", "librosa", "Essentia")]
    ratios = [[a / b for a, b in zip(times, values["genreray"], strict=True)] for times in slower]
    assert [claim.values for claim in found.claims[1:4]] == [pytest.approx(values) for values in ratios]


def test_the_kernel_is_compared_without_tools_that_are_not_there(monkeypatch):
    monkeypatch.setattr(peers, "missing", lambda peer, extra: "nowhere")
    found = kernel.run(kernel.KernelOptions(repeats=1, clips=1, seconds=4.0))
    assert (found.lines[-1].name, found.lines[-1].values, found.lines[-1].note) == ("Essentia", [], "nowhere")
    assert [claim.wanted for claim in found.claims] == [0.75, 0.8, 2.0, 5.0]


def here(function, *arguments):
    function(*arguments)
    return watch.Watched(1.0, 1e9)


@pytest.mark.faults
def test_extraction_is_compared(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    monkeypatch.setattr(machine, "one_thread_each", lambda: True)
    sizes = {"files": 128, "librosa_files": 128, "many_files": 160}
    options = extract.ExtractOptions(repeats=1, clips=1, seconds=4.0, cpus=1, folder=tmp_path, **sizes)
    found = extract.run(options, here, here)
    assert [line.unit for line in found.lines] == ["files/s"] * 3 + ["s"] + ["MB"] * 3
    assert all(line.values[0] > 0 for line in found.lines)
    assert [claim.wanted for claim in found.claims] == [0.9, 0.95, 1.8, 15.0, 1.1]
    assert found.claims[0].values == [found.lines[0].values[0] / found.lines[1].values[0]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_tagging_is_compared(ray_session, tmp_path, monkeypatch):
    def once_done(is_so, function, *arguments):
        assert not is_so()
        function(*arguments)
        assert is_so()
        return 2.0

    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    sizes = {"files": 20, "many_files": 24, "catalog": 8}
    options = tag_benchmark.TagOptions(repeats=1, clips=1, seconds=3.0, cpus=1, folder=tmp_path, **sizes)
    found = tag_benchmark.run(options, here, here, once_done)
    ours, extraction, *_ = found.lines
    assert [(claim.wanted, claim.at_least) for claim in found.claims] == [(0.85, True), (30.0, False), (1.1, False)]
    assert [claim.values for claim in found.claims] == [[ours.values[0] / extraction.values[0]], [2.0], [1.0]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_tagging_is_compared_with_the_tools_that_are_there(ray_session, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    monkeypatch.setattr(machine, "one_thread_each", lambda: True)
    monkeypatch.setattr(peers, "missing", lambda peer, extra: None if peer is NAMES else f"no {peer.package}")
    monkeypatch.setattr(peers, "ESSENTIA", NAMES)
    monkeypatch.setattr(tag_peers, "_WANTED", {NAMES: 3.0, peers.TRANSFORMER: 50.0})
    options = tag_peers.PeersOptions(repeats=1, files=20, clips=1, seconds=3.0, cpus=1, folder=tmp_path)
    found = tag_peers.run(options, here)
    ours, pool, left_out = found.lines
    assert (pool.name, left_out.values, left_out.note) == ("a pool", [], "no transformers")
    assert [claim.values for claim in found.claims] == [[ours.values[0] / pool.values[0]]]
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_is_not_there_is_left_out_with_a_reason(tmp_path):
    peer = peers.Peer("a pool", "nowhere_to_be_found", NAMES.make)
    assert "no package nowhere_to_be_found" in peers.missing(peer, None)
    (tmp_path / "nowhere_to_be_found.py").touch()
    assert "no package nowhere_to_be_found" in peers.missing(peer, None)
    assert peers.missing(peer, tmp_path) is None


@pytest.mark.parametrize("peer", [peers.ESSENTIA, peers.TRANSFORMER], ids=lambda peer: peer.package)
def test_other_tools_label_what_genreray_does(peer, tmp_path):
    pytest.importorskip(peer.package)
    material.fill_folder(tmp_path, material.clips(1, 3.0), 1)
    assert len(peer.make()(tmp_path / "000000.mp3")) > 2


@pytest.mark.faults
def test_growth_is_measured(ray_session, tmp_path):
    options = growth.GrowthOptions(sizes=(2, 4, 8), jobs=("extract",), clips=1, folder=tmp_path)
    found = growth.run(options, here)
    assert [line.unit for line in found.lines] == ["s"] * 4 + [""] + ["MB"] * 3
    assert [claim.unit for claim in found.claims] == ["", "x"]
    assert found.claims[1].values == [1.0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("jobs", [growth.FILES, growth.TRAINING])
def test_growth_of_every_job_is_measured(jobs, tmp_path):
    options = growth.GrowthOptions(sizes=(32, 48, 64), jobs=jobs, epochs=2, clips=1, folder=tmp_path)
    found = growth.run(options)
    n_more = 1 if jobs == growth.TRAINING else 0  # of its epochs
    assert len(found.claims) == 2 * (2 + n_more)
    assert len(found.lines) == 2 * (8 + 3 * n_more)


@pytest.mark.parametrize("power", [0.8, 1.0, 1.2])
def test_the_power_at_which_work_grows_is_found(power):
    sizes = (250, 1000, 4000, 16000)
    start, cost, found = growth.grown(sizes, [12.0 + 0.004 * n**power for n in sizes])
    assert (start, cost, found) == (pytest.approx(12.0), pytest.approx(0.004), pytest.approx(power))


@pytest.mark.faults
def test_extraction_from_s3_is_compared(ray_session, s3, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def same(latency, leave):
        yield 0, 0

    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    monkeypatch.setattr(remote, "s3", same)
    monkeypatch.setattr(remote, "environment", lambda port: {})
    monkeypatch.setattr(remote, "BUCKET", buckets.BUCKET)
    options = s3_benchmark.S3Options(repeats=1, files=64, clips=1, seconds=4.0, folder=tmp_path)
    found = s3_benchmark.run(options, here)
    assert [line.unit for line in found.lines] == ["files/s"] * 2
    assert found.claims[0].values == [found.lines[1].values[0] / found.lines[0].values[0]]
    assert list(tmp_path.iterdir()) == []


def test_a_relay_holds_every_request_back_and_no_more():
    with mirrors.mirror() as served:
        served.files["a"] = bytes(3_000_000)
        near = int(served.url.split(":")[2].split("/")[0])
        with remote.relay(near, 0.2, 0) as far:
            times = []
            for port in (near, far):
                started = time.perf_counter()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/fma/a") as answer:
                    assert len(answer.read()) == 3_000_000
                times.append(time.perf_counter() - started)
    assert 0.2 < times[1] < times[0] + 2.0


@pytest.mark.slow
def test_feeding_is_compared(ray_session, tmp_path):
    options = feed.FeedOptions(repeats=1, rows=64, clips=1, seconds=10.0, folder=tmp_path)
    found = feed.run(options)
    assert len(found.lines) == 5
    assert all(line.values[0] > 0 for line in found.lines)
    assert [claim.wanted for claim in found.claims] == [0.4, 1.0, 1.0]
    assert list(tmp_path.iterdir()) == []


def test_other_loaders_are_compared(monkeypatch):
    monkeypatch.setattr(heap, "keep", lambda: None)
    options = loaders.LoaderOptions(repeats=1, rows=24, png_rows=8, clips=1, seconds=5.0, crop_frames=64, workers=0)
    found = loaders.run(dataclasses.replace(options, cpus=machine.n_cpus()))
    run, left_out = ([line for line in found.lines if bool(line.values) is there] for there in (True, False))
    assert len(run) + len(left_out) == 11
    assert all("is not installed" in line.note for line in left_out)
    assert [claim.wanted for claim in found.claims] == [10, 10, 0.8, 0.8, 0.8, 0.8]
    rate = {line.name: line.values[0] for line in run}
    expected = 10 / (1 / rate["genreray, first pass"] + 9 / rate["genreray, later pass"])
    assert rate["genreray, ten epochs"] == pytest.approx(expected)


def test_a_contender_lives_in_a_process_of_its_own():
    with Apart(functools.partial, time.sleep, 0.2) as contender:
        assert [0.2 <= contender() < 10 for _ in range(2)] == [True, True]
        children = multiprocessing.active_children()
    assert not any(child.is_alive() for child in children)
    with Apart(functools.partial, operator.truediv, 1, 0) as contender, pytest.raises(RuntimeError, match="by zero"):
        contender()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        Apart(operator.truediv, 1, 0)
    with Apart(functools.partial, os._exit, 3) as contender, pytest.raises(RuntimeError, match="exit code 3"):
        contender()


@pytest.mark.faults
def test_epochs_on_the_cpu_are_compared():
    options = loop.LoopOptions(
        repeats=1, rows=(4, 4), seconds=5.0, batch_size=2, crop_frames=64, workers=0, compiled=False
    )
    found = loop.run(dataclasses.replace(options, cpus=machine.n_cpus()))
    assert [line.name for line in found.lines if not line.values] == []
    assert len(found.lines) == 2 * 7
    assert [claim.wanted for claim in found.claims] == [1.5, 1.5]


@pytest.mark.faults
def test_several_workers_are_compared(ray_session, monkeypatch):
    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    options = workers.WorkersOptions(repeats=1, workers=(1, 2), rows=32, epochs=2, seconds=10.0)
    found = workers.run(options)
    assert all(line.values and line.values[0] > 0 for line in found.lines)
    rate = {line.name: line.values[0] for line in found.lines}
    assert rate["efficiency of 2 workers"] == rate["rate with 2 workers"] / rate["rate with 1 worker"]


BARE = """
import sys
sys.modules.update(dict.fromkeys({refused}))  # as if they were not installed
from benchmarks import gpu
gpu.main(sys.argv[1:])
"""
REFUSED = {
    *("ray", "librosa", "scipy", "sklearn", "pandas", "soundfile", "soxr", "av", "fsspec", "s3fs", "requests", "grpc"),
    *("safetensors", "matplotlib", "jinja2", "rich", "mutagen", "tyro", "optuna", "tensorboardX", "yaml"),
}


def test_training_on_a_gpu_is_measured_with_torch_numpy_and_pyarrow_alone(tmp_path):
    """On the CPU here, and small: where there is no GPU its numbers are not true, but all of it runs."""
    output = tmp_path / "gpu.json"
    sizes = ["--clips", "12", "--batch-size", "4", "--architectures", "mel_cnn", "fusion_cnn"]
    code = BARE.replace("{refused}", repr(REFUSED))
    argv = [sys.executable, "-c", code, "--quick", "--json", str(output), *sizes]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = results.read(output)
    assert [line.note for line in found.lines if not line.values] == []
    assert len(found.lines) == 3 + 1 + 2 * 3 + 2 + 2
    (numbers,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert json.loads(numbers).keys() == {line.name for line in found.lines}
    assert "| mel_cnn: an epoch, bf16 |" in done.stdout


def test_a_part_that_fails_or_comes_too_late_is_a_line(monkeypatch):
    def no_memory(*arguments, **more):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    options = dataclasses.replace(gpu.QUICK, clips=8, architectures=("mel_cnn",), compiled=("default",))
    monkeypatch.setattr(gpu_run, "Training", no_memory)
    found = gpu.measured(options, torch.device("cpu"))
    notes = {line.name: line.note for line in found.lines if not line.values}
    assert notes["mel_cnn: an epoch, bf16"] == "failed: OutOfMemoryError: CUDA out of memory."
    assert len(notes) == 4
    late = gpu.measured(dataclasses.replace(options, minutes=0.0), torch.device("cpu"))
    assert {line.note for line in late.lines} == {"left out: 0 minutes were over"}
    assert [line.name for line in late.lines] == [line.name for line in gpu.never_run(options).lines]


def test_what_was_never_run_says_so_and_replaces_nothing(tmp_path):
    never = gpu.never_run(gpu.STANDARD)
    text = page.render([section("one"), dataclasses.replace(never, command="python -m benchmarks.gpu")])
    assert "| gpu: mel_cnn, an epoch | at most 1 s | not run | never run |  |" in text
    assert "| mel_cnn: an epoch, bf16 | not run |  | no GPU was at hand |" in text
    assert "Never run yet; this would do it:\n\n    python -m benchmarks.gpu\n" in text
    assert text.count("- CPU: A") == 1
    bench.update(tmp_path, [dataclasses.replace(never, lines=never.lines[:1])])
    bench.update(tmp_path, [never])
    assert results.read(tmp_path / "benchmarks.json") == [never]
    bench.update(tmp_path, [section("gpu")])
    bench.update(tmp_path, [never])
    assert results.read(tmp_path / "benchmarks.json") == [section("gpu")]


def test_results_of_another_machine_are_put_on_the_page(tmp_path):
    results.write(tmp_path / "there.json", [section("gpu", "B")])
    assert bench.main(bench.Bench(names=(), add=tmp_path / "there.json", docs=tmp_path)) == 0
    assert results.read(tmp_path / "benchmarks.json") == [section("gpu", "B")]


def test_the_plain_loop_of_training_is_timed():
    options = train.TrainOptions(rows=4, epochs=2, batch_size=2)
    assert 0 < train._loop(FeatureConfig(duration=10.0), options) < 10


def test_epochs_of_a_run_are_timed_as_they_end(tmp_path):
    done, stop = [], threading.Event()
    watch = threading.Thread(target=train._watch, args=(str(tmp_path), done, stop))
    watch.start()
    for n in (1, 2):
        resume.write_history(str(tmp_path), [{"epoch": epoch} for epoch in range(1, n + 1)])
        time.sleep(0.5)
    stop.set()
    watch.join()
    assert len(done) == 2
    assert 0.3 < done[1] - done[0] < 5


def write_parts(folder, statuses, seconds):
    for i, second in enumerate(seconds):
        path = folder / f"{i}.parquet"
        pq.write_table(pa.table({"status": statuses[2 * i : 2 * i + 2]}), path)
        os.utime(path, (second, second))


def test_a_failed_track_ends_the_comparison(tmp_path):
    write_parts(tmp_path, ["ok"] * 7 + ["undecodable"], range(4))
    with pytest.raises(RuntimeError, match="7 of 8"):
        extract.steady_rate(tmp_path, 8, 1)


def test_the_steady_rate_leaves_the_start_out(tmp_path):
    write_parts(tmp_path, ["ok"] * 12, (100, 101, 111, 112, 114, 115))  # of two workers in turn
    # By hand: one did 4 files from 100 to 114 s, the other 4 from 101 to 115 s.
    assert extract.steady_rate(tmp_path, 12, 2) == pytest.approx(8 / 14)


def test_the_steady_rate_is_that_of_workers_however_they_take_turns():
    for late in (0.0, 0.1, 2.5, 4.9):  # both do 100 in 5 s, one of them later than the other
        times = sorted(5.0 * i + start for i in range(5) for start in (0.0, late))
        assert measure.steady_rate(times, [100] * 10, 2) == pytest.approx(40.0)
    with pytest.raises(ValueError, match="3 times of 2 workers"):
        measure.steady_rate([1.0, 2.0, 3.0], [1] * 3, 2)


def test_too_few_files_are_refused_before_anything_is_run():
    with pytest.raises(UserError, match="3 files are too few .* 2 workers"):
        extract.run(extract.ExtractOptions(librosa_files=3))


def test_memory_of_a_process_of_its_own_is_seen(monkeypatch):
    monkeypatch.setattr(watch, "_PAUSE", 0.1)
    watched = watch.apart(exec, "import time; held = b'x' * 300_000_000; time.sleep(1)")
    assert watched.peak is None or 300e6 < watched.peak < 600e6
    assert watched.seconds > 1


def test_a_process_is_ended_with_its_children_when_something_is_so(tmp_path):
    file = tmp_path / "child"
    code = f"""
import pathlib, subprocess
child = subprocess.Popen(["sleep", "60"])
pathlib.Path({str(file)!r}).write_text(str(child.pid))
child.wait()
"""
    seconds = watch.until(lambda: file.exists() and file.read_text() != "", exec, code)
    assert 0 < seconds < 60
    for _ in range(100):  # a process that was killed is gone a moment later
        if not runs(int(file.read_text())):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child still runs")
    with pytest.raises(RuntimeError, match="exit code 3 before it was so"):
        watch.until(lambda: False, exec, "raise SystemExit(3)")


def test_a_process_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="exit code 3"):
        watch.apart(exec, "raise SystemExit(3)")


def test_a_search_is_compared_with_its_defaults_and_its_median_trial():
    report = searches.made_up()
    best, default = (trial.value("calibrated_loss") for trial in (report.winner, report.trials[0]))
    claims = search.claims_of("demo", [report])
    assert [claim.values[0] for claim in claims[:2]] == [
        pytest.approx(best / other) for other in (default, report.median)
    ]
    lasting = [trial for trial in report.trials if trial.status != "failed"]
    share = sum(len(trial.epochs) for trial in lasting) / (12 * len(lasting))
    assert claims[2].values == [pytest.approx(share)]
    assert all(claim.is_met for claim in claims)
    shown = search.lines_of("demo", [Searched(report, 24, 90.0)])
    assert shown[2].values == [best]
    assert shown[6].values == [pytest.approx(sum(trial.seconds for trial in report.trials) / 60)]
    assert shown[5].note == "2 trials failed"
