"""Two values behind one name."""

from cgro.diagnosis.importers.pairs import changing_total, each_of, no_count


def test_a_list_of_two_kinds_or_parts_names_two_values() -> None:
    assert each_of("Acc (train/test)") == ("Acc (train)", "Acc (test)")
    assert each_of("test nat / PGD20 acc") == ("test nat acc", "test PGD20 acc")
    for name in ("test acc", "val/pgd_acc", "best/current test acc", "adv/pgd acc", "acc clean/test"):
        assert each_of(name) is None, name


def test_a_count_has_one_total_and_is_not_above_it() -> None:
    assert no_count("acc", "10000", "10000") == ""
    assert "'80/45' behind 'acc'" in no_count("acc", "80", "45")
    assert changing_total("acc", [10000]) == ""
    assert changing_total("acc", [128, 10000]) == ""
    assert "47, 48" in changing_total("acc", [48, 47])
