"""Does a network act from memory inside its training balls (Lemma 4.5), and whom does it remember?

Always: attacked margins and flip radii, training against test, and the order of the three stages on the learning curves.
With --clean, a run of standard training: who is remembered, by how near to its boundary an example is. With --influence K: K
networks trained anew by the run's recipe, each on 70% of its examples, say what each example does for itself.

examples:
  cgro memory runs/mnist
  cgro memory runs/mnist --clean runs/mnist-standard --n 2000
  cgro memory runs/mnist --clean runs/mnist-standard --influence 16      (16 trainings; cut and called again it goes on)
  cgro memory runs/mine --trust                 (a network of your own: what a run names is not imported without this)
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgro._check import BadRequest, bad, count
from cgro._progress import progress
from cgro.commands import train
from cgro.commands._common import Computing, Output, Trusting, begin, lines_of, option, set_up
from cgro.data import Dataset, Split
from cgro.definitions import Attack, Model, NoAttack, attack_by_name
from cgro.flatness import (
    Attacked,
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
from cgro.models import build, fast_layout
from cgro.report.memory import draw
from cgro.runs import Run, dump_json, summary, write_arrays, write_atomic
from cgro.training import Evaluation, evaluated, fit, make_fabric
from cgro.training.checkpoint import checkpoint_of, load_weights, read_run_weights, read_weights, save_checkpoint

PARTS = ("train", "test")
CURVES = ("clean_error/test", "robust_error/train", "robust_error/test")
CHUNK = 128
"""Examples between two steps of the progress bar."""
SHARE = 0.7
"""Of the examples in each training for the influence: Feldman and Zhang's (NeurIPS 2020)."""


@dataclass(kw_only=True)
class Config(Trusting, Output, Computing):
    """Options of `cgro memory`."""

    target: str | None = option(None, "a run of cgro train", positional=True)
    clean: str | None = option(None, "a run of cgro train --attack none on the same examples")
    attack: str = option("pgd20", "at the radius of training; see cgro evaluate")
    n: int = option(1000, "examples of each part, at most")
    influence: int = option(0, "networks trained anew on subsets, for the influence; 0 for none")


def run(config: Config) -> Run:
    """Probe one run."""
    set_up(config)
    count(config.n, "--n", low=4)
    if count(config.influence, "--influence", low=0) == 1:
        raise bad("--influence", expected="2 networks or more, or 0", got=config.influence)
    source, settings = _trained(config, config.target, "TARGET")
    if not settings.threat().radius > 0 or settings.attack == "none":
        raise bad("TARGET", expected="a run of adversarial training", got=f"{source.path}, standard training",
                  remedy="name it as --clean")  # fmt: skip
    clean = None if config.clean is None else _clean_run(config, config.clean, source)
    attack = attack_by_name(config.attack, settings.threat(), precision=config.precision)
    data, model = train.prepare(settings)  # a network of the caller's may fail: before there is a directory
    with begin("memory", config) as done:
        found, flips = _probed(config, source, model, data, attack), {}
        if clean is not None:
            standard = _probed(config, clean[0], train.prepare(clean[1])[1], data, attack)
            flips = {part: a.flip for part, a in standard.items()}
        gains = _influence(config, settings, data, attack, done) if config.influence else None
        write_arrays(done.file("examples.npz"), _examples(found, flips, gains, data, config.n))
        result = _summary(settings, data, attack, found, flips, gains, _stages(source))
        write_atomic(done.file("memory.json"), dump_json(result["memory"]))
        draw(done.path)
        done.finish(result)
    return done


def _trained(config: Config, path: str | None, name: str) -> tuple[Run, train.Config]:
    if path is None or not Path(path).is_dir():
        raise bad(name, expected="a run of cgro train", got=path or "none", remedy="see cgro memory --help")
    return train.trained(path, name, trust=config.trust)


def _clean_run(config: Config, path: str, source: Run) -> tuple[Run, train.Config]:
    """The standard network: one that learnt the same examples, or its boundary says nothing of them."""
    clean, settings = _trained(config, path, "--clean")
    if settings.attack != "none":
        raise bad("--clean", expected="a run of cgro train --attack none", got=f"{clean.path}, adversarial training")
    used = [run.path / "index_sets.json" for run in (source, clean)]
    if used[0].read_bytes() != used[1].read_bytes():
        raise bad("--clean", expected=f"the examples of {source.path}", got=f"others in {clean.path}",
                  remedy="train it with the same --data, --n-train, --validation and --seed")  # fmt: skip
    return clean, settings


def _probed(config: Config, source: Run, model: torch.nn.Module, data: Dataset, attack: Attack) -> dict[str, Attacked]:
    """Both parts under attack, by the run's last network."""
    path = checkpoint_of(source)
    load_weights(model, read_run_weights(source, path), path)
    device = make_fabric(config.device).device
    model, found = model.to(device).eval(), {}
    for part in PARTS:
        split, pieces = getattr(data, part).head(config.n).to(device), list[Attacked]()
        with progress(len(split), f"attacking {source.path}, {part}") as update:
            for rows in torch.arange(len(split), device=device).split(CHUNK):
                x, y = split.batch(rows)
                pieces.append(attacked(model, x, y, attack))
                update(int(rows[-1]) + 1)
        margins, flips = (torch.cat([getattr(p, k) for p in pieces]) for k in ("margin", "flip"))
        found[part] = Attacked(margins, flips, pieces[0].reach)
    return found


def _influence(config: Config, settings: train.Config, data: Dataset, attack: Attack, done: Run) -> Tensor:
    """Of the first n training examples on themselves; finished networks lie in DIR/networks and are not trained again."""
    recipe, objective = settings.recipe(), settings.build_objective()
    fabric = make_fabric(config.device, precision=settings.train_precision)
    rarely = Evaluation(NoAttack(settings.threat()), n=100, every=settings.epochs)

    def network(rows: Tensor, k: int) -> Model:
        path, seed = done.path / "networks" / f"{k:03d}.safetensors", settings.seed + k
        model = fast_layout(build(settings.model, data.shape, data.n_outputs, width=settings.width, seed=seed))
        if path.exists():
            load_weights(model, read_weights(path), path)
        else:
            own = replace(data, train=Split(data.train.raw[rows], data.train.y[rows], data.train.index[rows]))
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
        return memorization_values(network, part.x, part.y, attack, subsets)


def _stages(source: Run) -> RealStages | None:
    rows = [r for r in source.rows() if all(r.get(k) is not None for k in CURVES)]
    if len(rows) < 2:
        return None
    return real_stages([r["epoch"] for r in rows], *([r[k] for r in rows] for k in CURVES))


def _examples(
    found: dict[str, Attacked], flips: dict[str, Tensor], gains: Tensor | None, data: Dataset, n: int
) -> dict[str, np.ndarray]:
    """Per example: position in the source, margin, flip radii, influence."""
    arrays = {f"{part}/clean_flip": v for part, v in flips.items()}
    for part, a in found.items():
        arrays |= {f"{part}/index": getattr(data, part).index[:n], f"{part}/margin": a.margin, f"{part}/flip": a.flip}
    if gains is not None:
        arrays["train/influence"] = gains
    return {k: v.numpy() for k, v in arrays.items()}


def _summary(
    settings: train.Config, data: Dataset, attack: Attack, found: dict[str, Attacked], flips: dict[str, Tensor],
    gains: Tensor | None, stages: RealStages | None,
) -> dict[str, Any]:  # fmt: skip
    score, n = memory_score(found["train"], found["test"]), len(found["train"].margin)
    metrics: dict[str, Any] = {
        "memory/score": {"value": score.value, "interval": list(score.interval), "n": n, "bound": None},
        "memory/ranking": {"value": score.auc},
    }
    for part, a in found.items():
        flip = {"value": float(a.flip.median()), "n": len(a.flip), "bound": "upper", "attack": repr(attack)}
        metrics[f"memory/flip_radius/{part}"] = flip
    radius = settings.threat().radius
    memory: dict[str, Any] = {"radius": radius, "stages": stages and {**vars(stages), "ordered": stages.ordered}}
    if flips:
        metrics |= _of_whom(flips, {part: a.margin for part, a in found.items()}, radius, memory)
    if gains is not None:
        by = {"flip": found["train"].flip} | ({"clean_flip": flips["train"]} if flips else {})
        metrics |= _by_influence(gains, by, memory)
    return summary(
        "memory", seed=settings.seed, threat=settings.threat().to_dict(), verdict=None, metrics=metrics,
        outcome={"kind": "completed", "reason": _sentence(metrics, memory)}, data=data.describe(), memory=memory,
        model={"name": settings.model, "width": settings.width},
    )  # fmt: skip


def _of_whom(
    flips: dict[str, Tensor], margins: dict[str, Tensor], radius: float, memory: dict[str, Any]
) -> dict[str, Any]:
    """Metrics by the distance to the standard boundary; the quarters are added to `memory`."""
    memory["quarters"], n = [row.to_dict() for row in by_quarter(flips, margins)], len(flips["train"]) // 4
    metrics: dict[str, Any] = {"memory/mu": {"value": memorized_by_margin(flips, margins, radius).mu}}
    for k, row in enumerate(memory["quarters"], 1):
        metrics[f"memory/quarter_{k}"] = {"value": row["memory"], "interval": row["interval"], "n": n, "bound": None}
    ranks = {f"memory/rank/clean_flip_and_margin/{p}": {"value": _rank(flips[p], margins[p])} for p in PARTS}
    return metrics | ranks


def _by_influence(gains: Tensor, flips: dict[str, Tensor], memory: dict[str, Any]) -> dict[str, Any]:
    """Metrics of the influence; its means by quarters of the last of `flips` are added to `memory`."""
    order = torch.argsort(list(flips.values())[-1], stable=True)
    memory["influence"] = [float(gains[rows].nanmean()) for rows in torch.tensor_split(order, 4)]
    metrics = {"memory/influence": {"value": float(gains.nanmean()), "n": int(gains.isfinite().sum())}}
    return metrics | {f"memory/rank/influence_and_{k}": {"value": _rank(gains, v)} for k, v in flips.items()}


def _rank(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation over the entries that both have."""
    known = ~(a.isnan() | b.isnan())
    return spearman(a[known].numpy(), b[known].numpy())


def _sentence(metrics: dict[str, Any], memory: dict[str, Any]) -> str:
    low, _ = metrics["memory/score"]["interval"]
    text = "margins are larger around training images" if low > 0 else "margins do not tell training from test images"
    if "quarters" in memory:
        first, last = (memory["quarters"][k]["memory"] for k in (0, -1))
        text += f"; memory holds {first:.0%} of the quarter nearest to the clean boundary, {last:.0%} of the farthest"
    if memory["stages"]:
        text += "; the stages " + (
            "come in the theorem's order" if memory["stages"]["ordered"] else "do not come in order"
        )
    return text


def describe(result: dict[str, Any]) -> str:
    """The numbers and what they say."""
    return f"{lines_of(result)}\n\n{result['outcome']['reason']}"
