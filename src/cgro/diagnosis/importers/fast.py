"""The log of fast adversarial training: five columns of training, and an evaluation at its end or in every epoch."""

from collections.abc import Mapping

from cgro._check import bad
from cgro.diagnosis.curves import Curves
from cgro.diagnosis.importers.base import Text
from cgro.diagnosis.importers.heads import about_of, said_of_itself, settings_in
from cgro.diagnosis.importers.log import headers_of, numbers_of, rate_in_force, without_prefix
from cgro.diagnosis.importers.table import Table, curves_of
from cgro.diagnosis.importers.told import Told
from cgro.diagnosis.words import Meaning

_FIRST = ["epoch", "seconds", "lr", "train loss", "train acc"]
_PROGRAMS = {"minibatch_replays": "free", "attack_iters": "pgd", "delta_init": "fgsm"}
"""Options that only one of the three programs has -> its attack in training; the first that is there decides."""
_ON_ATTACKED = {"Train Loss": Meaning("robust_loss/train"), "Train Acc": Meaning("robust_error/train", accuracy=True)}
_AT_THE_END = {
    "Test Loss": Meaning("clean_loss/test"),
    "Test Acc": Meaning("clean_error/test", accuracy=True),
    "PGD Loss": Meaning("robust_loss/test"),
    "PGD Acc": Meaning("robust_error/test", accuracy=True, attack="pgd"),
}
_LAST = tuple(_AT_THE_END)


class Fast:
    """The programs of Wong, Rice and Kolter (ICLR 2020), which measure "Train Acc" on the attacked examples.

    By its name that column would be the clean accuracy. It is robust where the settings are those of one of these
    programs; any other log with this header is read by its names."""

    name = "log of fast adversarial training"

    def recognizes(self, text: Text) -> float:
        """See `Importer.recognizes`.

        Args:
            text: of the file.

        Returns:
            0.95 for the five columns below settings of these programs.
        """
        settings: dict[str, str] = {}
        for line in text.lines[:1000]:
            body = without_prefix(line)
            settings |= settings_in(body)
            for names in headers_of(body):
                if list(map(str.lower, names[:5])) == _FIRST and not settings.keys().isdisjoint(_PROGRAMS):
                    return 0.95
        return 0.0

    def read(self, text: Text, told: Told) -> list[Curves]:
        """See `Importer.read`.

        An evaluation belongs to the row above it. The programs have one at the end, a point and no curve; those that
        are descended from them, such as FGSM-PGI and LAS-AT, evaluate after every epoch.

        Args:
            text: of the file.
            told: columns that the caller named.

        Returns:
            One value.

        Raises:
            BadRequest: no row; see `curves_of`.
        """
        names: list[str] = []
        rows: list[dict[str, float]] = []
        settings: dict[str, str] = {}
        n_evaluations = 0
        is_evaluation = False
        for line in text.lines:
            body = without_prefix(line)
            settings |= settings_in(body)
            names = next(iter(headers_of(body)), names)
            if body.split("\t")[0].strip() == _LAST[0] and _AT_THE_END.keys().isdisjoint(names):
                is_evaluation = True
            values = numbers_of(body)
            if values is None:
                continue
            if is_evaluation and rows and len(values) == len(_LAST):
                rows[-1] |= dict(zip(_LAST, values, strict=True))
                n_evaluations += 1
                is_evaluation = False
            elif len(values) == len(names) and values[0].is_integer():
                rows.append(dict(zip(names, values, strict=True)))
        if not rows:
            raise bad(text.source, expected=f"rows of numbers under the header {' | '.join(names)!r}", got="none")
        attack = _attack_of(settings)
        remarks = [
            *said_of_itself(settings),
            f"'Train Acc' and 'Train Loss' are those of the attacked examples ({attack}), as this program has them",
        ]
        if n_evaluations == 1:
            remarks.append("the evaluation at the end is taken for the last epoch")
        elif n_evaluations:
            remarks.append(f"{n_evaluations} evaluations are taken for the epochs of the rows above them")
        about = about_of(settings, self.name) | {"attack": attack}
        columns = list(names)
        meanings = dict(_ON_ATTACKED)
        if n_evaluations:
            columns += _LAST
            meanings |= _AT_THE_END
        table = Table(text.source, lambda: rows, columns, about, remarks, meanings)
        return list(map(rate_in_force, curves_of(table, told)))


def _attack_of(settings: Mapping[str, str]) -> str:
    """The attack in training of the program whose options these are."""
    for option, attack in _PROGRAMS.items():
        if option in settings:
            return attack
    return "fgsm"
