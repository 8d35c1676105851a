"""Cores, GPUs and memory: dealt out once, and never more than there are."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headtail.errors import ConfigError, RequestInvalid
from optimizer.serve import capacity
from optimizer.serve.capacity import Grant, Machine, find_machine
from optimizer.serve.config import Capacity
from optimizer.serve.job import Resources

MACHINE = Machine((0, 2, 5, 7), (0, 1), 100, 40)
wants = st.builds(Resources, st.integers(1, 4), st.integers(0, 2), st.integers(1, 100))


@given(st.lists(wants, max_size=12), st.randoms(use_true_random=False))
def test_nothing_is_dealt_out_twice(wanted, random) -> None:
    """Whatever comes and goes, and a refusal means that it really does not fit."""
    running: list[Grant] = []
    for want in wanted:
        if running and random.random() < 0.3:
            running.pop(random.randrange(len(running)))
        grant = MACHINE.grant(want, running)
        if grant is None:
            assert (
                sum(len(g.cores) for g in running) + want.cpus > 4
                or sum(len(g.gpus) for g in running) + want.gpus > 2
                or sum(g.memory_bytes for g in running) + want.memory_bytes > 100
            )
            continue
        running.append(grant)
        assert (want.cpus, want.gpus) == (len(grant.cores), len(grant.gpus))
        cores = list(itertools.chain(*(g.cores for g in running)))
        gpus = list(itertools.chain(*(g.gpus for g in running)))
        assert len(cores) == len(set(cores)) <= len(set(cores) & {0, 2, 5, 7})
        assert len(gpus) == len(set(gpus)) <= len(set(gpus) & {0, 1})
        assert sum(g.memory_bytes for g in running) <= 100


def test_what_a_job_leaves_out_is_filled_in() -> None:
    """But never more than there is."""
    assert Resources(2, 1, 40) == MACHINE.fill(Resources(2, 1, 0))
    assert Resources(1, 0, 9) == Machine((0,), (), 9, 40).fill(Resources())


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Resources(5), "cpus: request refused: expected at most 4, received 5"),
        (Resources(1, 3), "gpus: request refused: expected at most 2, received 3"),
        (Resources(1, 0, 101), "memory_bytes: request refused: expected at most 100, received 101"),
    ],
)
def test_more_than_the_machine_has_is_refused_at_once(wanted, text) -> None:
    with pytest.raises(RequestInvalid, match=text):
        MACHINE.fill(wanted)


def test_machine_is_what_this_process_may_use() -> None:
    """And no more than the configuration allows."""
    cores = sorted(os.sched_getaffinity(0))
    machine = find_machine(Capacity(cpus=1, gpus=2, memory_bytes=7))
    assert ((cores[0],), (0, 1), 7) == (machine.cores, machine.gpus, machine.memory_bytes)
    whole = find_machine(Capacity())
    assert (tuple(cores), ()) == (whole.cores, whole.gpus)
    assert 0 < whole.memory_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with pytest.raises(ConfigError, match=r"capacity\.cpus: expected at most the \d+ there are"):
        find_machine(Capacity(cpus=len(cores) + 1))


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/a.slice/o.service", {"a.slice/o.service/memory.max": "1000"}, 1000),
        (
            "0::/a.slice/b.slice/o.service",
            {"a.slice/memory.max": "500", "a.slice/b.slice/memory.max": "max"},
            500,
        ),
        (
            "0::/a.slice/o.service",
            {"a.slice/memory.max": "2000", "a.slice/o.service/memory.max": "700"},
            700,
        ),
        ("0::/", {"memory.max": "300"}, 300),
        ("0::/of/the/host", {"memory.max": "300"}, 300),
        (
            "9:cpu,memory:/a/b\n1:name=systemd:/a:b\n0::/",
            {"memory/a/memory.limit_in_bytes": "400"},
            400,
        ),
        ("0::/a.slice", {"a.slice/memory.max": "max"}, None),
        ("0::/a.slice", {}, None),
    ],
)
def test_memory_is_what_every_control_group_above_allows(
    own, limits, expected, tmp_path, monkeypatch
) -> None:
    """Of both versions; the least counts, and no limit is none."""
    (tmp_path / "own").write_text(f"{own}\n")
    for path, limit in limits.items():
        (tmp_path / "groups" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / path).write_text(f"{limit}\n")
    monkeypatch.setattr(capacity, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(capacity, "_CONTROL_GROUPS", tmp_path / "groups")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert (expected or whole) == find_machine(Capacity()).memory_bytes


def test_memory_of_a_machine_without_control_groups_is_all_of_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(capacity, "_OWN_GROUP", tmp_path / "none")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert whole == find_machine(Capacity()).memory_bytes
