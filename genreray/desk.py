"""Where the workers of a search's trials wait to hear whether they go on: an actor, which imports little."""

import asyncio
import collections
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class Desk:
    """Where workers wait after each epoch until Tune has said whether they go on: one actor for a whole search.

    Tune ends a trial by killing the process of its function. Ray Train's workers die with that, but the placement
    group that holds their CPUs is left to a helper which asks the dashboard, and without one for good. Here a trial
    that shall stop is told so, and its workers end as after a last epoch.
    """

    def __init__(self) -> None:
        self._epochs: dict[str, asyncio.Queue[dict[str, Any] | None]] = collections.defaultdict(asyncio.Queue)
        self._answers: dict[str, asyncio.Queue[bool]] = collections.defaultdict(asyncio.Queue)
        self._stopped: set[str] = set()
        self._groups: dict[str, PlacementGroup] = {}

    async def open(self, trial_id: str) -> None:
        """Forget what was left of an earlier process of a trial."""
        for left in (self._epochs, self._answers, self._groups):
            left.pop(trial_id, None)

    async def started(self, trial_id: str, group: PlacementGroup) -> None:
        """Hear which placement group a trial's workers are in."""
        self._groups[trial_id] = group

    async def group(self, trial_id: str) -> PlacementGroup | None:
        """Return the placement group of a trial's workers; None where none has started."""
        return self._groups.get(trial_id)

    async def report(self, trial_id: str, epoch: dict[str, Any]) -> bool:
        """Take an epoch from a worker; return whether to go on, when that is known."""
        await self._epochs[trial_id].put(epoch)
        return await self._answers[trial_id].get()

    async def next(self, trial_id: str) -> dict[str, Any] | None:
        """Return the trial's next epoch, when it is there; None when its training has ended."""
        return await self._epochs[trial_id].get()

    async def answer(self, trial_id: str) -> None:
        """Let the workers go on, or end where the trial was stopped: Tune has seen their epoch."""
        await self._answers[trial_id].put(trial_id not in self._stopped)

    async def stop(self, trial_id: str) -> None:
        """Hear that a trial shall have no other epoch."""
        self._stopped.add(trial_id)

    async def is_stopped(self, trial_id: str) -> bool:
        """Return whether `stop` was called."""
        return trial_id in self._stopped

    async def close(self, trial_id: str) -> None:
        """Hear that a trial's training has ended."""
        await self._epochs[trial_id].put(None)


def open_desk() -> Any:
    """Start the desk of a search beside the driver, with which it ends."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Desk).remote()
