"""The figures of docs/flatness.md from the numbers per seed that `benchmarks/flatness.py` stored.

PYTHONPATH=src:. python benchmarks/draw_flatness.py
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from cgro.reading import read_json
from cgro.report.flatness import by_radius
from cgro.results import FlatnessCheckpoint, FlatnessPart, FlatnessRecord, Metric

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "figures"
NAMES = {"mnist": "flatness_by_radius", "cifar10": "flatness_by_radius_cifar10"}
PARTS = ("train", "test")


def records_of(stored: Mapping) -> list[FlatnessRecord]:
    """One record per seed, with its last checkpoint alone; losses and slopes were not stored and are not drawn."""
    names = list(stored["results"]["gradient"])
    radii = [float(Fraction(name)) for name in names]

    def metrics(measure: str, part: str, seed: int) -> Sequence[Metric]:
        values = [stored["results"][measure][name][part]["per_seed"][seed] for name in names]
        return [Metric(value=value, n=stored["n"], bound="lower") for value in values]

    records = []
    for seed in range(stored["n_seeds"]):
        parts = {}
        for part in PARTS:
            gradient, rise = metrics("gradient", part, seed), metrics("rise", part, seed)
            parts[part] = FlatnessPart(n=stored["n"], loss=0.0, slope=0.0, gradient=gradient, rise=rise)
        records.append(
            FlatnessRecord(
                data=stored["data"],
                note=stored["note"],
                model=stored["model"],
                width=stored["width"],
                p="inf",
                seed=seed,
                radii=radii,
                names=names,
                training_radius=radii[stored["training_index"]],
                training_name=stored["training_name"],
                n_train=stored["n_train"],
                dim=0,
                search=stored["search"],
                checkpoints=[FlatnessCheckpoint(label="last", epoch=None, parts=parts)],
            )
        )
    return records


def main() -> None:
    for data, name in NAMES.items():
        print(by_radius(FIGURES / name, records_of(read_json(HERE / "results" / f"flatness-pattern-{data}.json"))))


if __name__ == "__main__":
    main()
