"""A sweep divides into runs that come to what one run comes to, wherever they go."""

import fcntl
import importlib.util
import json
import operator
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm
from absl import flags
from test_clusters import settings, with_slurm

from lth_jax import commandline, config, pool
from lth_jax.errors import ConfigError
from lth_jax.sweep import grid, launch
from lth_jax.sweep.__main__ import main
from lth_jax.sweep.grid import Share, divide
from lth_jax.sweep.part import Part

DIGITS = "configs/digits.py:smoke"


def skip_without_submitit():
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is an extra, and not installed")


def parsed(monkeypatch, *arguments):
    """The holder of a run's config, by its command line."""
    monkeypatch.setattr(sys, "argv", ["lth-jax", *arguments])
    values = flags.FlagValues()
    holder = commandline.define({}, values)
    commandline.parse(sys.argv, values)
    return holder


# -------------------------------------------------------------------------- grid


def test_rates_and_replicates_share_a_fleet_and_other_values_do_not():
    given = {"optim.learning_rate": "0.1,0.2", "optim.weight_decay": "0.0,1e-4"}
    given |= {"replicates": "5", "first_replicate": "3", "data.batch_size": "30,60"}
    found = divide(DIGITS, given | {"branches": "('ticket','rewind_0')"}, 2)
    assert [share.name for share in found] == [
        f"data.batch_size={size}/replicate{these}"
        for size in (30, 60)
        for these in ("s_3_to_4", "s_5_to_6", "_7")
    ]
    assert found[1].flags == (
        f"--config={DIGITS}",
        "--config.sweep.learning_rate=(0.1,0.2,)",
        "--config.sweep.weight_decay=(0.0,1e-4,)",
        "--config.branches=('ticket','rewind_0')",
        "--config.data.batch_size=30",
        "--config.first_replicate=5",
        "--config.replicates=2",
    )
    assert [share.setting for share in found[::3]] == [
        "data.batch_size=30",
        "data.batch_size=60",
    ]


def test_rates_that_end_at_one_value_have_runs_of_their_own():
    given = {"optim.learning_rate": "0.1,0.2", "optim.schedule": "linear"}
    (one,) = divide(DIGITS, given, None)
    assert "--config.sweep.learning_rate=(0.1,0.2,)" in one.flags
    found = divide(DIGITS, given | {"optim.end_value": "0.0,0.01"}, None)
    assert [share.setting for share in found] == [
        f"optim.end_value={end},optim.learning_rate={rate}"
        for end in ("0.0", "0.01")
        for rate in ("0.1", "0.2")
    ]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("rewind.steps", "3it", ("3it",)),
        ("prune.exclude", "^fc/", ("^fc/",)),
        ("prune.densities", "0.5", (0.5,)),
        ("branch_levels", "1", (1,)),
        ("branch_levels", "(1,)", (1,)),
        ("optim.decay_everything", "false", False),
        ("optim.decay_everything", "1", True),
        ("optim.name", "adam", "adam"),
    ],
)
def test_values_are_read_as_the_command_of_a_run_reads_them(
    field, text, value, monkeypatch
):
    divide(DIGITS, {field: text}, None)
    assert config.flatten(grid._resolved(DIGITS, {field: text}))[field] == (
        [*value] if isinstance(value, tuple) else value
    )
    holder = parsed(monkeypatch, f"--config={DIGITS}", f"--config.{field}={text}")
    assert operator.attrgetter(field)(holder.value) == value


def test_without_a_number_a_run_has_all_replicates():
    (share,) = divide(DIGITS, {"replicates": "4"}, None)
    assert share.name == "replicates_0_to_3"


@pytest.mark.parametrize(
    ("given", "each", "said"),
    [
        (
            {"optim.learning_rat": "1"},
            1,
            "no such field; did you mean optim.lear",
        ),
        ({"prune.levels": "2,-1"}, 1, "config.prune.levels: -1 is below 0"),
        ({"prune.levels": "x"}, 1, "config.prune.levels: 'x': "),
        ({"seed": "1,2"}, 1, "config.seed: replicates have seeds of their own"),
        ({"optim.name": "sgd,sgd"}, 1, "two settings of the sweep are the same"),
        ({}, 0, "--replicates_each: is below 1"),
        ({"replicates": "0"}, None, "config.replicates: 0 is below 1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(given, each, said):
    with pytest.raises(ConfigError, match=said) as caught:
        divide(DIGITS, given, each)
    assert len(str(caught.value).splitlines()) == 1


def test_one_value_that_a_sweep_in_the_config_hides_is_refused(monkeypatch):
    swept, name = "configs/lenet_correlation.py:smoke", "optim.learning_rate"
    with pytest.raises(ConfigError, match=rf"^config\.{name}: networks of this config"):
        divide(swept, {name: "0.05"}, None)
    (share,) = divide(swept, {name: "0.05,0.2"}, None)
    assert "--config.sweep.learning_rate=(0.05,0.2,)" in share.flags
    with pytest.raises(SystemExit, match=rf"^error: config\.{name}: .*set that$"):
        parsed(monkeypatch, f"--config={swept}", f"--config.{name}=0.05")


def test_milestones_of_a_constant_rate_are_refused(monkeypatch):
    said = r"config\.optim\.milestones: they are of config\.optim\.schedule 'step'"
    given = {"optim.milestones": "('3it',)"}
    with pytest.raises(ConfigError, match=said):
        divide(DIGITS, given, None)
    divide(DIGITS, given | {"optim.schedule": "step"}, None)
    divide("configs/resnet20.py", {"optim.schedule": "constant"}, None)  # and has some
    with pytest.raises(SystemExit, match=said):
        parsed(monkeypatch, f"--config={DIGITS}", "--config.optim.milestones=('3it',)")


# ------------------------------------------------------------------------ states


def say(folder, name, status, config="c", job=""):
    told = {"status": status, "config": config, "host": "here", "job": job}
    (folder / f"{name}.status.json").write_text(json.dumps(told))


def stand(folder, names):
    return launch.states(folder, [Share("", name, (), "c") for name in names])


def test_a_run_stands_as_it_said_and_as_slurm_says(tmp_path, monkeypatch):
    said = {"a": 0, "b": None, "c": None, "d": 75, "e": 1, "f": None, "i": 3}
    for name, status in said.items():
        say(tmp_path, name, status, job=f"7_{name}")
    jobs = {"7_c": "running", "8_3": "pending", "8_4": "pending"}
    monkeypatch.setattr(launch, "queued", lambda: jobs)
    launch.remember(tmp_path, {"f": "8_3"})
    launch.remember(tmp_path, {"g": "8_4"})
    assert stand(tmp_path, "abcdefghi") == {
        "a": "done",
        "b": "lost",
        "c": "running",
        "d": "interrupted",
        "e": "failed (1)",
        "f": "pending",
        "g": "pending",
        "h": "waiting",
        "i": "done, diverged",
    }


def test_what_another_config_has_done_waits(tmp_path):
    for name, status in {"a": 0, "b": 3, "c": 1, "d": None}.items():
        say(tmp_path, name, status, config="other")
    assert {*stand(tmp_path, "abcd").values()} == {"waiting"}


def test_another_config_is_one_of_other_flags_or_another_file(tmp_path):
    file = tmp_path / "own.py"

    def checksum(levels, **given):
        file.write_text(
            "from lth_jax import config\n\n\ndef get_config():\n"
            f"    made = config.default()\n    made.prune.levels = {levels}\n"
            "    return made.lock()\n"
        )
        (share,) = divide(str(file), given, None)
        return share.config

    assert checksum(1) == checksum(1) == checksum(2, **{"prune.levels": "1"})
    assert checksum(1) != checksum(2)
    assert checksum(1) != checksum(1, seed="5")


@pytest.mark.parametrize("folder", ["a", "a/more"])
def test_a_run_that_another_process_trains_is_running(folder, tmp_path, monkeypatch):
    say(tmp_path, "a", None)
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(Part, "__call__", lambda part: pytest.fail(part.workdir))
    with (tmp_path / folder / "lock").open("w") as file:
        assert stand(tmp_path, "a") == {"a": "lost"}
        fcntl.flock(file, fcntl.LOCK_EX)
        assert stand(tmp_path, "a") == {"a": "running"}
        launch.locally(tmp_path, [Share("", "a", (), "c")])


def test_where_slurm_does_not_answer_nothing_is_queued_again(tmp_path, monkeypatch):
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error:\nno contact' >&2; exit 1"
    )
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=":")
    assert stand(tmp_path, "a") == {"a": "waiting"}  # no job was ever queued
    launch.remember(tmp_path, {"a": "8_3"})
    monkeypatch.setattr(launch, "to_slurm", pytest.fail)
    flags = [f"--config={DIGITS}", f"--workdir={tmp_path}", "--launcher=slurm"]
    with pytest.raises(SystemExit, match="^error: squeue: slurm_load_jobs .* contact;"):
        main(flags)


def test_a_dry_run_prints_what_sbatch_gets(tmp_path):
    skip_without_submitit()
    flags = [f"--config={DIGITS}", "--config.replicates=3", "--replicates_each=1"]
    flags += ["--launcher=slurm", "--slurm.partition=gpu", "--slurm.time=90"]
    flags += ["--slurm.reservation=x", "--slurm.gpus-per-node=1", "--slurm.hold=True"]
    flags += ["--slurm.account=007", "--accept_code_change"]
    flags += [f"--workdir={tmp_path / 'sweep'}", "--dry_run"]
    # In a process of its own: submitit's log would keep this one's captured output.
    shown = subprocess.run(
        [sys.executable, "-m", "lth_jax.sweep", *flags],
        env=os.environ | settings(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.count("python -m lth_jax.main ") == 3
    assert shown.count(" --accept_code_change ") == 3
    for line in (
        "reservation=x",
        "gpus-per-node=1",
        "hold",
        "account=007",
        "array=0-2%3",
        "partition=gpu",
        "time=90",
        "requeue",
        "signal=USR2@120",
    ):
        assert f"#SBATCH --{line}\n" in shown
    assert [*tmp_path.iterdir()] == []


def test_mistakes_are_one_line(tmp_path):
    for flag, said in (
        ("--foo", "no such flag"),
        ("--config.seed", "=VALUE"),
        ("--slurm.time=2-00:00:00", "is no number of minutes, as 2880 for two days"),
        ("--slurm.array-parallelism=x", "'x' is no number of jobs"),
    ):
        flags = [f"--config={DIGITS}", flag, f"--workdir={tmp_path}"]
        with pytest.raises(SystemExit, match=f"^error: {flag[:8]}.*{said}"):
            main(flags)


@pytest.mark.parametrize("name", ["additional_parameters", "setup", "array", "nodes"])
def test_what_is_no_option_of_sbatch_is_refused(name, tmp_path):
    skip_without_submitit()
    flags = [f"--config={DIGITS}", f"--workdir={tmp_path}", "--launcher=slurm"]
    with pytest.raises(SystemExit, match=f"^error: --slurm.{name}: "):
        main([*flags, f"--slurm.{name}=x", "--dry_run"])


# -------------------------------------------------------------------- real sweeps


def lines(folder):
    return sorted((folder / "results.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_local_runs_are_one_experiment(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    flags = [f"--config={DIGITS}", "--config.replicates=2", "--replicates_each=1"]
    flags += ["--config.prune.levels=1", "--config.train.length=2it"]
    flags += ["--config.branches=('ticket',)", f"--workdir={tmp_path / 'sweep'}"]
    main(flags)
    shown = capfd.readouterr().out
    assert "replicate_0  done            1 of 1\n" in shown
    assert "as one experiment: python -m lth_jax.report " in shown
    assert pool.read(*(tmp_path / "sweep").glob("replicate_?")).notes == []
    main(flags)
    assert "dense: " not in capfd.readouterr().out  # what was done is not done again


def test_a_run_that_failed_is_said_and_tried_again(tmp_path, capsys, monkeypatch):
    tried = []

    def fail_at_first(part):
        tried.append(Path(part.workdir).name)
        status = int(tried == ["replicate_0"])
        part._say(status)
        return status

    monkeypatch.setattr(Part, "__call__", fail_at_first)
    flags = [f"--config={DIGITS}", "--config.replicates=2", "--replicates_each=1"]
    flags += [f"--workdir={tmp_path}"]
    with pytest.raises(SystemExit, match="^error: see what runs said"):
        main(flags)
    assert "1 failed (1); 1 done" in capsys.readouterr().out
    main(flags)
    assert "2 done" in capsys.readouterr().out
    assert tried == ["replicate_0", "replicate_1", "replicate_0"]


def test_a_run_of_which_some_diverged_is_done(tmp_path, capsys, monkeypatch):
    tried = []

    def diverge(part):
        tried.append(part.workdir)
        part._say(3)
        return 3

    monkeypatch.setattr(Part, "__call__", diverge)
    flags = [f"--config={DIGITS}", "--config.replicates=2", "--replicates_each=1"]
    for _ in range(2):
        main([*flags, f"--workdir={tmp_path}"])
        shown = capsys.readouterr().out
        assert "replicate_1  done, diverged\n" in shown
        assert "2 done, diverged\n\nas one experiment: " in shown
    assert len(tried) == 2


def test_other_settings_start_what_was_done(tmp_path, capsys, monkeypatch):
    tried = []

    def succeed(part):
        tried.append(part.flags[-1])
        part._say(0)
        return 0

    monkeypatch.setattr(Part, "__call__", succeed)
    flags = [f"--config={DIGITS}", "--config.data.batch_size=30,60"]
    for levels in (2, 2, 3):
        main([*flags, f"--config.prune.levels={levels}", f"--workdir={tmp_path}"])
        assert "2 done\n" in capsys.readouterr().out
    assert len(tried) == 4


@pytest.mark.slow
@with_slurm
def test_jobs_that_are_cancelled_and_queued_again_come_to_what_one_run_comes_to(
    tmp_path,
):
    """Four jobs: one is requeued by Slurm, one is told by the signal of its end."""
    skip_without_submitit()
    own = ["--config.train.length=400it", "--config.prune.levels=3"]
    own += ["--config.train.checkpoint_minutes=0.02"]
    rates = ["--config.optim.learning_rate=0.001,0.002", "--config.replicates=8"]
    sweep = [sys.executable, "-m", "lth_jax.sweep", f"--config={DIGITS}", *own, *rates]
    sweep += ["--replicates_each=2", "--launcher=slurm", f"--workdir={tmp_path / 's'}"]
    sweep += ["--slurm.time=30"]
    folders = [tmp_path / "s" / f"replicates_{i}_to_{i + 1}" for i in (0, 2, 4, 6)]
    with slurm.started() as environment:
        environment |= settings() | {"JAX_NUM_CPU_DEVICES": "1"}

        def call(*command):
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, (done.stdout, done.stderr)
            return done.stdout

        def wait(until):
            begun = time.monotonic()
            while not until():
                assert time.monotonic() - begun < 500, call(*sweep, "--status")
                time.sleep(0.5)

        call(*sweep)
        jobs = json.loads((tmp_path / "s" / "jobs.json").read_text())
        names = [jobs[folder.name] for folder in folders]
        ways = [("scontrol", "requeue"), ("scancel", "--signal=USR2")]
        for folder, name, way in zip(folders, names, ways):
            wait(lambda at=folder: (at / "checkpoints" / "paused").exists())
            call(*way, name)
        wait(lambda: not call("squeue", "--noheader").strip())
        for name in names[: len(ways)]:
            assert "Restarts=1" in call("scontrol", "show", "job", name)
        shown = call(*sweep)
    assert "4 done" in shown, "".join(
        x.read_text() for x in tmp_path.glob("s/jobs/*log*")
    )
    logs = [x.read_text() for x in (tmp_path / "s" / "jobs").glob("*_log.*")]
    assert any("the same command goes on" in log or "resume" in log for log in logs)
    one = [sys.executable, "-m", "lth_jax.main", f"--config={DIGITS}", *own]
    one += ["--config.sweep.learning_rate=(0.001,0.002)", "--config.replicates=8"]
    subprocess.run(
        [*one, f"--workdir={tmp_path / 'one'}"],
        env=os.environ | settings() | {"JAX_NUM_CPU_DEVICES": "1"},
        check=True,
        capture_output=True,
    )
    found = pool.read(*folders)
    assert not any("missing" in note for note in found.notes)
    pooled = pool.write(found, tmp_path / "pooled")
    assert lines(pooled) == lines(tmp_path / "one")


def test_sweeps_need_no_jax():
    code = "import sys, lth_jax.sweep.__main__; print('jax' in sys.modules)"
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | path, capture_output=True
    )
    assert shown.stdout.strip() == b"False"
