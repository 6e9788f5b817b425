"""One evaluation by several processes, for `tests.definitions.test_rounds`: what each does, and what the first writes.

Every process of a group runs all cases, one after another: a start of Python costs more than an evaluation.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cgro._check import BadRequest
from cgro.data import Dataset, load
from cgro.definitions import APGD, PGD, Ensemble, Record, Square, ThreatModel, survey
from cgro.definitions.evaluation import survey_series
from cgro.definitions.metrics import NotFinite
from cgro.definitions.rounds import TOLD, alike, rounds
from cgro.diagnosis import diagnose_model, lint
from cgro.flatness import Search, attacked, flatness
from cgro.ranks import ALONE, Ranks

THREAT = ThreatModel("inf", 0.15)
ENSEMBLE = Ensemble(
    THREAT,
    (
        PGD(THREAT, n_steps=1, precision="float32"),
        APGD(THREAT, n_steps=3, precision="float32"),
        Square(THREAT, n_queries=5, precision="float32"),
    ),
)
N, BATCH = 40, 7
"""Six chunks, the last of five: rounds of two are whole, one of four processes has no chunk in the second round of four."""
FIELDS = ("tried", "by", "step", "margin", "x_adv")


def digits() -> Dataset:
    return load("digits", n_train=60, n_test=N, validation=0.05)


def network(seed: int = 3) -> nn.Module:
    """Learned a little, so that some examples are right and some can be broken."""
    data = digits()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            loss = nn.functional.cross_entropy(model(data.train.x), data.train.y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval().requires_grad_(False)


def tensors_of(record: Record, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix} {name}": getattr(record, name).clone() for name in FIELDS}


def evaluated(ranks: Ranks, batch: int = BATCH, **more: object) -> Record:
    test = digits().test
    return survey(network(), test.x, test.y, ENSEMBLE, batch=batch, index=test.index, ranks=ranks, **more)  # type: ignore[arg-type]


def cut(ranks: Ranks, n_rounds: int) -> Record:
    """Stopped by the first process after some rounds; the others must not be asked."""
    left = [n_rounds]

    def stop() -> bool:
        assert ranks.writes
        left[0] -= 1
        return left[0] < 0

    record = evaluated(ranks, stop=stop)
    assert not record.complete
    return record


def cases(ranks: Ranks, folder: Path) -> None:
    """Every call that takes ranks."""
    data, model = digits(), network()
    test, train = data.test, data.train
    tensors = tensors_of(evaluated(ranks), "survey")
    saved: list[int] = []
    tensors |= tensors_of(
        evaluated(ranks, record=cut(ranks, 2), saved=lambda one: saved.append(one.so_far.wrong)), "resumed"
    )
    assert bool(saved) == ranks.writes
    models = (model, network(4))
    series = survey_series(lambda k: models[k], 2, test.x, test.y, ENSEMBLE, batch=BATCH, ranks=ranks)
    for k, record in enumerate(series):
        tensors |= tensors_of(record, f"series {k}")
    found = flatness(model, test.x, test.y, (0.05, 0.1), search=Search(2, 2, 2), batch=BATCH, ranks=ranks)
    tensors |= {f"flatness {key}": getattr(found, key) for key in ("gradient", "rise", "loss", "slope")}
    probe = attacked(model, test.x, test.y, PGD(THREAT, n_steps=2), batch=BATCH, ranks=ranks)
    tensors |= {"margin": probe.margin, "flip": probe.flip}
    checks = lint(model, test.x, test.y, THREAT, n=20, n_queries=10, ranks=ranks)
    verdict = diagnose_model(model, train, test, THREAT, attack=ENSEMBLE, n=N, n_lint=0, ranks=ranks)
    plain = [[one.to_dict() for one in checks], verdict.to_dict()]
    (folder / f"{ranks.size}-{ranks.number}.json").write_text(json.dumps(plain, default=str, sort_keys=True))
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, folder / f"{ranks.size}-{ranks.number}.safetensors"
    )
    torch.save(vars(cut(ranks, 5)), folder / f"cut-{ranks.size}-{ranks.number}.pt")
    if ranks.shared:
        refusals(ranks)
        interrupts(ranks)


def resumed(ranks: Ranks, folder: Path) -> None:
    """Gone on with by another number of processes."""
    for before in (1, 2):
        stored = torch.load(folder / f"cut-{before}-0.pt", weights_only=True)
        record = evaluated(ranks, record=Record(**stored))
        save_file(tensors_of(record, "survey"), folder / f"resumed-{before}-{ranks.size}-{ranks.number}.safetensors")


class Poisoned(nn.Module):
    """Does something at the examples with a certain first pixel."""

    def __init__(self, model: nn.Module, mark: float, act: Callable[[], Tensor | None]) -> None:
        super().__init__()
        self.model, self.mark, self.act = model, mark, act
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.model(x)
        if bool((x.flatten(1)[:, 0] == self.mark).any()):
            value = self.act()
            if value is not None:
                return outputs * value
        return outputs


def refusals(ranks: Ranks) -> None:
    """What goes wrong in one process goes wrong in all, in the words of the first that failed."""
    test = digits().test
    x = test.x.clone()
    x[BATCH + 1, 0, 0, 0] = 0.123  # in the chunk of the second process

    def overflow() -> Tensor:
        return torch.tensor(float("nan"))

    def unknown() -> Tensor:
        raise TypeError("a mistake in the network")

    with pytest.raises(NotFinite, match="got NaN or inf") as caught:
        survey(Poisoned(network(), 0.123, overflow), x, test.y, ENSEMBLE, batch=BATCH, ranks=ranks)
    assert TOLD in caught.value.__notes__
    expected = TypeError if ranks.number == 1 else BadRequest
    with pytest.raises(expected, match="a mistake in the network"):
        survey(Poisoned(network(), 0.123, unknown), x, test.y, ENSEMBLE, batch=BATCH, ranks=ranks)
    with pytest.raises(BadRequest, match="labels: expected 40, one per example, got 39"):
        survey(network(), x, test.y[:-1], ENSEMBLE, ranks=ranks)
    with pytest.raises(BadRequest, match="what the processes evaluate: expected the same in all"):
        survey(network(3 + (ranks.number == 1)), x, test.y, ENSEMBLE, ranks=ranks)
    with pytest.raises(BadRequest, match="what the processes evaluate: expected the same in all"):
        attacked(network(), x, test.y, PGD(THREAT, n_steps=2), seed=ranks.number, ranks=ranks)

    def full(record: Record) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError if ranks.writes else BadRequest, match="disk full"):
        survey(network(), x, test.y, ENSEMBLE, saved=full, ranks=ranks)


def interrupts(ranks: Ranks) -> None:
    """A request to one process ends all in the same round; what was found until then is kept."""
    test = digits().test
    x = test.x.clone()
    x[BATCH + 1, 0, 0, 0] = 0.123

    def request() -> None:
        signal.raise_signal(signal.SIGINT)

    record = Record.fresh(ENSEMBLE, x, torch.arange(N))
    first = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        survey(Poisoned(network(), 0.123, request), x, test.y, ENSEMBLE, batch=BATCH, record=record, ranks=ranks)
    assert signal.getsignal(signal.SIGINT) == first
    assert torch.equal(record.tried, torch.full((N,), -1))
    assert torch.equal(record.by, torch.full((N,), -1))
    with pytest.raises(KeyboardInterrupt):
        asked_by_last(ranks)


def asked_by_last(ranks: Ranks) -> None:
    with alike(ranks):
        if ranks.number == ranks.size - 1:
            signal.raise_signal(signal.SIGINT)


def killed(ranks: Ranks, folder: Path) -> None:
    """The last process is killed in its chunk; the others say so and end."""
    test = digits().test
    last = ranks.size - 1
    x = test.x.clone()
    x[BATCH * last + 1, 0, 0, 0] = 0.123

    def kill() -> None:
        signal.raise_signal(signal.SIGKILL)

    try:
        survey(Poisoned(network(), 0.123, kill), x, test.y, ENSEMBLE, batch=BATCH, ranks=ranks)
    except BadRequest as error:
        print(error, file=sys.stderr)
        os._exit(2)


def planted(ranks: Ranks, folder: Path) -> None:
    """Mistakes that the comparison must find: a chunk that is dropped, and a mean over processes of their means."""
    test = digits().test
    model = network()
    some = rounds(torch.arange(N), BATCH, ranks)[-1]
    dropped = replace(some, chunks=some.chunks[:1])
    assert len(some.chunks) == 2
    assert len(some.found(lambda chunk: [test.y[chunk]])[0]) == len(some.rows)
    assert len(dropped.found(lambda chunk: [test.y[chunk]])[0]) < len(some.rows)
    wrong = (model(test.x).argmax(1) != test.y).double()
    own = torch.cat([one.chunks[ranks.number] for one in rounds(torch.arange(N), BATCH, ranks)])
    mean = wrong[own].mean()
    ranks.add(mean)
    assert mean / ranks.size != wrong.mean()


if __name__ == "__main__":
    cases(ALONE, Path(sys.argv[1]))
