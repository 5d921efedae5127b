"""One rank of ``gpunn bench --ranks``, which starts it: ``mpiexec -n 2 python -m gpunn.bench.scaling_worker SETTINGS``.

Rank 0 prints a JSON object a line: what was found of each case, or the one error that ended all ranks.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunn._device import Device
from gpunn.bench import scaling
from gpunn.bench.case import Case, as_host, difference, tensors
from gpunn.bench.machine import processor_seconds, share_of_others
from gpunn.bench.networks import LR, MOMENTUM, gpunn_network
from gpunn.bench.runner import WrongResult
from gpunn.bench.scaling import AFTER, ALONE, OVERLAPPED, WEAK, Settings
from gpunn.bench.sides import Clock, CupyClock, HostClock, limited_threads
from gpunn.errors import GpunnError

_WARM = 3  # calls before the first sample: a captured step is a graph then
_TURN = 3  # samples of one side before the next has its turn
_SLOW = 2000.0  # milliseconds: a step that takes longer is timed only a few times
_NAP = 0.002  # seconds between two looks of a rank that has nothing to do


def main(words: list[str]) -> int:
    """Measure what the settings, a JSON object, say."""
    given = json.loads(words[0])
    settings = Settings(**{**given, "cases": tuple(given["cases"]), "ranks": tuple(given["ranks"])})
    from gpunn.distributed import init_process_group
    from gpunn.distributed._state import fail

    init_process_group()
    try:
        with limited_threads(settings.threads):
            _measure_all(settings)
    except Exception as error:  # the command shows it; the others are ended
        from gpunn.distributed._state import current

        told = _told(error, current().rank)
        fail(lambda: _tell(told), 1)
        return 1
    return 0


def _told(error: Exception, rank: int) -> dict[str, Any]:
    """What the command is told of an error."""
    kind = next((k.__name__ for k in type(error).__mro__ if k.__name__ in ("DeviceError", "UsageError")), "")
    text = " ".join(str(error).split())
    if not isinstance(error, GpunnError):
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {text} ({Path(place.filename).name}, line {place.lineno})"
    return {"failed": text, "kind": kind, "rank": rank}


def _tell(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


class _Team:
    """The first ``size`` ranks, of which this one is one."""

    def __init__(self, group: Any) -> None:
        self.group = group
        self.rank: int = group.rank
        self.size: int = group.size

    def meet(self) -> None:
        """Wait until all of the team are here, without taking a core from ranks that are still at work."""
        request = self.group.comm.Ibarrier()
        while not request.Test():
            time.sleep(_NAP)
        self.group.barrier()  # those who slept have woken up


def _teams(world: Any, sizes: tuple[int, ...]) -> dict[int, _Team]:
    """Those that this rank belongs to, by size."""
    from gpunn.distributed._group import ProcessGroup

    found = {}
    for size in sizes:
        part = world.comm.Split(0 if world.rank < size else world.mpi.UNDEFINED, world.rank)
        if world.rank < size:
            found[size] = _Team(ProcessGroup(world.backend, world.timeout, part))
    return found


class _Side:
    """One number of ranks, scaling and way of communication: a step with its clock."""

    def __init__(self, case: Case, team: _Team, device: Device, scaling_: str, way: str, captured: bool) -> None:
        self.name = scaling.key(team.size, scaling_, way)
        self.team, self.samples = team, list[float]()
        self._clock: Clock = HostClock() if device.ordinal is None else CupyClock(device)
        self._net = gpunn_network(case.network, device, case.dtype)
        self._run = _step(case, team, device, scaling_, way, captured, self._net)
        self._calls = 1

    def warm_up(self, case: Case, least_ms: float) -> float:
        """Make the first calls, and choose how many make a sample; the milliseconds of a call.

        Raises
        ------
        WrongResult
            If ranks that talk to each other have other parameters afterwards.
        """
        for _ in range(_WARM):
            self._run()
        if not self.name.endswith(ALONE):
            own = [as_host(p._physical) for p in self._net.parameters()]
            for rank, theirs in enumerate(self.team.group.objects("the check", own)):
                if not difference(own, theirs) <= case.tolerance:
                    raise WrongResult(
                        f"{case.id}, {self.name}: after {_WARM} steps rank {rank} has other parameters than rank "
                        f"{self.team.rank}. Nothing was timed."
                    )
        ms = self._timed()
        self._calls = max(1, min(1000, int(least_ms / ms + 0.999)))
        return ms

    def turn(self) -> None:
        """Take some samples behind a call that is not timed."""
        self.team.meet()
        self._run()
        for _ in range(_TURN):
            self.samples.append(self._timed())

    def _timed(self) -> float:
        """Milliseconds of a call, on the rank that takes longest."""
        self.team.group.barrier()
        self._clock.start()
        for _ in range(self._calls):
            self._run()
        return float(max(self.team.group.objects("the times", self._clock.stop() / self._calls)))


def _step(
    case: Case, team: _Team, device: Device, scaling_: str, way: str, captured: bool, net: Any
) -> Callable[[], Any]:
    import gpunn

    images, labels, weight = _share(case, team, device, scaling_)
    step = _training(team, net, way, weight)
    step = gpunn.capture(step) if captured else step
    return lambda: step(images, labels)


def _share(case: Case, team: _Team, device: Device, scaling_: str) -> tuple[Any, Any, float]:
    """The images and labels of this rank, and the weight of their mean in the mean of all ranks."""
    from gpunn.data.loader import rows_of_part

    arrays = case.host_arrays(team.rank if scaling_ == WEAK else 0)
    weight = 1.0
    if scaling_ != WEAK:
        part = rows_of_part(case.items, team.rank, team.size)
        arrays = {name: array[part] for name, array in arrays.items()}
        weight = len(arrays["target"]) * team.size / case.items
    given = tensors(device, {name: device.array(array) for name, array in arrays.items()})
    return given["x"], given["target"], weight


def _training(team: _Team, net: Any, way: str, weight: float, update: bool = True) -> Callable[[Any, Any], Any]:
    """A training step, as ``networks.gpunn_step`` makes it, and as ``gpunn train`` shares it between ranks."""
    from gpunn.distributed._reducer import Reducer
    from gpunn.nn.loss import CrossEntropyLoss
    from gpunn.optim import SGD

    criterion = CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=LR, momentum=MOMENTUM)
    reducer = Reducer(team.group, net) if way != ALONE else None

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        if reducer is not None and way == OVERLAPPED:
            reducer.expect()
        loss = criterion(net(images), labels)
        (loss if weight == 1 else loss * weight).backward()
        if reducer is not None and way == AFTER:
            reducer.reduce()
        if update:
            optimizer.step()
        return loss

    return step


def _check(case: Case, team: _Team, device: Device, scaling_: str) -> float:
    """The largest difference between the gradients that reducers leave and the mean of what the ranks computed.

    Raises
    ------
    WrongResult
        If it is more than rounding.
    """
    images, labels, weight = _share(case, team, device, scaling_)
    found = {}
    for way in (ALONE, OVERLAPPED, AFTER):
        net = gpunn_network(case.network, device, case.dtype)
        _training(team, net, way, weight, update=False)(images, labels)
        found[way] = [as_host(p.grad._physical) for p in net.parameters()]
    everyone = team.group.objects("the check", found[ALONE])
    means = [sum(same) / team.size for same in zip(*([g.astype("f8") for g in own] for own in everyone), strict=True)]
    worst = max(difference(found[way], means) for way in (OVERLAPPED, AFTER))
    # A few numbers are summed in the dtype; the largest element's rounding counts.
    allowed = (1e-5 if case.dtype == "float32" else 1e-13) * team.size
    worst = max(team.group.objects("the check", worst))
    if not worst <= allowed:
        raise WrongResult(
            f"{case.id} on {team.size} ranks: averaged gradients differ by {worst:.1e} of the largest element from the "
            f"mean of the ranks' own; {allowed:.0e} is allowed. Nothing was timed."
        )
    return worst


def _measure_all(settings: Settings) -> None:
    from gpunn.bench.cases import by_id
    from gpunn.distributed._state import current
    from gpunn.train._ranks import device_of_rank

    world = current()
    device = device_of_rank(settings.device)
    teams = _teams(world, settings.ranks)
    # MPI moves a GPU's arrays over the host, which a graph cannot.
    captured = device.loader is not None and (device.ordinal is None or world.backend == "nccl")
    for name in settings.cases:
        found = _measure(by_id(name, settings.size, settings.dtype), settings, world, teams, device, captured)
        if world.rank == 0:
            _tell({"case": name, "captured": captured, "backend": world.backend, **found})
        gc.collect()  # graphs and closures are in cycles
        if device.ordinal is not None:
            device.xp.get_default_memory_pool().free_all_blocks()
    for team in teams.values():
        team.group.close()


def _measure(
    case: Case, settings: Settings, world: Any, teams: dict[int, _Team], device: Device, captured: bool
) -> dict[str, Any]:
    from gpunn.distributed._reducer import Reducer

    error = 0.0
    made: list[_Side] = []
    slowest = 0.0
    for size, scaling_, way in scaling.keys(settings.ranks):
        if size not in teams:
            continue
        team = teams[size]
        team.meet()
        if way == OVERLAPPED:
            error = max(error, _check(case, team, device, scaling_))
        side = _Side(case, team, device, scaling_, way, captured)
        slowest = max(slowest, side.warm_up(case, settings.least_ms))
        made.append(side)
    buckets = Reducer(world, gpunn_network(case.network, device, case.dtype)).bucket_bytes
    before = _processor(world)
    # All ranks do as many rounds as rank 0 says; a round's last team is everybody.
    end = time.monotonic() + settings.seconds * len(made)
    least = min(3, settings.least) if slowest > _SLOW else settings.least
    taken, more = 0, True
    while more:
        for side in made:
            side.turn()
        taken += _TURN
        more = taken < least or (taken < settings.most and time.monotonic() < end)
        more = world.objects("the rounds", more)[0]
    others = share_of_others(before, _processor(world))
    return {
        "samples": {side.name: side.samples for side in made},
        "buckets": buckets,
        "error": error,
        "others_share_of_cpu": others,
    }


def _processor(world: Any) -> tuple[float, float, float] | None:
    """As ``machine.processor_seconds``, where all ranks count as this process: they are on one machine."""
    seconds = processor_seconds()
    own = sum(world.objects("the processor's time", time.process_time()))
    return None if seconds is None else (seconds[0], seconds[1], own)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GpunnError as error:  # there was no group yet
        _tell(_told(error, 0))
        sys.exit(1)
