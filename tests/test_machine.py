"""The machine, as far as it says what it is."""

import os

import pytest

from lth_jax import machine


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A file system of one's own, on a machine of eight cores."""
    monkeypatch.setattr(machine, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8))
    return tmp_path


def test_cores_are_those_that_the_process_may_use(root, monkeypatch):
    assert machine.cores() == 8
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    assert machine.cores() == os.cpu_count()


V1 = {
    "proc/self/cgroup": "5:memory:/a\n4:cpu,cpuacct:/docker/a\n0::/\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "64000 1000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": ""}, 8),
        (
            {
                "proc/self/cgroup": "0::/pod/a\n",
                "sys/fs/cgroup/pod/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/pod/a/cpu.max": "max 100000\n",
                "sys/fs/cpu.max": "100000 100000\n",  # of nobody
            },
            3,
        ),
        (V1 | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n"}, 2),
        (V1 | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}, 8),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us": "10000\n",
            },
            5,
        ),
    ],
)
def test_the_share_of_a_container_counts(files, cores, root):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    assert machine.cores() == cores
