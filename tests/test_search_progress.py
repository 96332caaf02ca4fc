"""What a person sees of a search while it runs."""

import io

import searches
from rich.console import Console

from genreray.progress import Progress
from genreray.search_progress import SearchProgress
from genreray.trials import Trial, TrialStatus


def trial(number, status=TrialStatus.INTERRUPTED, loss=None, error=None, **config):
    history = [] if loss is None else [{"epoch": n, "calibrated_loss": loss + 1 - n / 4} for n in (1, 2, 3, 4)]
    return Trial(trial_id=f"{number:04d}", model="mel_cnn", config=config, status=status, history=history, error=error)


def told(terminal: bool) -> tuple[SearchProgress, io.StringIO]:
    """A search of four trials of which two have ended and one runs."""
    file = io.StringIO()
    console = Console(file=file, width=110, force_terminal=terminal, highlight=False)
    seen = SearchProgress(Progress(console, "tune"), "calibrated_loss", 4, 9)
    with seen:
        for n in (1, 2, 3):
            seen.begin(trial(n, learning_rate=n / 1000, filters=(4, 8)))
        seen.epoch("0003", {"epoch": 2, "calibrated_loss": 1.25})
        seen.end(trial(1, TrialStatus.FINISHED, 0.5, learning_rate=1e-3, filters=(4, 8)))
        seen.end(trial(2, TrialStatus.FAILED, error="out of memory", learning_rate=2e-3, filters=(4, 8)))
    return seen, file


def test_a_log_has_a_plain_line_for_each_trial_that_ends():
    _, file = told(terminal=False)
    assert file.getvalue().splitlines() == [
        "trial   1/4  finished  epoch   4  calibrated loss 0.5000  best so far 0.5000 (trial 1)  "
        "learning_rate 0.001, filters 4-8",
        "trial   2/4  failed    epoch   0  out of memory  best so far 0.5000 (trial 1)  "
        "learning_rate 0.002, filters 4-8",
    ]


def test_a_terminal_has_a_table_of_what_runs_and_of_the_best():
    seen, file = told(terminal=True)
    assert "\x1b[?25h" in file.getvalue()  # the cursor is there again
    plain = io.StringIO()
    Console(file=plain, width=110).print(seen.table())
    title, heads, running, best, failed = (line.split() for line in plain.getvalue().splitlines())
    assert title[:4] == ["2", "of", "4", "trials,"]
    assert heads == ["trial", "status", "epoch", "calibrated", "loss", "parameters"]
    assert running[:4] == ["0003", "running", "2/9", "1.2500"]
    assert best[:4] == ["0001", "finished", "4", "0.5000"]
    assert failed[:3] == ["0002", "failed", "0"]


def test_many_settings_leave_the_other_columns_whole():
    report = searches.made_up()
    plain = io.StringIO()
    console = Console(file=plain, width=80)
    console.print(SearchProgress(Progress(console, "tune"), report.metric, 24, 12, report.trials).table())
    _, heads, *lines = plain.getvalue().splitlines()
    assert heads.split() == ["trial", "status", "epoch", "calibrated", "loss", "parameters"]
    best = report.winner
    first = [best.trial_id, "finished", "12", f"{best.value(report.metric):.4f}", "filters"]
    assert lines[0].split()[:5] == first
    assert len(lines) == 12  # each in one line
    assert lines[0].endswith("…")
