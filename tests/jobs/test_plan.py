"""Which jobs, in which order: nothing is run here."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.jobs.runs import evaluation, training

from cgro._check import BadRequest
from cgro.jobs.plan import Job, Order, duration, missing, unique

NET, OTHER = training(0), training(1)
ON_NET, TOO, ON_OTHER = evaluation("a", NET), evaluation("b", NET), evaluation("c", OTHER)


def names(jobs: Sequence[Job]) -> list[str]:
    return [job.name for job in jobs]


def drained(order: Order) -> list[str]:
    """Names in the order in which one worker would do them."""
    done = []
    while order.is_active:
        job = order.ready()[0]
        order.take(job)
        order.done(job)
        done.append(job.name)
    return done


def test_what_a_job_needs_comes_first_and_else_the_order_is_that_of_the_list() -> None:
    assert drained(Order([ON_NET, NET, OTHER, ON_OTHER])) == ["net/seed-0", "a", "net/seed-1", "c"]
    assert drained(Order([NET, ON_NET, OTHER, ON_OTHER])) == ["net/seed-0", "a", "net/seed-1", "c"]


def test_a_job_is_ready_when_its_needs_are_done_not_when_they_have_begun() -> None:
    order = Order([NET, ON_NET])
    assert order.ready() == [NET]
    order.take(NET)
    assert order.ready() == []
    order.done(NET)
    assert order.ready() == [ON_NET]
    order.take(ON_NET)
    order.done(ON_NET)
    assert not order.is_active


def test_needs_that_are_not_in_the_list_are_met() -> None:
    assert drained(Order([ON_NET])) == ["a"]


def test_jobs_in_a_circle_are_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="cycle"):
        Order([Job("a", "evaluate", {"target": "@/b"}), Job("b", "evaluate", {"target": "@/a"})])


def test_a_stored_result_has_no_network_which_comes_back_where_it_is_read_again() -> None:
    planned = [NET, ON_NET, TOO]
    stored = {"net/seed-0", "a"}
    found = missing(planned, planned, is_found=lambda job: job.name in stored, is_here=lambda job: False)
    assert names(found) == ["net/seed-0", "b"]
    here = missing(planned, planned, is_found=lambda job: job.name in stored, is_here=lambda job: job is NET)
    assert names(here) == ["b"]
    nothing = missing(planned, planned, is_found=lambda job: True, is_here=lambda job: False)
    assert nothing == []


def test_the_folder_of_runs_is_filled_in_at_any_depth_of_lists(tmp_path: Path) -> None:
    job = Job("f", "flatness", {"targets": ["@/net/seed-0"], "n": 3})
    assert job.filled_in(tmp_path) == {"targets": [f"{tmp_path}/net/seed-0"], "n": 3}
    assert job.reads == {"net/seed-0"}


def test_two_different_jobs_of_one_name_are_an_error_of_ours() -> None:
    assert unique([NET, OTHER, NET]) == [NET, OTHER]
    with pytest.raises(AssertionError, match="net/seed-0"):
        unique([NET, training(0, epochs=3)])


def test_an_unknown_command_is_one_line() -> None:
    with pytest.raises(BadRequest, match="j: this cgro has no command fly"):
        Job("j", "fly", {}).module()


@pytest.mark.parametrize(
    ("seconds", "text"), [(89, "89 s"), (90, "2 min"), (5400, "1.5 h"), (2 * 86400, "2.0 days"), (6.4e7, "2.0 years")]
)
def test_units_of_time_change_at_their_limits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
