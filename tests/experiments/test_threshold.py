"""The sample threshold of CGRO."""

from msgspec.structs import replace
from scipy.special import ndtr
from tests.experiments.cases import Cases, Wrong, judged
from tests.experiments.test_transitions import line

from cgro.experiments import threshold
from cgro.experiments.claims import NOT_REPRODUCED, PARTLY, UNTESTED
from cgro.experiments.threshold import PAPER, Findings
from cgro.experiments.transitions import Cell, Line


def standard(noise: float, limit: float | None, memorized: float) -> Line:
    cells = []
    for n in (2, 8):
        cells.append(
            Cell(
                n=n,
                memorized=[memorized] * 3,
                clean_test=[0.0] * 3,
                robust_test=[0.6] * 3,
                signal_margin=[11.0] * 3,
                noise_learned=[7.0] * 3,
                noise=[noise] * 3,
                noise_limit=[limit] * 3,
            )
        )
    return Line(power=3.0, patch_dim=400, rho=0.02, half=None, overlap=None, cells=cells)


THEOREM = line(240.0, 1.5, dim=100)
RHOS = [line(4e-3 / rho**3, 1.3, rho=rho) for rho in (0.06, 0.045, 0.03, 0.02)]
LONE = []
for part in RHOS:
    reach = part.rho * 399**0.5 * (11.0 / 7.0) ** (1 / 3)
    first = replace(part.cells[0], n=1, robust_test=[float(ndtr(-reach)) + d for d in (-0.002, 0.0, 0.002)])
    LONE.append(replace(part, cells=[first, *part.cells[1:]]))
RIGHT = Findings(
    scale="cpu",
    rhos=LONE,
    far=[line(4e-3 / rho**3, 1.0, rho=rho, dim=25_600) for rho in (0.05, 0.04, 0.03)],
    dims=[line(25.0, ratio, rho=0.03, dim=dim) for dim, ratio in ((100, 1.8), (25_600, 1.0))],
    powers=[line(12.0, 1.2, power=2.5), line(9.0, 1.5, power=4.0)],
    theorem=replace(THEOREM, cells=THEOREM.cells[8:]),
    standard=standard(0.06, 0.07, 0.0),
    noisy=standard(2.0, None, 1.0),
)
CASES = Cases(
    right=RIGHT,
    wrong=[
        Wrong(replace(PAPER, slope=-1.0), "threshold/slope"),
        Wrong(replace(PAPER, ratio=3.0), "threshold/place"),
        Wrong(replace(PAPER, half=20.0), "threshold/theorem_below"),
        Wrong(replace(PAPER, robust=50.0), "threshold/theorem_above"),
        Wrong(replace(PAPER, lone=10.0), "threshold/lone"),
        Wrong(replace(PAPER, largest_ratio=1.35), "threshold/everywhere", PARTLY),
    ],
    swapped=replace(RIGHT, standard=RIGHT.noisy, noisy=RIGHT.standard),
    notices="threshold/standard",
    drawn=frozenset({"threshold"}),
)


def test_a_gap_that_stays_beyond_the_threshold_is_noticed() -> None:
    flat = [replace(part, cells=[replace(cell, robust_test=[0.5] * 3) for cell in part.cells]) for part in RHOS]
    claims = judged(threshold, replace(RIGHT, rhos=flat))
    assert claims["threshold/beyond"].verdict == NOT_REPRODUCED
    assert claims["threshold/lower_end"].verdict == NOT_REPRODUCED


def test_an_activation_above_its_bound_refutes_the_theorem() -> None:
    claim = judged(threshold, replace(RIGHT, standard=standard(0.08, 0.07, 0.0)))["threshold/standard"]
    assert claim.verdict == PARTLY
    assert "N = 2: within the bound" in claim.reason


def test_the_overlap_is_paired_by_seed_and_a_seed_without_a_crossing_is_left_out() -> None:
    far = RIGHT.dims[-1]
    never = [replace(cell, memorized=[0.0, *cell.memorized[1:]]) for cell in far.cells]
    claims = judged(threshold, replace(RIGHT, dims=[RIGHT.dims[0], replace(far, cells=never)]))
    assert claims["threshold/overlap"].numbers["n"] == 2
    assert claims["threshold/overlap"].verdict == UNTESTED


def test_the_table_has_a_row_per_line() -> None:
    halves, by_size = threshold.tables(RIGHT)
    assert len(halves.rows) == 4 + 1 + 3 + 2
    assert halves.rows[0][:5] == ["3", 400, 0.06, "1.00", "18.5"]
    assert [row[0] for row in by_size.rows] == [cell.n for cell in RIGHT.theorem.cells]
