"""Does a network act from memory inside its training balls (Lemma 4.5), and which images does it memorize?

Always: attacked margins and flip radii, training against test, and the order of the three stages on the learning
curves. With --clean, a run of standard training: memory by quarter of the distance to that network's boundary. With
--influence K: memorization values (Feldman and Zhang, NeurIPS 2020), from K networks trained anew by the run's recipe
on 70% of its examples each. docs/flatness.md says what each number is.

examples:
  cgro memory runs/mnist
  cgro memory runs/mnist --clean runs/mnist-standard --n 2000
  cgro memory runs/mnist --clean runs/mnist-standard --influence 16      (16 trainings; cut and called again it goes on)
  torchrun --nproc-per-node 4 -m -- cgro memory runs/mnist --n 2000
  cgro memory runs/mine --trust                 (a network of your own: what a run names is not imported without this)
  cgro memory runs/loop --model my_package.nets:Net --data my_package.nets:data      (a run of cgro.Monitor)
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from msgspec import UNSET
from torch import Tensor

from cgro._check import BadRequest, bad, count
from cgro._progress import progress
from cgro.commands._common import Computing, Output, Trusting, begin, lines_of, option, set_up
from cgro.commands._effect import Effects, of_attack
from cgro.commands._said import require_own
from cgro.commands._settings import is_watched, trained, watched
from cgro.commands._target import Target, prepare
from cgro.commands._together import Beside, begun_by_first, device_for, in_processes
from cgro.commands._training import Config as TrainConfig
from cgro.data import Dataset, Split
from cgro.definitions import Attack, Model, NoAttack
from cgro.definitions.rounds import alike, require_same_task, rounds
from cgro.diagnosis.settings import attacks_nothing
from cgro.flatness import (
    Attacked,
    MemoryScore,
    RealStages,
    attacked,
    by_quarter,
    memorization_values,
    memorized_by_margin,
    memory_score,
    random_subsets,
    real_stages,
    spearman,
)
from cgro.flatness.memory import DEFAULT_REACH
from cgro.models import build, fast_layout
from cgro.ranks import Ranks
from cgro.report.memory import draw
from cgro.results import (
    DatasetRecord,
    MemoryRecord,
    MemorySummary,
    Metric,
    ModelRecord,
    OutcomeRecord,
    QuarterRecord,
    RealStagesRecord,
    ThreatRecord,
)
from cgro.results.keys import CLEAN_TEST, ROBUST_TEST, ROBUST_TRAIN
from cgro.runs import Run, Unsaved, dump_json, write_arrays, write_atomic
from cgro.training import Evaluation, evaluated, fit, make_fabric
from cgro.training.checkpoint import checkpoint_of, save_checkpoint
from cgro.training.weights import load_file

PARTS = ("train", "test")
CURVES = (CLEAN_TEST, ROBUST_TRAIN, ROBUST_TEST)
CHUNK = 128
"""Examples between two steps of the progress bar."""
SHARE = 0.7
"""Of the examples in each training for the influence: Feldman and Zhang's (NeurIPS 2020)."""

NEXT = "cgro report {run}"
"""Mostly follows; see `cgro.cli`."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing):
    """Options of `cgro memory`."""

    target: str | None = option(None, "a run of cgro train", positional=True)
    clean: str | None = option(None, "a run of cgro train --attack none on the same examples")
    attack: str = option("pgd20", "at the radius of training; see cgro evaluate", names="attack")
    n: int = option(1000, "examples of each part, at most", low=4)
    influence: int = option(0, "networks trained anew on subsets, for memorization values; 0 for none", low=0)
    model: str | None = option(
        None, "network of a run of cgro.Monitor; of another run, says that its own is yours", names="network"
    )
    data: str | None = option(
        None, "data set of a run of cgro.Monitor; of another run, says that its own is yours", names="data"
    )

    HAS_EFFECT: ClassVar[Effects] = {"precision": of_attack()}


def run(config: Config) -> Run | Unsaved | Beside:
    """Probe one run, in this process or by the share that it has among several.

    Args:
        config: the options.

    Returns:
        The finished run; beside the first of several processes an exit code.

    Raises:
        BadRequest: options that do not fit, before any work.
    """
    set_up(config)
    return in_processes(config, _probe)


def _probe(config: Config, ranks: Ranks) -> Run | Unsaved:
    with alike(ranks):
        if config.influence and ranks.shared:
            remedy = "start one process, which trains one network after the other"
            raise bad("--influence", expected="one process", got=f"{ranks.size} of torchrun", remedy=remedy)
        target, clean = _asked(config)
        settings, source = target.settings, _run_of(target)
        attack = target.attack(config.attack, config.precision)
        data, model = prepare(settings)  # a network of the caller's may fail: before there is a directory
    with begun_by_first(begin("memory", config), ranks) as done:
        found = _Found(_probed(config, target, model, data, attack, ranks))
        if clean is not None:
            with alike(ranks):
                network = prepare(clean.settings)[1]
            standard = _probed(config, clean, network, data, attack, ranks)
            found.clean_flips = {part: probe.flip for part, probe in standard.items()}
        if config.influence and done is not None:
            found.gains = _memorization_values(config, settings, data, attack, done)
        result = _summary(settings, data, attack, found, _stages(source))
        with alike(ranks):
            if done is not None:
                write_arrays(done.file("examples.npz"), _examples(found, data, config.n))
                write_atomic(done.file("memory.json"), dump_json(result.memory.plain()))
                draw(done.path)
                done.finish(result)
    return done or Unsaved(result)


def _asked(config: Config) -> tuple[Target, Target | None]:
    """The run, and the standard one; what does not fit is refused before any work."""
    count(config.n, "--n", low=4)
    if count(config.influence, "--influence", low=0) == 1:
        raise bad("--influence", expected="2 networks or more, or 0", got=config.influence)
    target = _trained(config, config.target, "TARGET")
    settings, source = target.settings, _run_of(target)
    if config.influence and is_watched(source):
        raise bad("--influence", expected="a run of cgro train", got="one of cgro.Monitor, whose recipe is not known")
    if not target.threat.radius > 0 or attacks_nothing(vars(settings)):
        raise bad(
            "TARGET",
            expected="a run of adversarial training",
            got=f"{source.path}, standard training",
            remedy="name it as --clean",
        )
    clean = None
    if config.clean is not None:
        clean = _clean_run(config, config.clean, source)
    if not any(is_watched(_run_of(one)) for one in (target, clean) if one is not None):
        require_own(config, vars(settings), ("model", "data"), where=str(source.path))
    return target, clean


@dataclass
class _Found:
    """What was measured.

    Attributes:
        probes: part -> margins and flip radii of the network.
        clean_flips: part -> flip radii of the standard network; empty without --clean.
        gains: (n,) memorization value of each training example; None without --influence.
    """

    probes: dict[str, Attacked]
    clean_flips: dict[str, Tensor] = field(default_factory=dict)
    gains: Tensor | None = None


def _trained(config: Config, path: str | None, name: str) -> Target:
    if path is None or not Path(path).is_dir():
        raise bad(name, expected="a run of cgro train", got=path or "none", remedy="see cgro memory --help")
    run, settings = trained(path, name, trust=config.trust)
    settings = watched(run, settings, config.model, config.data, config.trust)
    return Target(settings, run, {"last": checkpoint_of(run)})


def _run_of(target: Target) -> Run:
    assert target.run is not None, "made by _trained"
    return target.run


def _clean_run(config: Config, path: str, source: Run) -> Target:
    """The standard network: one that learned the same examples, or its boundary says nothing of them."""
    clean = _trained(config, path, "--clean")
    run = _run_of(clean)
    if not attacks_nothing(vars(clean.settings)):
        expected = "a run of standard training, such as of cgro train --attack none"
        raise bad("--clean", expected=expected, got=f"{run.path}, adversarial training")
    used = [(one.path / "index_sets.json").read_bytes() for one in (source, run)]
    if used[0] != used[1]:
        raise bad(
            "--clean",
            expected=f"the examples of {source.path}",
            got=f"others in {run.path}",
            remedy="train it with the same --data, --n-train, --validation and --seed",
        )
    return clean


def _probed(
    config: Config, target: Target, model: torch.nn.Module, data: Dataset, attack: Attack, ranks: Ranks
) -> dict[str, Attacked]:
    """Both parts under attack, by the run's last network."""
    with alike(ranks):
        target.load_weights(model)
        device = device_for(config.device, ranks)
        model = model.to(device).eval()
    found: dict[str, Attacked] = {}
    for part in PARTS:
        split: Split = getattr(data, part).head(config.n).to(device)
        require_same_task(ranks, model, attack.name, split.y, split.index)

        def find(chunk: Tensor, split: Split = split) -> list[Tensor]:
            piece = attacked(model, *split.batch(chunk.to(device)), attack, index=chunk)
            return [piece.margin, piece.flip]

        pieces: list[list[Tensor]] = []
        with progress(len(split), f"attacking {_run_of(target).path}, {part}") as update:
            for some in rounds(torch.arange(len(split)), CHUNK, ranks):
                pieces.append(some.found(find))
                update(int(some.rows[-1]) + 1)
        margins, flips = (torch.cat(values) for values in zip(*pieces, strict=True))
        found[part] = Attacked(margins, flips, DEFAULT_REACH * attack.threat.radius)
    return found


def _memorization_values(config: Config, settings: TrainConfig, data: Dataset, attack: Attack, done: Run) -> Tensor:
    """Of the first n training examples on themselves; finished networks lie in DIR/networks and are not trained
    again.
    """
    recipe, objective = settings.recipe(), settings.build_objective()
    fabric = make_fabric(config.device, precision=settings.train_precision)
    rarely = Evaluation(NoAttack(settings.threat()), n=100, every=settings.epochs)

    def network(rows: Tensor, k: int) -> Model:
        path, seed = done.path / "networks" / f"{k:03d}.safetensors", settings.seed + k
        model = fast_layout(build(settings.model, data.shape, data.n_outputs, width=settings.width, seed=seed))
        if path.exists():
            load_file(model, path)
        else:
            own = replace(data, train=data.train.part(rows))
            extensions = settings.build_extensions()
            trained = fit(
                model, own, objective, recipe, extensions=extensions, evaluation=rarely, seed=seed, fabric=fabric
            )
            end, model = trained.end, evaluated(model, extensions)
            if end.kind == "interrupted":
                raise KeyboardInterrupt(f"finished networks are kept; the same command with --out {done.path} goes on")
            if not end.ok and end.kind != "collapsed":
                raise BadRequest(f"--influence: training on a subset ended as {end.kind}: {end.reason}; lower its rate")
            save_checkpoint(path, model, None, {"epoch": settings.epochs})
        update(k + 1)
        return model.to(fabric.device).eval()

    part, generator = data.train.head(config.n).to(fabric.device), torch.Generator().manual_seed(settings.seed)
    with progress(config.influence, "networks on subsets") as update:
        subsets = random_subsets(len(data.train), config.influence, generator, share=SHARE)
        return memorization_values(network, part.x, part.y, attack, subsets, batch=CHUNK)


def _stages(source: Run) -> RealStages | None:
    """The stages on the learning curves, at the epochs that were evaluated; None where there are fewer than two."""
    epochs: list[int] = []
    curves: list[list[float]] = [[] for _ in CURVES]
    for row in source.rows():
        values = [value for key in CURVES if (value := row.get(key)) is not None]
        if len(values) < len(CURVES):
            continue
        epochs.append(row["epoch"])
        for curve, value in zip(curves, values, strict=True):
            curve.append(float(value))
    if len(epochs) < 2:
        return None
    return real_stages(epochs, *curves)


def _examples(found: _Found, data: Dataset, n: int) -> dict[str, np.ndarray]:
    """Per example: position in the source, margin, flip radii, memorization value."""
    arrays = {f"{part}/clean_flip": values for part, values in found.clean_flips.items()}
    for part, probe in found.probes.items():
        arrays[f"{part}/index"] = getattr(data, part).index[:n]
        arrays[f"{part}/margin"] = probe.margin
        arrays[f"{part}/flip"] = probe.flip
    if found.gains is not None:
        arrays["train/influence"] = found.gains
    return {name: values.numpy() for name, values in arrays.items()}


def _summary(
    settings: TrainConfig, data: Dataset, attack: Attack, found: _Found, stages: RealStages | None
) -> MemorySummary:
    train, test = found.probes["train"], found.probes["test"]
    score = memory_score(train, test)
    metrics = {
        "memory/score": Metric(value=score.value, interval=score.interval, n=len(train.margin), bound=None),
        "memory/ranking": Metric(value=score.auc),
    }
    for part, probe in found.probes.items():
        metrics[f"memory/flip_radius/{part}"] = Metric(
            value=float(probe.flip.median()), n=len(probe.flip), bound="upper", attack=repr(attack)
        )
    radius = settings.threat().radius
    quarters = _quarters(found, radius, metrics)
    values = _values_by_quarter(found, metrics)
    memory = MemoryRecord(
        radius=radius,
        stages=None if stages is None else RealStagesRecord.of({**vars(stages), "ordered": stages.ordered}),
        quarters=quarters or UNSET,
        influence=values or UNSET,
    )
    return MemorySummary(
        command="memory",
        seed=settings.seed,
        threat=ThreatRecord.of(settings.threat().to_dict()),
        outcome=OutcomeRecord(kind="completed", reason=sentence_of(score, memory)),
        verdict=None,
        metrics=metrics,
        data=DatasetRecord.of(data.describe()),
        memory=memory,
        model=ModelRecord(name=settings.model, width=settings.width),
    )


def _quarters(found: _Found, radius: float, metrics: dict[str, Metric]) -> list[QuarterRecord]:
    """By the distance to the standard boundary; adds to the metrics. Empty without the standard network."""
    flips = found.clean_flips
    if not flips:
        return []
    margins = {part: probe.margin for part, probe in found.probes.items()}
    quarters = [QuarterRecord.of(row.to_dict()) for row in by_quarter(flips, margins)]
    n = len(flips["train"]) // 4
    metrics["memory/mu"] = Metric(value=memorized_by_margin(flips, margins, radius).mu)
    for k, quarter in enumerate(quarters, 1):
        metrics[f"memory/quarter_{k}"] = Metric(value=quarter.memory, interval=quarter.interval, n=n, bound=None)
    for part in PARTS:
        metrics[f"memory/rank/clean_flip_and_margin/{part}"] = Metric(value=_rank(flips[part], margins[part]))
    return quarters


def _values_by_quarter(found: _Found, metrics: dict[str, Metric]) -> list[float]:
    """Mean memorization value by quarters of the flip radius, the standard network's where there is one; adds to the
    metrics. Empty without --influence.
    """
    gains = found.gains
    if gains is None:
        return []
    flips = {"flip": found.probes["train"].flip}
    if found.clean_flips:
        flips["clean_flip"] = found.clean_flips["train"]
    order = torch.argsort(list(flips.values())[-1], stable=True)
    metrics["memory/influence"] = Metric(value=float(gains.nanmean()), n=int(gains.isfinite().sum()))
    for name, radii in flips.items():
        metrics[f"memory/rank/influence_and_{name}"] = Metric(value=_rank(gains, radii))
    return [float(gains[rows].nanmean()) for rows in torch.tensor_split(order, 4)]


def _rank(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation over the entries that both have."""
    known = ~(a.isnan() | b.isnan())
    return spearman(a[known].numpy(), b[known].numpy())


def sentence_of(score: MemoryScore, memory: MemoryRecord) -> str:
    """What was found, first whether there is memory at all, then whom it serves.

    Args:
        score: of the margins.
        memory: by quarter and stage, as far as they were measured.

    Returns:
        Two or three sentences; what an interval does not show is not said.
    """
    low, high = score.interval
    margins = f"margins differ by {score.value:.2g} logits [{low:.2g}, {high:.2g}]"
    text = f"Under attack training images are not farther from being misclassified than test images ({margins})"
    ending = "no memory is established"
    if low > 0:
        text = f"Under attack training images are farther from being misclassified than test images ({margins})"
        ending = "the network acts in part from memory"
    text += f": {ending}."
    if memory.quarters:
        first, last = _from_memory(memory.quarters[0]), _from_memory(memory.quarters[-1])
        near, far = (100 * (1 - quarter.test) for quarter in (memory.quarters[0], memory.quarters[-1]))
        text += (
            f" In the quarter nearest to the standard network's boundary {first}, in the farthest {last} (robust "
            f"training minus test images, at most the robust test error, {near:.0f} and {far:.0f} points)."
        )
    if memory.stages is not None:
        text += f" The three stages of training {_order_of(memory.stages)}."
    return text


def _order_of(stages: RealStagesRecord) -> str:
    """Whether the stages come in order; ends at one evaluation are no order that was seen."""
    if not stages.ordered:
        return "do not come in the order of the theory"
    if len({stages.clean_learned, stages.generalized, stages.memorized}) < 3:
        return "do not contradict the order of the theory, but not all end at evaluations of their own"
    return "come in the order of the theory"


def _from_memory(quarter: QuarterRecord) -> str:
    """What of a quarter is robust from memory, with its 95% interval; nothing where that contains 0."""
    low, high = quarter.interval
    text = f"{100 * quarter.memory:.0f} points [{100 * low:.0f}, {100 * high:.0f}]"
    if low <= 0 <= high:
        return f"none are shown to be robust from memory ({text})"
    if high < 0:
        return f"fewer training than test images are robust ({text})"
    return f"{text} are robust from memory"


def describe(result: MemorySummary) -> str:
    """The numbers and what they say.

    Args:
        result: of one run.

    Returns:
        Text for the terminal.
    """
    return f"{lines_of(result)}\n\n{result.outcome.reason}"
