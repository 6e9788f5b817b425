"""How flat the loss is around training and test images, by radius and over epochs; the bound.

Numbers are added to each run (flatness/*.json, its summary, figures); several runs, such as seeds, are also compared
in --out. Every number is a lower bound from a search. What was measured before is not measured again.

examples:
  cgro flatness runs/mnist
  cgro flatness runs/cifar --radii 4/255,8/255,16/255 --n 512
  cgro flatness runs/cifar/seed-0 runs/cifar/seed-1 --per-epoch --out runs/cifar-flatness
  cgro flatness weights.pt --data mnist --model my_package.networks:Net --radius 0.1 --out runs/mine
  cgro flatness runs/mine --model my_package.networks:Net
  torchrun --nproc-per-node 4 -m -- cgro flatness runs/cifar --n 512

A run is data: what it names is imported, read or fetched only if --model and --data name it too, or with --trust.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec.structs
import numpy as np
import torch

from cgro._check import bad, count, one_of
from cgro._progress import progress
from cgro.commands._common import Computing, Output, Trusting, begin, lines_of, metrics_over, option, set_up
from cgro.commands._effect import Effects, Only
from cgro.commands._target import CheckpointOptions, Target, every_checkpoint, load_target, prepare
from cgro.commands._together import Beside, begun_by_first, device_for, in_processes
from cgro.commands._training import Config as TrainConfig
from cgro.data import Dataset, Split
from cgro.definitions import Draws, ThreatModel
from cgro.definitions.rounds import alike, require_same_task, rounds
from cgro.flatness import Flatness, GapBound, Search, first_order, flatness, gap_bound, in_between, rank_correlation
from cgro.flatness.monitor import radius_name
from cgro.flatness.search import parse_radii
from cgro.folder import seed_folders
from cgro.ranks import Ranks
from cgro.reading import attempt, read_npz
from cgro.report.flatness import draw, gaps
from cgro.results import (
    BoundRecord,
    CorrelationRecord,
    DatasetRecord,
    FirstOrderRecord,
    FlatnessCheckpoint,
    FlatnessPart,
    FlatnessRecord,
    FlatnessSummary,
    Metric,
    OutcomeRecord,
    ThreatRecord,
    TrainSummary,
)
from cgro.runs import Run, Unsaved, dump_json, write_arrays, write_atomic

PARTS = ("train", "test", "between")
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Of the training radius: inside it, at it, and outside."""
CHUNK = 64
"""Examples between two saves."""

NEXT = "cgro report {run}"
"""Mostly follows; see `cgro.cli`."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing, CheckpointOptions):
    """Options of `cgro flatness`."""

    targets: list[str] = option([], "runs of cgro train (or folders of seeds), or checkpoints", positional=True)
    radii: str | None = option(None, "increasing, such as 0.05,0.1,0.2; default: 1/4 to 3 times the training radius")
    per_epoch: bool = option(False, "every checkpoints/epoch-*.safetensors of a run as well")
    parts: str = option("train,test", "train, test, between (midpoints of training images of one class)")
    n: int = option(128, "examples of each part, at most", low=1)
    n_steps: int = option(20, "steps of the ascent on the gradient's norm, per radius", low=1)
    n_loss_steps: int = option(10, "steps of the ascent on the loss, per radius", low=1)
    n_restarts: int = option(1, "starts; those after the first are random", low=1)
    p: str = option("inf", "norm of a bare checkpoint's threat")
    radius: str | None = option(None, "training radius of a bare checkpoint")
    seed: int = option(0, "seed that cut the parts of a bare checkpoint's data", low=0)

    HAS_EFFECT: ClassVar[Effects] = {
        "precision": Only("float32, in which the search is made", lambda c: c.precision == "float32")
    }

    def search(self) -> Search:
        """How long to look.

        Returns:
            Steps and restarts of the search.
        """
        return Search(self.n_steps, self.n_loss_steps, self.n_restarts)


def run(config: Config) -> Run | Unsaved | Beside:
    """Measure each target, in this process or by the share that it has among several; compare several targets.

    Args:
        config: the options.

    Returns:
        The run in --out; `Unsaved` for one run, to which the numbers were added; an exit code beside the first of
        several processes.

    Raises:
        BadRequest: options that do not fit, before any work.
    """
    set_up(config)
    return in_processes(config, _all)


def _all(config: Config, ranks: Ranks) -> Run | Unsaved:
    with alike(ranks):
        targets = _asked(config)
        first = targets[0]
        prepared = prepare(first.settings)  # a network of the caller's may fail: before there is a directory
    if config.out is None and len(targets) == 1 and first.run is not None:
        with begun_by_first(first.run.locked(), ranks):
            return Unsaved(_measured(config, first, first.run, prepared, ranks))
    with begun_by_first(begin("flatness", config), ranks) as done:
        results = []
        for target in targets:
            if target.run is None:
                results.append(_measured(config, target, done, prepared, ranks))
            else:
                with begun_by_first(target.run.locked(), ranks):
                    results.append(_measured(config, target, target.run, prepared, ranks))
            prepared = None  # one data set in memory at a time
        result = _compared(results)
        with alike(ranks):
            if done is not None:
                curves = [_record(one).plain() for one in results]
                write_atomic(done.file("flatness", "curves.json"), dump_json(curves))
                draw(done.path)
                done.finish(result)
    return done or Unsaved(result)


def _asked(config: Config) -> list[Target]:
    """The targets; what does not fit is refused before any work."""
    config.search()
    count(config.n, "--n")
    if not config.targets:
        raise bad("TARGET", expected="a run directory or a checkpoint", got="none", remedy="see cgro flatness --help")
    for part in _parts(config):
        one_of(part, "--parts", PARTS)
    paths = _expanded(config.targets)
    _require_once(paths)
    targets = [_target(config, path) for path in paths]
    for target in targets:
        _names(config, target.settings)
    return targets


def _parts(config: Config) -> list[str]:
    return [part.strip() for part in config.parts.split(",")]


def _expanded(paths: list[str]) -> list[Path]:
    """Folders of several seeds stand for their parts."""
    found = []
    for path in map(Path, paths):
        found += seed_folders(path) or [path]
    return found


def _require_once(paths: list[Path]) -> None:
    """Refuse a target that is there twice: means and spreads would count it as another network."""
    known: set[Path] = set()
    for path in paths:
        if path.resolve() in known:
            raise bad("TARGET", expected="each run or checkpoint once", got=f"{path} twice", remedy="leave one out")
        known.add(path.resolve())


def _target(config: Config, path: Path) -> Target:
    if config.per_epoch and path.is_file():
        raise bad("--per-epoch", expected="a run with checkpoints/epoch-*.safetensors", got=f"one file, {path}")
    target = load_target(path, config, p=config.p, radius=config.radius, trust=config.trust)
    target.require_own(config, "p", "radius", "seed")
    return every_checkpoint(target) if config.per_epoch else target


def _names(config: Config, settings: TrainConfig) -> list[str]:
    """The radii as they stand in keys."""
    if config.radii is not None:
        names = [radius_name(r) for r in config.radii.split(",")]
    else:
        top, slash, bottom = str(settings.radius).partition("/")
        # Digits enough for a radius such as 0.03137254901960784: six of them are no longer the training radius.
        names = [f"{float(top) * m:.12g}{slash}{bottom}" for m in MULTIPLES]
    if not settings.threat().radius > 0:
        raise bad(
            "radius", expected="a training radius above 0", got=settings.radius, remedy="is it standard training?"
        )
    ThreatModel(settings.p, parse_radii(names)[-1])
    return names


def _measured(
    config: Config,
    target: Target,
    home: Run | None,
    prepared: tuple[Dataset, torch.nn.Module] | None,
    ranks: Ranks,
) -> FlatnessSummary:
    """All checkpoints of one target; recorded into its run.

    Args:
        config: the options.
        target: the network.
        home: the run that takes the results, held by the caller: the target's own, or that of this command, which the
            first process alone has.
        prepared: its data and network; None means that they are made here.
        ranks: the processes that measure together.
    """
    folder = Path()
    with alike(ranks):
        data, model = prepared or prepare(target.settings)
        device = device_for(config.device, ranks)
        model = model.to(device).eval()
        if ranks.writes and home is not None:
            folder = home.file("flatness")
        examples = dict(_examples(config, data, device))
    found: dict[str, dict[str, Flatness]] = {}
    for label, path in target.checkpoints.items():
        with alike(ranks):
            target.load_weights(model, path)
        parts = {}
        for part, split in examples.items():
            parts[part] = _part(config, target.settings, model, split, folder / f"{label} {part}", ranks)
        found[label] = parts
    result = _summary(target.settings, data, _curves(config, target, data, found), list(found.values())[-1])
    with alike(ranks):
        if target.run and ranks.writes:
            _add(result, target.run)
    return result


def _add(result: FlatnessSummary, home: Run) -> None:
    """To a run that is held."""
    write_atomic(home.file("flatness", "curves.json"), dump_json([_record(result).plain()]))
    before = home.read(TrainSummary)
    metrics = {**before.metrics, **result.metrics}
    home.write_summary(msgspec.structs.replace(before, metrics=metrics, flatness=_record(result)))
    draw(home.path)


def _record(result: FlatnessSummary) -> FlatnessRecord:
    assert isinstance(result.flatness, FlatnessRecord), "the summary of one target"
    return result.flatness


def _examples(config: Config, data: Dataset, device: torch.device) -> Iterator[tuple[str, Split]]:
    for part in _parts(config):
        if part == "between":
            x, y = in_between(data.train.x, data.train.y, torch.Generator().manual_seed(0), config.n)
            split = Split(x, y, torch.arange(len(y)))
        else:
            split = getattr(data, part).head(config.n)
        if not len(split):
            raise bad("--parts", expected="parts with examples", got=part)
        yield part, split.to(device)


def _part(
    config: Config, settings: TrainConfig, model: torch.nn.Module, split: Split, place: Path, ranks: Ranks
) -> Flatness:
    """One checkpoint on one part, taken up where its file ends; the file's name says what was measured.

    Args:
        config: the options.
        settings: of the training.
        model: with the weights of the checkpoint.
        split: the examples.
        place: folder of the file, and behind it checkpoint and part as "CHECKPOINT PART".
        ranks: the processes; the file is that of the first.
    """
    label = place.name
    radii, search = parse_radii(_names(config, settings)), config.search()
    what = hashlib.sha256(repr((radii, settings.p, search, split.index.tolist(), label.split()[-1])).encode())
    for tensor in (split.raw, split.y):  # positions are the same in data of which only the contents changed
        what.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    for key, value in sorted(model.state_dict().items()):
        what.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    require_same_task(ranks, model, what.hexdigest(), split.y)
    file = place.parent / f"{what.hexdigest()[:16]}.npz"
    parts = _of_first(_load(file, radii), radii, ranks)

    def find(chunk: torch.Tensor) -> list[torch.Tensor]:
        here = chunk.to(split.y.device)
        draws = Draws.of(0, "flatness", split.index[here])
        x, y = split.batch(here)
        return _values(flatness(model, x, y, radii, p=settings.p, search=search, batch=CHUNK, generator=draws))

    done = sum(len(part.loss) for part in parts)
    with progress(len(split), f"flatness {label}") as update:
        for some in rounds(torch.arange(done, len(split)), CHUNK, ranks):
            parts.append(Flatness(radii, *some.found(find)))
            with alike(ranks):
                if ranks.writes:
                    _store(file, Flatness.joined(parts))
            update(int(some.rows[-1]) + 1)
    return Flatness.joined(parts)


def _values(found: Flatness) -> list[torch.Tensor]:
    return [found.gradient, found.rise, found.loss, found.slope]


def _of_first(parts: list[Flatness], radii: tuple[float, ...], ranks: Ranks) -> list[Flatness]:
    """What the first process has stored."""
    (n,) = ranks.of_first([sum(len(part.loss) for part in parts)])
    if not n:
        return []
    known = Flatness(radii, *(torch.empty(n, *shape).double() for shape in ((len(radii),), (len(radii),), (), ())))
    if ranks.writes:
        known = Flatness.joined(parts)
    ranks.copy_first(_values(known))
    return [known]


def _store(file: Path, found: Flatness) -> None:
    write_arrays(file, {k: getattr(found, k).numpy() for k in ("gradient", "rise", "loss", "slope")})


def _load(file: Path, radii: tuple[float, ...]) -> list[Flatness]:
    """What is stored, or nothing; a damaged file is measured again."""
    arrays = attempt(lambda: read_npz(file, follow=False))
    if arrays is None or set(arrays) != {"gradient", "rise", "loss", "slope"}:
        return []
    n = arrays["loss"].shape[0] if arrays["loss"].ndim else 0
    shapes = {"gradient": (n, len(radii)), "rise": (n, len(radii)), "loss": (n,), "slope": (n,)}
    if not all(arrays[k].dtype.kind == "f" and arrays[k].shape == shape for k, shape in shapes.items()):
        return []
    return [Flatness(radii, **{k: torch.from_numpy(v) for k, v in arrays.items()})]


def _curves(
    config: Config, target: Target, data: Dataset, found: Mapping[str, Mapping[str, Flatness]]
) -> FlatnessRecord:
    """Averages of everything, for the figures."""
    settings = target.settings
    names = _names(config, settings)
    checkpoints = []
    for label, parts in found.items():
        epoch = int(label.removeprefix("epoch-")) if label.startswith("epoch-") else None
        averages = {part: _averages(measured, len(names)) for part, measured in parts.items()}
        checkpoints.append(FlatnessCheckpoint(label=label, epoch=epoch, parts=averages))
    return FlatnessRecord(
        data=data.name,
        note=data.note,
        model=settings.model,
        width=settings.width,
        p=settings.p,
        seed=settings.seed,
        radii=parse_radii(names),
        names=names,
        training_radius=settings.threat().radius,
        training_name=settings.radius,
        n_train=len(data.train),
        dim=math.prod(data.shape),
        search=repr(config.search()),
        checkpoints=checkpoints,
    )


def _averages(found: Flatness, n_radii: int) -> FlatnessPart:
    return FlatnessPart(
        n=len(found.loss),
        loss=float(found.loss.mean()),
        slope=float(found.slope.mean()),
        gradient=[Metric.of(found.average("gradient", k).to_dict()) for k in range(n_radii)],
        rise=[Metric.of(found.average("loss", k).to_dict()) for k in range(n_radii)],
    )


def _summary(
    settings: TrainConfig, data: Dataset, curves: FlatnessRecord, last: Mapping[str, Flatness]
) -> FlatnessSummary:
    metrics = {}
    for measure in ("gradient", "loss"):
        for part, found in last.items():
            for k, radius in enumerate(curves.names):
                average = found.average(measure, k).to_dict()
                metrics[f"flatness/{measure}/{part}@{radius}"] = Metric.of({**average, "attack": curves.search})
    reason = "measured"
    at = [k for k, r in enumerate(curves.radii) if math.isclose(r, curves.training_radius, rel_tol=1e-6)]
    if at and {"train", "test"} <= set(last):
        bound = gap_bound(last["train"], last["test"], at[0], n=curves.n_train, dim=curves.dim)
        slope = first_order(last["test"], at[0])
        curves = msgspec.structs.replace(
            curves,
            bound=BoundRecord.of({**vars(bound), "vacuous": bound.vacuous}),
            first_order=FirstOrderRecord.of({**vars(slope), "ratio": slope.ratio}),
        )
        reason = _sentence(curves, at[0])
    return FlatnessSummary(
        command="flatness",
        seed=settings.seed,
        threat=ThreatRecord.of(settings.threat().to_dict()),
        outcome=OutcomeRecord(kind="completed", reason=reason),
        verdict=None,
        metrics=metrics,
        data=DatasetRecord.of(data.describe()),
        flatness=curves,
    )


def _sentence(curves: FlatnessRecord, k: int) -> str:
    """What the k-th radius, that of training, says of memorization, and whether the bound says anything.

    The rises are means over examples, so two of them differ if the interval of their difference leaves out 0.
    """
    parts = curves.checkpoints[-1].parts
    train = parts["train"].rise[k]
    test = parts["test"].rise[k]
    if train.typical is None or test.typical is None:
        return "The rise of the loss in the training balls is not known."
    if not train.interval or not test.interval:
        return "Intervals need two training and two test images or more: nothing is said of memorization."
    difference = test.typical - train.typical
    half = math.hypot(*((high - low) / 2 for low, high in (train.interval, test.interval)))
    meaning = "no difference is established, so flatness shows no memorization"
    if difference > half:
        meaning = (
            "the network is flatter around the images that it was trained on, as one that memorizes their balls is"
        )
    elif difference < -half:
        meaning = "it is less flat around the images that it was trained on, so flatness shows no memorization"
    text = (
        f"In balls of the training radius {curves.training_name} the loss rises by {test.typical:.2g} nats around test "
        f"images and by {train.typical:.2g} around training images ({difference:+.2g} [{difference - half:+.2g}, "
        f"{difference + half:+.2g}]): {meaning}."
    )
    bound = curves.bound
    if not bound:
        return text
    if bound.vacuous:
        allowed = f"it allows a gap of {bound.bound:.2g} nats, more than the whole loss"
        return f"{text} The bound explains nothing here: {allowed}."
    return f"{text} The bound allows a gap of {bound.bound:.2g} nats where {bound.gap:.2g} are measured."


def _compared(results: list[FlatnessSummary]) -> FlatnessSummary:
    """Over the targets: means of every metric, and the rank correlation of gap and global flatness."""
    first = results[0]
    if len(results) == 1:
        return first
    curves = [_record(result) for result in results]
    metrics = metrics_over(results)
    correlation, points = None, gaps(curves)
    if points is not None:
        found = rank_correlation(points[0], points[1], np.random.default_rng(0))
        correlation = CorrelationRecord.of(found.to_dict())
    ordered = {key: metrics[key] for key in first.metrics if all(key in result.metrics for result in results)}
    return msgspec.structs.replace(first, metrics=ordered, flatness=curves, correlation=correlation)


def describe(result: FlatnessSummary) -> str:
    """The numbers, the bound in one line, the correlation, and at the end what they say.

    Args:
        result: of one target or of several.

    Returns:
        Text for the terminal.
    """
    lines = [lines_of(result)]
    records = result.flatness
    if isinstance(records, FlatnessRecord):
        records = [records]
    if records[0].bound and records[0].first_order:
        both = records[0].first_order
        given = records[0].bound
        bound = GapBound(given.factor, given.bound, given.gap, given.robust_loss, given.n, given.dim)
        lines += ["", bound.sentence]
        lines.append(f"Proposition 6.4: radius * E|grad| = {both.product:.3g}, measured rise {both.rise:.3g}")
    found = result.correlation
    if found:
        interval = "none" if found.interval is None else "[{:.2f}, {:.2f}]".format(*found.interval)
        text = f"{found.value:.2f}, 95% {interval}, {found.n_seeds} runs"
        lines.append(f"rank correlation of robust gap and global flatness: {text}")
    first = "" if len(records) == 1 else "Of the first run: "
    return "\n".join([*lines, "", f"{first}{result.outcome.reason}"])
