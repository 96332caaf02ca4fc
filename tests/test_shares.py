import os
import time

import pytest

from benchmarks import looks, machine, shares, watch
from benchmarks.looks import DECODING, DRIVER, SERVICES, WORKERS, Look


def test_the_time_of_a_process_is_seen_from_outside():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert watch.cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)
    with pytest.raises(OSError, match="argument"):
        watch.cpu_seconds(2**22 + 1)  # more than Linux has


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/bin/python -P -c from genreray.isolation import serve; serve(7)", DECODING),
        ("ray::MapBatches(extract_part)", WORKERS),
        ("ray::IDLE", WORKERS),
        ("/bin/python /lib/ray/_private/workers/default_worker.py --node-ip-address=127.0.0.1", WORKERS),
        ("ray::_StatsActor", SERVICES),
        ("/lib/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", SERVICES),
        ("/bin/python /lib/ray/_private/log_monitor.py", SERVICES),
    ],
)
def test_processes_are_told_apart_by_their_command_lines(command, kind):
    assert looks.kind_of(command, is_driver=False) == kind
    assert looks.kind_of(command, is_driver=True) == DRIVER


def look(at, decoding, workers=0.0):
    return Look(at, {DECODING: decoding, WORKERS: workers, DRIVER: 1.0, SERVICES: 0.0})


def test_what_is_busy_between_two_times_is_reckoned_between_the_looks():
    seen = [look(0, 0.0), look(2, 1.0), look(4, 4.0, 1.0), look(6, 6.0, 2.0)]
    # By hand, from 1 to 5: decoding from 0.5 to 5, workers from 0 to 1.5.
    assert looks.busy(seen, 1, 5) == pytest.approx({DECODING: 4.5 / 4, WORKERS: 1.5 / 4, DRIVER: 0.0, SERVICES: 0.0})
    with pytest.raises(RuntimeError, match="too short"):
        looks.busy(seen, 3, 5)


def test_the_steady_part_of_a_run_begins_and_ends_with_all_workers(tmp_path):
    for i, second in enumerate((100, 101, 111, 112, 114, 115)):
        (tmp_path / str(i)).touch()
        os.utime(tmp_path / str(i), (second, second))
    assert looks.steady(tmp_path, 2) == (101, 114)


def test_what_nothing_ran_for_is_what_is_left_of_the_cpus():
    share = shares.Share({DECODING: 1.5, WORKERS: 0.0, DRIVER: 0.1, SERVICES: 0.0}, 40.0)
    lines = {line.name: line for line in shares._lines("job", [share], 2)}
    assert lines[f"job: {DECODING}"].values == [pytest.approx(37.5)]
    assert lines[f"job: {DRIVER}"].values == [pytest.approx(2.5)]
    assert lines["job: nothing of the job's ran"].values == [pytest.approx(10.0)]
    assert lines["job: nothing of the job's ran"].note == "20.0%"
    assert lines["job: the whole"].values == [pytest.approx(50.0)]


@pytest.mark.faults
def test_who_takes_the_cpus_with_ray_is_seen(ray_session, tmp_path, monkeypatch):
    def here(function, *arguments):
        with looks.Looker(os.getpid()) as looker:
            function(*arguments)
        return looker.looks

    monkeypatch.setattr(machine, "hold_to", lambda cpus: None)
    monkeypatch.setattr(looks, "_PAUSE", 0.05)
    found = shares.run(shares.SharesOptions(clips=1, seconds=4.0, files=160, cpus=1, folder=tmp_path), here)
    times = {line.name: line.values[0] for line in found.lines}
    assert len(times) == 2 * (len(looks.KINDS) + 2)
    for job in ("extract with Ray", "tag with Ray, mel_cnn"):
        assert times[f"{job}: {DECODING}"] > 1
        parts = [value for name, value in times.items() if name.startswith(f"{job}: ")]
        assert sum(parts[:-1]) == pytest.approx(parts[-1])
    assert list(tmp_path.iterdir()) == []
