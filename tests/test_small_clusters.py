"""Every job ends on Rays of very few CPUs: what trains, reads and writes never waits for another for good."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from making import write_music

ROOT = Path(__file__).parent.parent
# One process, as Ray is started once a process; each job finds the Ray that is there.
CHAIN = """
import sys
import ray
from genreray import cli

if __name__ == "__main__":
    n_cpus, workers, jobs, manifest, out = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), *sys.argv[4:]
    ray.init(address="local", num_cpus=n_cpus, num_gpus=0, include_dashboard=False, logging_level="error",
             log_to_driver=False, object_store_memory=200_000_000)
    small = ["--crop-frames", "64", "--batch-size", "8", "--filters", "4", "8", "--epochs", "1"]
    for job in (
        ["extract", manifest, f"{out}/features", "--duration", "3"],
        ["train", f"{out}/features", f"{out}/run", "--workers", workers, *small],
        ["evaluate", f"{out}/features", f"{out}/report", "--checkpoint", f"{out}/run"],
        ["tag", manifest, f"{out}/tags", "--checkpoint", f"{out}/run"],
    ):
        assert job[0] not in jobs or cli.main(job) == 0, job
"""


ALL = ("extract", "train", "evaluate", "tag")


def run_chain(tmp_path, cpus: int, workers: int, jobs: tuple[str, ...] = ALL, n: int = 18) -> None:
    manifest = write_music(tmp_path / "music", n)
    (tmp_path / "chain.py").write_text(CHAIN)
    arguments = [str(cpus), str(workers), ",".join(jobs), manifest, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, str(tmp_path / "chain.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"\ninjected: a Ray of {cpus} CPUs for {workers} workers; found: {', '.join(jobs)} done, exit code 0")
    assert pq.read_table(tmp_path / "features").num_rows == n
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 1
    assert len((tmp_path / "tags" / "tags.csv").read_text().splitlines()) == n + 1


@pytest.mark.faults
def test_extract_train_and_tag_end_on_one_cpu(tmp_path):
    run_chain(tmp_path, cpus=1, workers=1, jobs=("extract", "train", "tag"), n=8)


@pytest.mark.faults
@pytest.mark.parametrize(("cpus", "workers"), [(1, 2), (2, 2), (4, 4)])
def test_every_job_ends_with_as_many_workers_as_cpus_or_more(tmp_path, cpus, workers):
    run_chain(tmp_path, cpus, workers)
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["n"] == 2
