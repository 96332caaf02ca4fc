import os
import uuid
from pathlib import Path

import buckets
import pytest
import sounds
import stores

# Read by Ray when it is imported.
os.environ["RAY_AUTH_MODE"] = "disabled"  # or a local cluster writes a token into the home directory
os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
os.environ["RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S"] = "60"  # a job that hangs fails
os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "60"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# As the command sets them where it starts Ray itself (genreray/cluster.py), which the tests' own Ray is not.
os.environ["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.5"
# Ray's workers, and the processes that they start, find the modules beside this one.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
# S3 as its clients find it, whatever the machine has set up.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= {
    "AWS_ACCESS_KEY_ID": buckets.KEY,
    "AWS_SECRET_ACCESS_KEY": buckets.SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def pytest_collection_modifyitems(items):
    """Files with jobs on Ray first, which take long: what is quick fills up the end where several run side by side."""
    jobs = {item.path for item in items if "ray_session" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in jobs)


@pytest.fixture(scope="session")
def tone():
    return sounds.tone


@pytest.fixture(scope="session")
def encode():
    return sounds.encode


@pytest.fixture(scope="session")
def s3():
    """moto's server behind an endpoint that can be told to fail; Ray's workers find it too."""
    with buckets.endpoint() as served:
        os.environ["AWS_ENDPOINT_URL"] = served.url
        yield served
        del os.environ["AWS_ENDPOINT_URL"]


@pytest.fixture
def bucket(s3):
    """The URI of an empty prefix on S3."""
    s3.asked.clear()
    return f"s3://{buckets.BUCKET}/{uuid.uuid4().hex[:8]}/here"


@pytest.fixture(scope="session")
def ray_session(s3):
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


@pytest.fixture(params=["local", "memory", "bucket", "s3"])
def place(request, tmp_path, faulty):
    """The URI of an empty folder, in each kind of storage."""
    if request.param == "s3":
        return request.getfixturevalue("bucket")
    return str(tmp_path) if request.param == "local" else f"{request.param}://test/here"


@pytest.fixture(params=["local", "s3"])
def anywhere(request, tmp_path):
    """The URI of an empty folder where whole jobs work: on disk, and on S3."""
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("bucket")
