"""The trained networks: shared by name, with the recipes that their names promise."""

from cgro.experiments import bound, evaluations, figure1, figure3, figure4, networks, table1
from cgro.experiments.networks import configuration


def test_figures_1_3_4_the_bound_and_table_1_read_the_same_networks() -> None:
    widest = {job.name for job in networks.widest("cpu")}
    assert len(widest) == 3
    for artifact in (figure1, figure3, figure4, bound, table1):
        assert widest <= {job.name for job in artifact.jobs("cpu")}


def test_variants_differ_from_the_plain_start_in_what_they_are_called_for() -> None:
    plain = configuration(networks.mnist("cpu", 1)[0])
    warm = configuration(networks.mnist("cpu", 1, "-warm")[0])
    sgd = configuration(networks.mnist("cpu", 1, "-sgd-warm")[0])
    long = configuration(networks.mnist("cpu", 1, "-long")[0])
    assert (plain.radius_warmup, warm.radius_warmup, sgd.radius_warmup) == (0.0, 10.0, 10.0)
    assert (plain.optimizer, sgd.optimizer, sgd.lr) == ("adam", "sgd", 0.05)
    assert (long.epochs, long.eval_every) == (3 * plain.epochs, 3 * plain.eval_every)
    assert configuration(networks.mnist("gpu", 1, "-long")[0]).lr_drops == ""
    assert configuration(networks.mnist("smoke", 1, "-warm")[0]).radius_warmup == 1.0  # half of its two epochs


def test_standard_networks_are_the_same_without_an_attack() -> None:
    robust = networks.few("cpu")
    for job, standard in zip(robust, networks.standard(robust), strict=True):
        a = configuration(job)
        b = configuration(standard)
        assert standard.name == f"standard/{job.name}"
        assert b.attack == "none"
        assert (a.model, a.width, a.n_train, a.seed, a.epochs) == (b.model, b.width, b.n_train, b.seed, b.epochs)
        assert b.keep_every == 0


def test_fewer_seeds_are_planned_where_they_are_asked_for() -> None:
    with networks.first_seeds(1):
        assert [job.name for job in networks.widest("gpu")] == ["cifar10-w64/seed-0"]
        assert len(figure1.jobs("gpu")) == 1  # curves of 2,000 images tell: no further evaluations
        with networks.first_seeds(2):
            assert len(networks.mnist("paper", 1)) == 2
    assert len(networks.widest("gpu")) == 3


def test_a_training_is_compressed_in_all_its_parts() -> None:
    job = networks.cifar("gpu", 64)[0]
    assert networks.compressed(job, 60) == job
    short = networks.compressed(job, 40)
    changed = {name for name, value in short.settings.items() if value != job.settings[name]}
    assert changed == set(short.free)
    assert configuration(short).recipe().lr_drops == (16, 32)
    assert evaluations.kept_after_drop(configuration(short)) == 24
    assert configuration(networks.compressed(networks.mnist("gpu", 1)[0], 80)).lr_drops == "60"
