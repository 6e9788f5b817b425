"""Tiny trainings and evaluations for tests of what plans, finds and carries out jobs."""

from pathlib import Path

from cgro.jobs.execute import ThisProcess, carry_out_here, execute
from cgro.jobs.plan import HERE, Job
from cgro.jobs.store import Store
from cgro.jobs.workspace import Workspace

TINY: dict[str, object] = {
    "data": "digits",
    "n_train": 60,
    "n_test": 30,
    "model": "mlp",
    "epochs": 2,
    "radius": "0.1",
    "attack": "pgd2",
    "eval_attack": "pgd2",
    "device": "cpu",
}


def training(seed: int, **more: object) -> Job:
    return Job(f"net/seed-{seed}", "train", {**TINY, **more, "seed": seed})


def evaluation(name: str, trained: Job, attack: str = "pgd3") -> Job:
    target = f"{HERE}{trained.name}/checkpoints/last.safetensors"
    own = {key: trained.settings[key] for key in ("data", "model", "radius", "seed")}
    return Job(name, "evaluate", {"target": target, "attack": attack, "parts": "test", "n": 20, **own})


def workspace(path: Path, jobs: list[Job], store: Store | None = None) -> Workspace:
    return Workspace(path, jobs, {"threads": 1}, store)


def make(found: Workspace, *jobs: Job) -> None:
    execute(jobs, found, ThisProcess(), carry_out_here)
