"""What stages.py found, as lines: each stage, their sum, the whole and the floor."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks import measure, stages_files, stages_train
from benchmarks.laps import ALL
from benchmarks.results import Claim, Line

SUM, WHOLE = "sum of the stages", "the whole"
_MEGA, _KILO = 1e6, 1e3

Values = list[float]  # one a round: seconds of a track, where nothing else is said


@dataclasses.dataclass(frozen=True)
class Found:
    """What each side of stages.py gave, in each round."""

    rounds: Mapping[str, Sequence[Mapping[str, float]]]

    def of(self, side: str, stage: str = ALL) -> Values:
        """Return one stage of a side."""
        return [each[stage] for each in self.rounds[side]]

    def stages(self, side: str, *names: str) -> dict[str, Values]:
        """Return several stages of a side, all by default."""
        return {name: self.of(side, name) for name in names or self.rounds[side][0]}


@dataclasses.dataclass(frozen=True)
class Job:
    """A job's stages and the same work as a whole."""

    name: str
    stages: Mapping[str, Values]
    whole: Values
    sizes: Mapping[str, float] = dataclasses.field(default_factory=dict)  # bytes that come out of a stage
    floors: Mapping[str, Values] = dataclasses.field(default_factory=dict)
    floored: Sequence[str] = ()  # the stages that a floor is the floor of; the whole by default

    def sums(self) -> Values:
        """Return the sum of the stages."""
        return summed(self.stages)

    def lines(self) -> list[Line]:
        """Return the stages with their shares, the sum, the whole and the floors."""
        found = [self._line(name, of, self._note(name, of)) for name, of in self.stages.items()]
        found.append(self._line(SUM, self.sums()))
        beside = statistics.median(measure.paired_ratios(self.whole, self.sums()))
        found.append(self._line(WHOLE, self.whole, f"{beside:.2f} of the sum"))
        under = summed({name: self.stages[name] for name in self.floored}) if self.floored else self.whole
        of_what = " and ".join(self.floored) or WHOLE
        for name, values in self.floors.items():
            found.append(self._line(f"floor, {name}", values, f"{share(values, under)} of {of_what}"))
        return found

    def claim(self) -> Claim:
        """Return the claim that no stage is missing."""
        name = f"stages: {self.name}, the whole beside the sum of its stages"
        return Claim(name, 1.1, measure.paired_ratios(self.whole, self.sums()), at_least=False)

    def _line(self, name: str, values: Values, note: str = "") -> Line:
        return milliseconds(self.name, name, values, note)

    def _note(self, name: str, values: Values) -> str:
        of_whole = share(values, self.whole)
        return f"{of_whole}; {_bytes(self.sizes[name])}" if name in self.sizes else of_whole


def milliseconds(job: str, name: str, values: Values, note: str = "") -> Line:
    """Return a line of times that are in seconds."""
    return Line(f"{job}: {name}", [1000 * value for value in values], "ms", note)


def share(values: Values, whole: Values) -> str:
    """Return the share of `values` in `whole`, the median over the rounds."""
    return f"{statistics.median(measure.paired_ratios(values, whole)):.1%}"


def summed(stages: Mapping[str, Values]) -> Values:
    """Return the sums over stages, round by round."""
    return [sum(values) for values in zip(*stages.values(), strict=True)]


def _bytes(n: float) -> str:
    return f"{n / _MEGA:.2f} MB" if n >= _MEGA / 10 else f"{n / _KILO:.1f} kB"


def extracting(found: Found, sizes: Mapping[str, float]) -> Job:
    """Return extract's stages."""
    stages = found.stages("track") | found.stages("part")
    return Job("extract", stages, found.of("extract"), sizes, {"soundfile merely decoding": found.of("floor")})


def tagging(found: Found, model: str, operations: float) -> Job:
    """Return tag's stages, those that extract has too as one; `operations` are the network's for a track."""
    before = found.stages("track") | found.stages("table")
    stages = {"extract's stages, up to the Arrow table": summed(before)} | found.stages(f"answer {model}")
    floors = {_product(operations): [operations / rate for rate in found.of("product")]}
    return Job(f"tag, {model}", stages, found.of(f"tag {model}"), {}, floors, (stages_files.FORWARD,))


def reading(found: Found) -> Job:
    """Return the stages of the first pass over FEATURES."""
    floors = {"bare pyarrow scan": found.of("scan")}
    return Job("train, first pass", found.stages("read"), found.of("reading"), {}, floors)


def training(found: Found, model: str, operations: float) -> Job:
    """Return the stages of an epoch; `operations` are those of a clip's step."""
    floors = {_product(operations): [operations / rate for rate in found.of("product")]}
    of = (stages_train.FORWARD, stages_train.BACKWARD)
    return Job(f"train, {model}", found.stages(f"steps {model}"), found.of(f"train {model}"), {}, floors, of)


def _product(operations: float) -> str:
    return f"{operations / 1e9:.2f} GFLOP at the rate of a plain product"
