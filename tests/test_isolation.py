import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing.reduction import send_handle
from pathlib import Path

import hazards
import pytest

from genreray import exchange, isolation
from genreray.errors import Status, TrackError, UserError
from genreray.isolation import DEFAULT_LIMITS, Limits, map_isolated

LIMITS = Limits(seconds=1.0, memory=300)


def squares(items, limits=LIMITS):
    return [
        found if isinstance(found, TrackError) else found[0] for found in map_isolated(hazards.numbers, items, limits)
    ]


def processes(items):
    return {pid for _, pid in map_isolated(hazards.numbers, items, LIMITS)}


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_come_in_order_from_one_other_process_that_is_kept():
    assert squares(list(range(50))) == [i**2 for i in range(50)]
    first = processes([1, 2, 3])
    assert len(first) == 1
    assert first == processes([4])
    assert os.getpid() not in first


def test_large_results_come_whole_and_stay_what_they_were():
    contents = [bytes([i]) * (50_000 * i) for i in range(20)]
    found = list(map_isolated(hazards.same, contents, LIMITS))
    list(map_isolated(hazards.same, [b"x" * len(content) for content in contents], LIMITS))
    assert found == contents


def test_no_items_need_no_process(monkeypatch):
    monkeypatch.setattr(isolation, "_Process", None)
    assert list(map_isolated(hazards.numbers, [], LIMITS)) == []


@pytest.mark.parametrize(
    ("hazard", "status", "words"),
    [
        ("segfault", Status.CRASHED, "SIGSEGV"),
        ("leave", Status.CRASHED, "exit code 3"),
        ("be_killed", Status.CRASHED, "SIGKILL, as the system does when memory runs out"),
        ("hang", Status.TIMEOUT, "more than 1 s"),
        ("swell", Status.CRASHED, "more than 300 MiB of memory"),
    ],
)
def test_what_crashes_hangs_or_swells_costs_itself_alone(hazard, status, words):
    one, fault, *more = squares([1, hazard, 2, 3])
    assert (one, more) == (1, [4, 9])
    assert fault.status == status
    assert words in fault.message
    assert squares([4]) == [16]


def test_a_process_that_swells_is_stopped_soon_after_the_limit(monkeypatch):
    seen = []
    memory = isolation._Process.memory
    monkeypatch.setattr(isolation._Process, "memory", lambda self: seen.append(memory(self)) or seen[-1])
    squares(["swell"])
    print(
        f"injected: up to 320 MiB more each 0.1 s; found: at most {max(seen):.0f} MiB, the limit being {LIMITS.memory}"
    )
    assert LIMITS.memory < max(seen) < LIMITS.memory + 1000  # a busy machine looks later


def test_a_process_killed_by_chance_costs_nothing(tmp_path):
    assert squares([1, f"be_killed_once {tmp_path / 'killed'}", 2]) == [1, 0, 4]
    assert (tmp_path / "killed").exists()


def test_a_process_killed_while_it_waits_is_started_anew():
    (pid,) = processes([1])
    os.kill(pid, 9)
    time.sleep(0.2)
    assert squares([5]) == [25]


def test_a_process_that_holds_much_is_not_used_again():
    first = processes([1])
    assert squares([2], Limits(memory=10**6)) == [4]
    assert first == processes([1])
    isolation._idle[-1].memory = lambda: LIMITS.memory / 2 + 1
    assert first != processes([1])
    assert not is_running(first.pop())


def test_what_the_function_raises_is_raised():
    with pytest.raises(UserError, match="^the disk is full$"):
        list(map_isolated(hazards.fail, [UserError("the disk is full")], LIMITS))
    with pytest.raises(RuntimeError, match="(?s)hazards.py.*ZeroDivisionError: by chance"):
        list(map_isolated(hazards.fail, [ZeroDivisionError("by chance"), 1], LIMITS))
    with pytest.raises(RuntimeError, match="ValueError: zip"):
        list(map_isolated(str, ["a", "number of results that is not theirs"], LIMITS))
    assert squares([5]) == [25]


def test_what_cannot_be_imported_there_is_an_error_and_no_tracks_fault(monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != here])
    monkeypatch.delenv("PYTHONPATH")
    isolation._idle.clear()
    with pytest.raises(RuntimeError, match="No module named 'hazards'"):
        squares([1])


def ends_by_itself(pid):
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_it_ends_with_its_parent():
    code = (
        "import hazards, os; from genreray.isolation import DEFAULT_LIMITS, map_isolated;"
        "found = list(map_isolated(hazards.numbers, [1], DEFAULT_LIMITS)); print(found[0][1], flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ends_by_itself(int(out.stdout))


def test_it_ends_without_its_parent_where_it_hangs():
    ours, theirs = multiprocessing.Pipe()
    code = f"from genreray import isolation; isolation._ORPHANED = 0.5; isolation.serve({theirs.fileno()})"
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()], stderr=subprocess.PIPE)
    theirs.close()
    ours.send_bytes(pickle.dumps((hazards.numbers, ["hang"], 0.5)))
    send_handle(ours, exchange.open_room(), process.pid)
    _, said = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGALRM
    assert b"hazards.py" in said  # where it hung


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_that_makes_no_sense_is_refused(seconds):
    with pytest.raises(UserError, match="give the seconds"):
        Limits(seconds)


def test_the_default_is_far_above_what_a_track_takes():
    assert Limits(120.0, 2048) == DEFAULT_LIMITS
