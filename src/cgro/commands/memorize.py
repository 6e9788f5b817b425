"""The robust memorizer of Theorem 4.4 on your data: an explicit ReLU network, certified on every training ball.

examples:
  cgro memorize --data mnist5k --classes 3,8 --p inf --radius 0.1
  cgro memorize --classes even,odd --p 2 --radius 1.0 --seeds 5
  cgro memorize --classes 3,8 --radius 0.05 --clean-radius 0.05 --memorize small-margin
  cgro memorize --data digits --classes 3,8 --radius 0.05 --n-train 40 --export --verify milp
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from msgspec import UNSET

from cgro._check import CheckFailed, bad, count, number, one_of
from cgro.commands._common import (
    Computing,
    Output,
    Seeded,
    Trusting,
    begin,
    for_seeds,
    lines_of,
    option,
    say_remarks,
    set_up,
)
from cgro.commands._effect import Effects, Only, beside
from cgro.data import Dataset, load
from cgro.definitions import DEFAULT_RULE, ErrorRate, ThreatModel, Verdict, cgro_verdict, clean_error, predicted_shares
from cgro.models import build
from cgro.report.representation import decision_regions
from cgro.representation import (
    Certificate,
    RobustMemorizer,
    bracket_robust_error,
    certify,
    interval_check,
    small_margin_points,
)
from cgro.representation.ball_intervals import has_ball_intervals
from cgro.representation.certificate import not_lowerable
from cgro.representation.export import export, require_exportable, require_packages
from cgro.representation.milp import require_solvable
from cgro.representation.points import evenly_spaced
from cgro.representation.slice import save_slice
from cgro.representation.spheres import REPLAY_ROUNDING
from cgro.representation.verify import sphere_check, verify_balls
from cgro.results import (
    CertificateRecord,
    ChecksRecord,
    DatasetRecord,
    IntervalCheck,
    MemorizeSummary,
    Metric,
    OutcomeRecord,
    ParametersRecord,
    SeedsSummary,
    ThreatRecord,
    VerdictRecord,
)
from cgro.results.keys import CERTIFIED_TRAIN, CLEAN_TEST, CLEAN_TRAIN, ROBUST_TEST, ROBUST_TRAIN
from cgro.runs import Run
from cgro.training import train_clean_model

N_CHECKED = 4
"""Training balls that the expanded network is also asked about: the check is independent, not cheap."""
EXPANDED = 20_000_000  # non-zeros up to which it is written out for that


@dataclass(kw_only=True)
class Config(Trusting, Output, Seeded, Computing):
    """Options of `cgro memorize`."""

    data: str = option("mnist5k", "data set", names="data")
    classes: str | None = option(None, "task, such as 3,8 or even,odd; default: all classes, one against rest")
    n_train: int | None = option(None, "training points; default: all", low=1)
    n_test: int | None = option(None, "test points; default: all", low=1)
    p: str = option("inf", "norm: 1, 2 or inf")
    radius: str = option("0.1", "radius of the balls, such as 0.1 or 8/255")
    variant: str | None = option(None, "box or compact (inf), lean (1), shared (2); default: the norm's first")
    ramp: float | None = option(None, "width on which indicators fall to 0; default: as wide as certificate A allows")
    memorize: str = option("all", "all, or small-margin: only points the clean model is not certified on")
    clean_model: str | None = option(
        None, "a run of cgro train, or package.module:factory; default: trained MLP 64-32", names="network"
    )
    clean_radius: str = option("0", "train the default clean model adversarially at this radius")
    clean_epochs: int = option(15, "epochs of the default clean model", low=1)
    eval_n: int = option(1000, "test points in the bracket on the robust error, at most", low=1)
    export: bool = option(False, "write ONNX (float64) and VNN-LIB properties into DIR/export, checked (small N)")
    verify: str = option("none", "none, or milp: solve training balls with HiGHS (extra certify)")
    verify_n: int = option(10, "training balls to solve, and to export, at most", low=1)

    HAS_EFFECT: ClassVar[Effects] = {
        "verify_n": beside("--verify milp or --export", lambda c: c.export or c.verify != "none"),
        "clean_epochs": Only("no --clean-model beside it", lambda c: c.clean_model is None, "one"),
        "device": Only("cpu, where the construction and its certificate are computed", lambda c: c.device == "cpu"),
        "precision": Only("float32, in which the attacks search", lambda c: c.precision == "float32"),
    }


def run(config: Config) -> Run:
    """Build, certify and measure, one seed or several.

    Args:
        config: the options.

    Returns:
        The finished run.

    Raises:
        BadRequest: options that do not fit, before any work.
        CheckFailed: a ball is not certified, or a solver contradicts the certificate; the results are written.
    """
    set_up(config)
    one_of(config.memorize, "--memorize", ("all", "small-margin"))
    one_of(config.verify, "--verify", ("none", "milp"))
    threat = ThreatModel(config.p, config.radius)
    if config.verify == "milp":
        require_solvable(threat.p)
    if config.export:
        require_packages()
    for name in ("eval_n", "verify_n", "clean_epochs"):
        count(getattr(config, name), "--" + name.replace("_", "-"))
    if config.clean_model is not None and number(config.clean_radius, "--clean-radius", low=0) > 0:
        raise bad("--clean-radius", expected="0 with a clean model of your own", got=config.clean_radius)
    return for_seeds("memorize", config, _one)


def _one(config: Config, path: str | Path | None) -> Run:
    threat = ThreatModel(config.p, config.radius)
    data = load(config.data, classes=config.classes, n_train=config.n_train, n_test=config.n_test, seed=config.seed)
    say_remarks(data)
    memorizer = _memorizer(config, data, threat)
    _require_layers(config, memorizer)
    with begin("memorize", config, path) as run:
        exact = memorizer.pixels is not None
        certificate = certify(memorizer, exact=exact)
        measured = _measure(config, data, memorizer, certificate)
        checks = _checks(config, run, memorizer, certificate)
        margins = certificate.margin.tolist()
        run.write_rows([{"point": i, "margin": margin} for i, margin in enumerate(margins)])
        if save_slice(memorizer, run.file("slice.npz")):
            decision_regions(run.path)
        run.finish(_summary(config.seed, data, memorizer, certificate, measured, checks))
    _require(certificate, checks)
    return run


def _require_layers(config: Config, memorizer: RobustMemorizer) -> None:
    """Refuse checks and files of a network that cannot be written out, before there is a run directory."""
    if config.export:
        require_exportable(memorizer.expand())
    elif config.verify == "milp":
        memorizer.expand()


@dataclass(frozen=True)
class _Measured:
    """The errors of F, the verdict on them, and what is not measured and why."""

    metrics: dict[str, Metric]
    verdict: Verdict
    notes: list[str]


def _summary(
    seed: int,
    data: Dataset,
    memorizer: RobustMemorizer,
    certificate: Certificate,
    measured: _Measured,
    checks: ChecksRecord,
) -> MemorizeSummary:
    points = memorizer.parameters_of(measure=_fits(memorizer))
    separation = memorizer.separation
    return MemorizeSummary(
        command="memorize",
        seed=seed,
        threat=ThreatRecord.of(memorizer.threat.to_dict()),
        outcome=OutcomeRecord(kind="completed", reason="certified" if certificate.holds else "NOT certified"),
        verdict=VerdictRecord.of(measured.verdict.to_dict()),
        metrics=measured.metrics,
        data=DatasetRecord.of(data.describe()),
        certificate=CertificateRecord.of({**certificate.to_dict(), "layers": _layers(memorizer, checks)}),
        parameters=ParametersRecord(
            total=points.formula if points.total is None else points.total,
            memorizer=points.memorizer,
            clean=points.clean,
            formula=points.formula,
            generic=points.generic,
            dense=points.dense,
            measured=points.total is not None,
        ),
        separation=separation.value,
        max_radius=separation.max_radius,
        separation_pair=list(separation.pair),
        variant=memorizer.variant,
        checks=checks,
        notes=measured.notes,
    )


def _require(certificate: Certificate, checks: ChecksRecord) -> None:
    """Exit 1 after the results are written: a false certificate, or a solver that disagrees with it."""
    if not certificate.holds:
        n_bad = int((certificate.margin <= 0).sum())
        raise CheckFailed(
            f"{n_bad} of {len(certificate.margin)} training balls are not certified; try a smaller --ramp"
        )
    if checks.interval and not checks.interval.agrees:
        raise CheckFailed(f"interval propagation disagrees with the certificate: {checks.interval.least}")
    if checks.spheres and not checks.spheres.agrees:
        found = checks.spheres
        raise CheckFailed(f"the written-out layers disagree with the certificate: {found.found} for {found.claimed}")
    if checks.milp and not checks.milp.agrees:
        raise CheckFailed(
            f"the MILP solver disagrees with the certificate: {checks.milp.least}, {checks.milp.n_below} balls below "
            "their certified margin"
        )


def _memorizer(config: Config, data: Dataset, threat: ThreatModel) -> RobustMemorizer:
    raw, y = data.train.raw, data.train.y
    clean = _clean_model(config, data, threat)

    whole = RobustMemorizer(clean, raw, y, threat, variant=config.variant, ramp=config.ramp)
    if config.memorize == "all":
        return whole
    return RobustMemorizer(
        clean,
        raw,
        y,
        threat,
        variant=config.variant,
        ramp=config.ramp,
        memorize=small_margin_points(whole),
        separation=whole.separation,
    )


def _clean_model(config: Config, data: Dataset, threat: ThreatModel) -> torch.nn.Module:
    if config.clean_model is None:
        model = build("mlp", data.shape, data.n_outputs, seed=config.seed)
        radius = number(config.clean_radius, "--clean-radius", low=0)
        against = threat.at(radius) if radius > 0 else None
        return train_clean_model(
            model, data.train.x, data.train.y, seed=config.seed, threat=against, epochs=config.clean_epochs
        )
    if ":" in config.clean_model:
        model = build(config.clean_model, data.shape, data.n_outputs, seed=config.seed)
    else:
        model = _from_run(config, data)
    return model.eval().requires_grad_(False)


def _from_run(config: Config, data: Dataset) -> torch.nn.Module:
    """The last network of a run of `cgro train`, which must have been trained for the same task."""
    from cgro.commands._settings import trained
    from cgro.commands._target import Target, network
    from cgro.training.checkpoint import checkpoint_of

    source, settings = trained(config.clean_model or "", "--clean-model", trust=config.trust)
    classes = ",".join(data.classes) if data.n_outputs == 1 else None
    if (settings.data, settings.classes) != (data.name, classes):
        raise bad(
            "--clean-model",
            expected=f"a network for {data.name}, classes {','.join(data.classes)}",
            got=f"one for {settings.data}, classes {settings.classes or 'all'}",
        )
    target = Target(settings, source, {"last": checkpoint_of(source)})
    return target.load_weights(network(settings, data))


def _measure(config: Config, data: Dataset, memorizer: RobustMemorizer, certificate: Certificate) -> _Measured:
    """The errors of F beside those of the clean model, and the verdict on F."""
    test, train = data.test, data.train
    part = test.head(config.eval_n)
    found = bracket_robust_error(memorizer, part.x, part.y, generator=torch.Generator().manual_seed(config.seed))
    n_open = int((~(certificate.margin > 0)).sum())
    certified = ErrorRate(n_open, len(train), "exact" if n_open == 0 else "upper")
    errors = {
        CLEAN_TRAIN: _clean_train_error(memorizer, certificate),
        CLEAN_TEST: clean_error(memorizer, test.x, test.y),
        ROBUST_TRAIN: ErrorRate(0, len(train), "exact" if n_open == 0 else "lower"),
        ROBUST_TEST: found.lower,
    }
    metrics = {key: Metric.of_error(error) for key, error in errors.items()}
    metrics[CERTIFIED_TRAIN] = Metric.of_error(certified)
    for key, entry in found.metrics("test").items():
        metrics[key] = Metric.of(entry)
    clean = clean_error(memorizer.clean_model, test.x, test.y)
    metrics["clean_error/test@clean_model"] = Metric.of_error(clean)
    shares = predicted_shares(memorizer, part.x)
    rule = replace(DEFAULT_RULE, n_classes=max(2, data.n_outputs))
    verdict = cgro_verdict(errors, prediction_share=shares, rule=rule)
    return _Measured(metrics, verdict, [found.reason] if found.reason else [])


def _clean_train_error(memorizer: RobustMemorizer, certificate: Certificate) -> ErrorRate:
    """A certified ball contains its center: no evaluation is needed where all are certified."""
    if certificate.holds:
        return ErrorRate(0, len(certificate.margin))
    x = memorizer.shaped(memorizer.points(torch.arange(len(memorizer.y))))
    return clean_error(memorizer, x, memorizer.y)


def _fits(memorizer: RobustMemorizer) -> bool:
    return memorizer.parameters_of(measure=False).generic <= EXPANDED


def _checks(config: Config, run: Run, memorizer: RobustMemorizer, certificate: Certificate) -> ChecksRecord:
    """Independent checks of the certificate, and the files for verifiers of others."""
    interval, spheres, exported, milp = UNSET, UNSET, UNSET, UNSET
    provable = config.ramp is None and has_ball_intervals(memorizer)
    points = evenly_spaced(N_CHECKED, len(memorizer.y))
    written = _fits(memorizer) and not_lowerable(memorizer) is None
    if written and provable:
        bounds = interval_check(memorizer, points)
        agrees = bool((bounds >= certificate.margin[points] - REPLAY_ROUNDING).all())
        interval = IntervalCheck(n=len(points), least=float(bounds.min()), agrees=agrees)
    elif written:
        spheres = sphere_check(memorizer, points, certificate=certificate)
    if config.export:
        exported = export(memorizer, run.path / "export", limit=config.verify_n, certificate=certificate)
    if config.verify == "milp":
        milp = verify_balls(memorizer, evenly_spaced(config.verify_n, len(memorizer.y)), certificate=certificate)
    return ChecksRecord(interval=interval, export=exported, milp=milp, spheres=spheres)


def _layers(memorizer: RobustMemorizer, checks: ChecksRecord) -> str:
    """What of the written-out layers was checked, and what was not."""
    n = len(memorizer.y)
    proved: list[str] = []
    if checks.interval:
        proved.append(f"{checks.interval.n} of {n} balls by interval propagation")
    if checks.milp:
        proved.append(f"{checks.milp.n} of {n} balls by a solver")
    said = "no ball proved from them"
    if proved:
        said = f"{' and '.join(proved)}, the others not checked"
    if checks.spheres:
        said += f"; evaluated at {checks.spheres.n_points} points in {checks.spheres.n} balls, which finds faults only"
    return said


def describe(result: MemorizeSummary | SeedsSummary) -> str:
    """Certificate, bracket and parameters.

    Args:
        result: of one seed or of several.

    Returns:
        Text for the terminal.
    """
    if isinstance(result, SeedsSummary):
        return lines_of(result)
    certificate, parameters = result.certificate, result.parameters
    state = "holds" if certificate.holds else "DOES NOT HOLD"
    counted = f"parameters: {parameters.memorizer:,} for memory"
    if parameters.total:
        counted = (
            f"parameters: {parameters.total:,} non-zero; {parameters.memorizer:,} for memory (generic "
            f"{parameters.generic:,}), {parameters.clean:,} in the clean model"
        )
    lines = [
        f"certificate {state}: y F >= {certificate.min_margin:.6g} on all {certificate.n} training balls "
        f"({certificate.method}); {certificate.n_memorized} points memorized",
        f"written-out layers: {certificate.layers}",
        counted,
        f"separation {result.separation:.6g}; radii below {result.max_radius:.6g} are possible",
        "",
        lines_of(result),
    ]
    return "\n".join(lines)
