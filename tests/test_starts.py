import pytest
from ray.train import FailureConfig
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.failure_handling.failure_policy import FailureDecision
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from genreray.starts import MOST_FAILED, StartPolicy

RETRY, RAISE = FailureDecision.RETRY, FailureDecision.RAISE


@pytest.fixture
def policy():
    return StartPolicy(FailureConfig(max_failures=2))


def test_workers_that_end_while_they_start_are_not_started_for_ever(policy):
    error = ControllerError(WorkerGroupStartupFailedError("a worker died"))
    assert [policy.make_decision(error) for _ in range(MOST_FAILED + 1)] == [RETRY] * MOST_FAILED + [RAISE]


def test_room_for_workers_is_waited_for_as_long_as_it_takes(policy):
    error = ControllerError(WorkerGroupStartupTimeoutError(num_workers=2))
    assert {policy.make_decision(error) for _ in range(100)} == {RETRY}


def test_workers_that_end_later_are_made_good_as_often_as_ray_train_is_told(policy):
    error = WorkerGroupError("a worker died", {0: RuntimeError("died")})
    assert [policy.make_decision(error) for _ in range(3)] == [RETRY, RETRY, RAISE]
