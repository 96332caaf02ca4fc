import os
from pathlib import Path

import pytest
import sounds
import stores

# Read by Ray when it is imported.
os.environ["RAY_AUTH_MODE"] = "disabled"  # or a local cluster writes a token into the home directory
os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
os.environ["RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S"] = "60"  # a job that hangs fails
os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "60"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray's workers, and the processes that they start, find the modules beside this one.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def tone():
    return sounds.tone


@pytest.fixture(scope="session")
def encode():
    return sounds.encode


@pytest.fixture(scope="session")
def ray_session():
    """A local Ray of two CPUs, the same for all tests that ask for one."""
    import ray
    from ray.data import DataContext

    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture
def faulty():
    """Says which calls of faulty:// and bucket:// shall fail."""
    stores.empty()
    yield stores.fail
    stores.empty()


@pytest.fixture(params=["local", "memory", "bucket"])
def place(request, tmp_path, faulty):
    """The URI of an empty folder, in each kind of storage."""
    return str(tmp_path) if request.param == "local" else f"{request.param}://test/here"
