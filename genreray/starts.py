"""How often Ray Train's workers may end while they start."""

from ray.train import FailureConfig
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError
from ray.train.v2._internal.execution.failure_handling.default import DefaultFailurePolicy
from ray.train.v2._internal.execution.failure_handling.failure_policy import FailureDecision, FailurePolicy
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError

MOST_FAILED = 10  # more than the nodes that are lost just then; by then it is what the workers do, or lack


def is_failed_start(error: TrainingFailedError) -> bool:
    """Say whether workers ended while they started, and not that they waited for room, which may come."""
    return isinstance(error, ControllerError) and isinstance(error.controller_failure, WorkerGroupStartupFailedError)


class StartPolicy(FailurePolicy):  # type: ignore[misc]
    """Ray Train's own policy, which would start workers for ever that memory runs out for while they start."""

    def __init__(self, failure_config: FailureConfig) -> None:
        """Take the limits for all else."""
        super().__init__(failure_config)
        self._default = DefaultFailurePolicy(failure_config)
        self._failed = 0

    def make_decision(self, training_failed_error: TrainingFailedError) -> FailureDecision:
        """Return whether to start workers again."""
        if is_failed_start(training_failed_error):
            self._failed += 1
            if self._failed > MOST_FAILED:
                return FailureDecision.RAISE
        return self._default.make_decision(training_failed_error)
