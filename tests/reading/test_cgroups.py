"""Limits of control groups, on folders as the kernel shows them."""

from pathlib import Path

import pytest

from cgro.reading import cgroups, memory_left

GB = 1 << 30


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree in the place of the kernel's."""
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "cgroup")
    return tmp_path


def second(folder: Path, limit: object, usage: int, inactive: int = 0) -> None:
    """A group of version 2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon {usage - inactive}\ninactive_file {inactive}\n")


def first(folder: Path, limit: int, usage: int, inactive: int = 0) -> None:
    """A group of version 1."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"inactive_file 7\ntotal_inactive_file {inactive}\n")


def test_the_lowest_of_the_groups_above_counts(kernel: Path) -> None:
    """As of a step of a Slurm job: its own group has no limit, that of the job has one."""
    (kernel / "cgroup").write_text("0::/slurm/job_7/step_0\n")
    second(kernel / "slurm/job_7/step_0", "max", GB)
    second(kernel / "slurm/job_7", 4 * GB, 3 * GB, inactive=GB // 2)
    second(kernel / "slurm", 64 * GB, 10 * GB)
    assert cgroups.group_memory() == 3 * GB // 2
    assert memory_left() <= 3 * GB // 2
    second(kernel / "slurm", 12 * GB, 12 * GB)
    assert cgroups.group_memory() == memory_left() == 0


def test_version_1_and_a_container_that_sees_the_path_of_its_host(kernel: Path) -> None:
    (kernel / "cgroup").write_text("9:name=systemd:/\n4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    first(kernel / "memory", 2 * GB, GB, inactive=GB // 4)
    assert cgroups.group_memory() == 5 * GB // 4
    first(kernel / "memory/docker/abc", GB, GB)
    assert cgroups.group_memory() == 0


@pytest.mark.parametrize("limit", ["max", 9223372036854771712, "many", "", "²"])
def test_no_limit_is_none(limit: object, kernel: Path) -> None:
    (kernel / "cgroup").write_text("0::/\n")
    second(kernel, limit, GB)
    assert cgroups.group_memory() is None


def test_without_groups_the_machine_decides(kernel: Path) -> None:
    before = memory_left()
    assert cgroups.group_memory() is None
    assert before > 0
    (kernel / "cgroup").write_bytes(b"\xff\xfe")
    assert cgroups.group_memory() is None
    (kernel / "cgroup").write_text("0::/../../elsewhere\n")
    assert all(kernel in (folder, *folder.parents) for folder, _ in cgroups._groups())
