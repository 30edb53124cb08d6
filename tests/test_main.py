"""The command line: a run on real digits, and what it says of every mistake."""

import ast
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from absl.testing import flagsaver
from browser import CHROMIUM, look

from lth_jax import check, config, data, job, lottery, machine, main, report
from lth_jax.report import Results
from lth_jax.sweep import part
from lth_jax.workdir.pauses import Interrupted

# How ml_collections loads a config's file.
pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")

ROOT = Path(__file__).parents[1]
DIGITS = f"--config={ROOT / 'configs' / 'digits.py'}"
ROW = {
    "replicate": int,
    "rewind_step": int,
    "level": int,
    "density": float,
    "branch": str,
    "copy": int,
    "step": int,
    "measure": str,
    "value": float,
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.getbasetemp() / "tfds")
    data.load("digits", data_dir=folder)  # imports what defines flags of its own
    return folder


NO_WORKDIR = "error: --workdir: name the folder of the run\n"


def call(*arguments, **environment):
    """Run the program in a process of its own."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "lth_jax.main", *arguments],
        env=os.environ | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
    )


# ------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def digits(tmp_path_factory, data_dir):
    """LeNet-300-100 on digits, halved four times; and the same command once more."""
    workdir = tmp_path_factory.mktemp("main") / "runs" / "digits"
    command = [
        DIGITS,
        f"--workdir={workdir}",
        f"--config.data.dir={data_dir}",
        "--config.replicates=2",
        "--config.train.length=200it",
        "--config.prune.fraction=0.5",
        "--config.prune.levels=4",
    ]
    first = call(*command)
    assert first.returncode == 0, first.stderr
    records = (workdir / "results.jsonl").read_text()
    return command, workdir, records, first.stdout


@pytest.fixture(scope="module")
def accuracies(digits):
    """Mean accuracies over the replicates by level and branch."""
    rows = [json.loads(line) for line in digits[2].splitlines()]
    found = {}
    for row in rows:
        if row["measure"] == "test_accuracy":
            found.setdefault((row["level"], row["branch"]), []).append(row["value"])
    assert {len(values) for values in found.values()} == {2}
    return {network: sum(values) / 2 for network, values in found.items()}


def test_results_are_one_number_a_row(digits):
    rows = [json.loads(line) for line in digits[2].splitlines()]
    for row in rows:
        layer = {"layer": str} if row["measure"] == "density" else {}
        assert {name: type(value) for name, value in row.items()} == ROW | layer
        assert (row["rewind_step"], row["copy"], row["step"]) == (0, 0, 200)
    networks = {(row["replicate"], row["level"], row["branch"]) for row in rows}
    branches = ("ticket", "random_reinit", "shuffled_mask")
    assert networks == {
        (replicate, level, branch)
        for replicate in range(2)
        for level in range(5)
        for branch in (branches if level else ("dense",))
    }
    measures = ["train_loss", "test_accuracy", "test_loss", "steps_trained"]
    for kind, what in itertools.product(("", "dense_"), ("train", "find")):
        measures.append(f"{kind}multiply_adds_to_{what}")
    numbers = {
        (*network, measure, None) for network in networks for measure in measures
    }
    costs = ("parameters", "bytes", "multiply_adds", "steps_to_find")
    layers = [f"{layer}/kernel" for layer in ("fc1", "fc2", "fc")]
    of_tickets = [(measure, None) for measure in costs]
    of_tickets += [("density", layer) for layer in layers]
    numbers |= {
        (*network, *measure)
        for network in networks
        for measure in of_tickets
        if network[-1] in ("dense", "ticket")
    }
    keys = ("replicate", "level", "branch", "measure", "layer")
    assert {tuple(row.get(key) for key in keys) for row in rows} == numbers
    assert len(rows) == len(numbers) == 2 * ((1 + 4 * 3) * 8 + 5 * 7)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_job_ends_with_a_page_that_a_browser_shows(digits, tmp_path):
    last = digits[3].splitlines()[-1]
    assert last.startswith("report: ")
    page = Path(last.removeprefix("report: "))
    complaints, seen = look(page, tmp_path)
    assert not complaints
    for it in seen.values():
        assert len(it["figures"]) == len([*page.parent.glob("*.png")]) > 5
        assert min(min(size) for size in it["figures"]) > 100


def test_densities_are_exact(digits):
    """ceil(remaining / 2) of 64 * 300 + 300 * 100 + 100 * 10 weights go each time."""
    rows = [json.loads(line) for line in digits[2].splitlines()]
    assert {(row["level"], row["density"]) for row in rows} == {
        (0, 1.0),
        (1, 25_100 / 50_200),
        (2, 12_550 / 50_200),
        (3, 6_275 / 50_200),
        (4, 3_137 / 50_200),
    }


def test_dense_networks_learn(accuracies):
    assert accuracies[0, "dense"] > 0.95


def test_tickets_are_better_than_the_controls_where_few_weights_are_left(accuracies):
    assert accuracies[4, "ticket"] > accuracies[4, "shuffled_mask"] + 0.02
    assert accuracies[4, "ticket"] > accuracies[4, "random_reinit"] + 0.02


def test_the_folder_says_what_was_run_and_where(digits):
    command, workdir, _, _ = digits
    config = json.loads((workdir / "config.json").read_text())
    assert config["train"]["length"] == "200it"
    assert config["prune"]["fraction"] == 0.5
    assert config["data"]["name"] == "digits"
    plan = json.loads((workdir / "plan.json").read_text())
    assert (plan["length"], plan["rewind_steps"]) == (200, [0])
    assert len(plan["trainings"]) == 2 * (1 + 4 * 3)
    environment = json.loads((workdir / "environment.json").read_text())
    assert environment["command"][1:] == command
    assert environment["code"].keys() >= {"lth_jax/prune.py", "lth_jax/train/fit.py"}
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["devices"] == ["cpu"] * machine.cores()


def test_the_end_is_a_table_and_the_path_of_the_report(digits, accuracies):
    lines = digits[3].splitlines()
    assert lines[0] == "test accuracy in %, mean ± standard deviation, n = 2"
    assert lines[1].startswith(f"dense: {100 * accuracies[0, 'dense']:.2f} ± ")
    assert lines[-2:] == ["", f"report: {digits[1]}/report/index.html"]
    last = lines[-3].split()
    assert last[0] == "6.25%"
    assert last[1] == f"{100 * accuracies[4, 'ticket']:.2f}"


@pytest.mark.slow
def test_the_same_command_again_only_reports(digits):
    command, workdir, records, table = digits
    again = call(*command)
    assert (again.returncode, again.stdout) == (0, table)
    assert (workdir / "results.jsonl").read_text() == records


def test_a_folder_of_another_config_is_left_alone(digits, monkeypatch):
    command, workdir, records, _ = digits
    said = complaint(monkeypatch, *command, "--config.replicates=1")
    assert said == (
        f"error: --workdir: {workdir} was made by another config "
        "(config.replicates: 2 there, 1 here)"
    )
    assert (workdir / "results.jsonl").read_text() == records


# --------------------------------------------------------------------- mistakes


def complaint(monkeypatch, *arguments):
    """What the program says, with exit status 1, before it trains anything."""
    # Devices cannot be set up anew in a process that has used them.
    monkeypatch.setattr(job.jax.config, "update", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["main", *arguments])  # where overrides are found
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as caught:
        main.main(main.parse(sys.argv))
    assert isinstance(caught.value.code, str)  # printed on stderr, exit status 1
    assert len(caught.value.code.splitlines()) == 1
    return caught.value.code


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.name=digit", r"config\.data\.name: .*'digits'\? \(known to work: .*"),
        ("model.name=lenett", r"config\.model\.name: .* cifar_resnet, .* 'lenet'\?"),
        ("branches=('ticket','x')", r"config\.branches: 'x' .* random_reinit, .*"),
        (
            "measures=('test_acc',)",
            r"config\.measures: .* test_accuracy, test_loss\..*",
        ),
        ("optim.name=adm", r"config\.optim\.name: .* adam, adamw, lion, .*'adam'\?"),
        ("optim.schedule=cos", r"config\.optim\.schedule: .* constant, .* step, .*"),
        ("train.lenght=5it", r"--config: no such field: 'lenght' .* \"length\" .*"),
        ("optim.options.momentun=1", r"--config: no such field: 'momentun'; .*"),
        ("replicates=two", r"flag --config\.replicates=two: .*"),
        ("optim.learning_rate=fast", r"flag --config\.optim\.learning_rate=fast: .*"),
        ("train.length=5", r"config\.train\.length: '5' is not a length like .*"),
        ("rewind.steps=(5,)", r"config\.rewind\.steps: '5' is not a length like .*"),
        ("rewind.steps=600it", r"config\.rewind\.steps: '600it' is step 600, .* 600"),
        ("prune.fraction=0", r"config\.prune\.fraction: 0\.0 is not between 0 and 1"),
        ("prune.fraction=1", r"config\.prune\.fraction: 1\.0 is not between 0 and 1"),
        ("prune.densities=(0.5,0.6)", r"config\.prune\.densities: 0\.6 after 0\.5: .*"),
        ("prune.levels=99", r"config\.prune: level 21: nothing would be left .*"),
        ("prune.exclude=('conv',)", r"config\.prune\.exclude: .*'conv' matches no .*"),
        ("prune.exclude=('(',)", r"config\.prune\.exclude: missing \).*"),
        (
            "data.batch_size=1199",
            r"config\.data\.batch_size: .* 1198 training examples",
        ),
        ("data.validation=-1", r"config\.data\.validation: -1 is not in .*"),
    ],
    ids=lambda value: value if "=" in value and "\\" not in value else "",
)
def test_a_mistake_is_said_in_one_line_and_leaves_no_folder(
    override, said, data_dir, tmp_path, monkeypatch, capfd
):
    workdir = tmp_path / "run"
    complained = complaint(
        monkeypatch,
        DIGITS,
        f"--workdir={workdir}",
        f"--config.data.dir={data_dir}",
        f"--config.{override}",
    )
    assert re.fullmatch(f"error: {said}", complained)
    assert capfd.readouterr() == ("", "")
    assert not workdir.exists()


def test_devices_that_do_not_divide_a_batch_are_counted(
    data_dir, monkeypatch, tmp_path
):
    said = complaint(
        monkeypatch,
        DIGITS,
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.dir={data_dir}",
        "--config.train.layout=data",
        "--config.data.batch_size=61",
    )
    assert said.startswith("error: config.data.batch_size: 61 cannot be divided over 2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([DIGITS], "--workdir: name the folder of the run"),
        ([DIGITS, "--workdir=gs://b/run"], "--workdir: gs://b/run is no folder; .*"),
        (["--workdir=run"], "flag --config=None: .*must have a value.*"),
        (
            ["--workdir=run", f"{DIGITS}:smok"],
            r"config\.\(variant\): 'smok' is not known; choose from smoke\. "
            r"Did you mean 'smoke'\?",
        ),
        (
            ["--workdir=run", "--config=none.py"],
            r"--config: none\.py does not exist; .*",
        ),
        (["--workdir=run", DIGITS, "--wrkdir=run"], ".*'wrkdir'.*"),
        (["--workdir=run", DIGITS, "more"], "unexpected argument: more"),
    ],
)
def test_flags_are_checked_too(arguments, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(f"error: {said}", complaint(monkeypatch, *arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("configs/digit.py", "configs/digit.py does not exist; did you mean configs/d"),
        ("digits", "digits does not exist; did you mean configs/digits.py? The pack"),
        (
            "none/x.py:smoke",
            "none/x.py does not exist; the package has configs/NAME.py",
        ),
        ("run", "run is a folder; did you mean run/config.json? The package has"),
        ("run/", "run/ is a folder; did you mean run/config.json? The package has"),
        ("run/config.json:smoke", "run/config.json has no variants"),
        ("damaged.json", "damaged.json is no config (Expecting property name"),
        ("listed.json", "listed.json is no config ("),
        ("empty.py", "empty.py has no get_config"),
        ("nothing.py", "get_config of nothing.py returns no ConfigDict"),
    ],
)
def test_what_is_no_config_is_said_in_one_line(named, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    text = json.dumps(config.default().to_dict())
    (tmp_path / "run" / "config.json").write_text(text)
    (tmp_path / "damaged.json").write_text("{'a'")
    (tmp_path / "listed.json").write_text("[1]")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "nothing.py").write_text("def get_config(): pass")
    complained = complaint(monkeypatch, f"--config={named}", "--workdir=new")
    assert complained.startswith(f"error: --config: {said}")


@pytest.mark.parametrize("flag", ["workdir", "train.length"])
def test_a_config_that_a_run_has_written_is_one(flag, monkeypatch, tmp_path):
    """The same config again, and with a field that is set on top."""
    made = config.load("configs/resnet20_correlation.py:short")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(made.to_dict(), indent=2))
    override = ["--config.train.length=9it"] if flag != "workdir" else []
    monkeypatch.setattr(sys, "argv", ["main", f"--config={path}", *override])
    with flagsaver.flagsaver():
        main.parse(sys.argv)
        found = main._CONFIG.value
    assert found.is_locked
    with made.unlocked():
        made.train.length = "9it" if override else made.train.length
    assert found.to_dict() == made.to_dict()


@pytest.mark.parametrize(
    ("override", "way"),
    [
        ("rewind.steps=5it,6it", "('5it', '6it')"),
        ("rewind.steps=(5it,)", "('5it',)"),
        ("branches=ticket,random_reinit", "('ticket', 'random_reinit')"),
        ("branches=(ticket,)", "('ticket',)"),
        ("measures=[test_loss, test_accuracy]", "('test_loss', 'test_accuracy')"),
    ],
)
def test_how_a_tuple_is_written_is_said(override, way, monkeypatch, tmp_path):
    field = f"--config.{override.partition('=')[0]}"
    arguments = [DIGITS, f"--workdir={tmp_path}", f"--config.{override}"]
    said = complaint(monkeypatch, *arguments)
    assert said == f'error: {field}: write {field}="{way}"'
    flags = [DIGITS, f"--workdir={tmp_path}", f"{field}={way}"]
    monkeypatch.setattr(sys, "argv", ["main", *flags])
    with flagsaver.flagsaver():
        main.parse(sys.argv)
        assert repr(config.flatten(main._CONFIG.value)[field[9:]]) == str(
            [*ast.literal_eval(way)]
        )


@pytest.mark.parametrize(
    ("override", "way"),
    [
        ("optim.options.b1=0.8", "{'b1': 0.8}"),
        ("optim.options.name=a b", "{'name': 'a b'}"),
        ("model.options.bias=False", "{'widths': (300, 100), 'bias': False}"),
    ],
)
def test_how_a_new_option_is_set_is_said(override, way, monkeypatch, tmp_path):
    """With those that are there; what is said does so."""
    arguments = [DIGITS, f"--workdir={tmp_path}"]
    said = complaint(monkeypatch, *arguments, f"--config.{override}")
    field = f"--config.{override.partition('.options')[0]}.options"
    assert said.endswith(f'; a new option is set with the others: {field}="{way}"')
    monkeypatch.setattr(sys, "argv", ["main", *arguments, f"{field}={way}"])
    with flagsaver.flagsaver():
        main.parse(sys.argv)
        found = main._CONFIG.value
        for name in field.removeprefix("--config.").split("."):
            found = found[name]
        assert found.to_dict() == ast.literal_eval(way)


@pytest.mark.parametrize("field", ["dat.name", "seed.x", "train.x.y"])
def test_a_field_of_nothing_is_said_in_one_line(field, monkeypatch, tmp_path):
    said = complaint(
        monkeypatch, DIGITS, f"--workdir={tmp_path}", f"--config.{field}=1"
    )
    assert said.startswith("error: --config: no such field: ")


def test_an_error_in_a_config_is_no_missing_field(monkeypatch, tmp_path):
    (tmp_path / "own.py").write_text("def get_config(): return {}['a bug']")
    with pytest.raises(KeyError, match="a bug"):
        complaint(monkeypatch, f"--config={tmp_path / 'own.py'}", "--workdir=run")


OWN = """
import beside
from lth_jax import config as config_lib

def get_config():
    import beside_too
    config = config_lib.load("configs/digits.py:smoke")
    config.seed = beside.SEED + beside_too.SEED
    return config

def make(number):
    return {"number": number + beside.SEED}
"""


@pytest.fixture
def own(tmp_path):
    """A config with modules beside it, in a folder that Python does not look at."""
    (tmp_path / "elsewhere").mkdir()
    for name in ("beside", "beside_too"):
        (tmp_path / "elsewhere" / f"{name}.py").write_text("SEED = 7\n")
    (tmp_path / "elsewhere" / "own.py").write_text(OWN)
    return tmp_path / "elsewhere" / "own.py"


STARTS = {
    "module": "runpy.run_module('lth_jax.main', run_name='__main__')",
    "command": "from lth_jax.main import command; command()",
    "python": "from lth_jax import config; print(config.load(sys.argv[1][9:]).seed)",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("option", ["-P", pytest.param("-B", marks=pytest.mark.slow)])
def test_a_config_imports_what_stands_beside_it(start, option, own, tmp_path):
    """However it is loaded; and its modules are not found instead of others."""
    code = f"import os, runpy, sys\n{STARTS[start]}"
    called = subprocess.run(
        [
            sys.executable,
            option,
            "-c",
            code,
            f"--config={own}",
            "--config.optim.name=a",
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    wanted = ("14\n", "") if start == "python" else ("", NO_WORKDIR)
    assert (called.stdout, called.stderr) == wanted


@pytest.mark.slow
def test_a_config_may_ask_jax_itself(own, tmp_path):
    """Devices are what they are without; alone a CPU has one for every core."""
    own.write_text(f"import jax\nassert len(jax.devices()) == {machine.cores()}\n{OWN}")
    called = subprocess.run(
        [sys.executable, "-m", "lth_jax.main", f"--config={own}", "--summary"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (called.returncode, called.stderr) == (0, "")


@pytest.mark.slow
def test_workers_get_what_a_config_defines(own, tmp_path):
    """In a process of its own, that has started none."""
    program = tmp_path / "program.py"
    program.write_text(
        "from lth_jax import config, main\nfrom lth_jax.data import stream\n"
        "from lth_jax.studies import STUDIES\n\n"
        "if __name__ == '__main__':\n"
        f"    main.parse(['main', '--config={own}'])\n"
        "    parts = stream._in_processes(STUDIES['own'], range(2), 1)\n"
        "    print([part['number'] for part in parts])\n"
        "    parts.close()\n"
    )
    with own.open("a") as file:
        file.write("from lth_jax.studies import STUDIES\n")
        file.write("STUDIES['own'] = make\n")
    called = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (called.returncode, called.stdout) == (0, "[7, 8]\n"), called.stderr


@pytest.mark.parametrize("platform", ["cuda", "tpu", "nonsense"])
def test_a_platform_that_is_not_there_is_a_line(platform, tmp_path):
    called = call(DIGITS, f"--workdir={tmp_path / 'run'}", JAX_PLATFORMS=platform)
    assert (called.returncode, called.stdout) == (1, "")
    assert re.fullmatch(
        f"error: JAX_PLATFORMS={platform}: JAX finds no such device .*\n", called.stderr
    )
    assert not (tmp_path / "run").exists()


def test_configs_of_the_package_are_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    argument = "--config=configs/digits.py:smok"
    for arguments in ([argument], argument.split("=")):
        said = complaint(monkeypatch, "--workdir=run", *arguments)
        assert said == (
            "error: config.(variant): 'smok' is not known; choose from smoke. "
            "Did you mean 'smoke'?"
        )
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "digits.py").touch()
    said = complaint(monkeypatch, "--workdir=run", argument)  # one's own goes first
    assert said == "error: --config: configs/digits.py has no get_config"


@pytest.mark.slow
def test_a_folder_is_asked_for_only_where_something_is_written(capsys):
    arguments = ["-m", "lth_jax.main", f"--config={ROOT / 'configs' / 'digits.py'}"]
    for extra, status in (((), 1), (("--workdir=",), 1), (("--summary",), 0)):
        ended = subprocess.run(
            [sys.executable, *arguments, *extra], capture_output=True, text=True
        )
        assert ended.returncode == status
        said = "" if not status else "error: --workdir: name the folder of the run\n"
        assert ended.stderr == said


def test_help_names_every_flag_and_how_to_see_the_config(capsys):
    with pytest.raises(SystemExit) as left:
        main.parse(["main", "--help"])
    assert not left.value.code
    text = capsys.readouterr().out
    for flag in ("config", *main._FLAGS):
        (line,) = (one for one in text.splitlines() if one.startswith(f"  --{flag} "))
        assert line.endswith(".")
    assert "To see the resolved config" in text


def test_a_misspelt_field_in_a_file_is_named(monkeypatch, tmp_path):
    file = tmp_path / "config.py"
    file.write_text(
        "from lth_jax import config as config_lib\n"
        "def get_config():\n"
        "    config = config_lib.default()\n"
        "    config.train.lenght = '5it'\n"
        "    return config\n"
    )
    said = complaint(monkeypatch, f"--config={file}", f"--workdir={tmp_path / 'run'}")
    assert said.startswith(
        'error: --config: no such field: Key "lenght" does not exist'
    )
    assert 'Did you mean "length"' in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("config_lib.known('x', 'a', ['b'])", "config.x: 'a' is not known; .* b."),
        ("config_lib.load('none.py')", "--config: none.py does not exist; .*"),
        ("open('none.txt')", "--config: .*No such file or directory: 'none.txt'"),
    ],
)
def test_what_a_file_of_a_users_own_cannot_do_is_a_line(
    raised, said, monkeypatch, tmp_path
):
    file = tmp_path / "config.py"
    file.write_text(
        "from lth_jax import config as config_lib\n"
        f"def get_config():\n    {raised}\n    return config_lib.default()\n"
    )
    complained = complaint(monkeypatch, f"--config={file}", "--workdir=run")
    assert re.fullmatch(f"error: {said}", complained)


@pytest.mark.slow
def test_data_that_is_not_there_comes_with_the_command_that_gets_it(tmp_path):
    """In a process of its own: exactly one line on stderr."""
    (tmp_path / "tfds").mkdir()
    called = call(
        f"--config={ROOT / 'configs' / 'resnet50.py'}",
        f"--workdir={tmp_path / 'run'}",
        TFDS_DATA_DIR=str(tmp_path / "tfds"),
    )
    assert (called.returncode, called.stdout) == (1, "")
    assert re.fullmatch(
        r"error: config\.data\.dir: 'imagenet2012' is not in .* two files: .* Then run "
        r"pip .*python -c 'import tensorflow_datasets as tfds; .*prepare.*'\n",
        called.stderr,
    )
    assert not (tmp_path / "run").exists()


def test_a_mistake_is_all_that_a_user_sees(tmp_path):
    called = call(DIGITS, f"--workdir={tmp_path / 'run'}", "--config.optim.name=adm")
    assert (called.returncode, called.stdout) == (1, "")
    assert re.fullmatch(r"error: config\.optim\.name: .*\n", called.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_of_which_a_network_diverged_has_a_report_and_a_status_of_its_own(
    tmp_path,
):
    called = call(
        f"{DIGITS}:smoke",
        f"--workdir={tmp_path / 'run'}",
        "--config.sweep.learning_rate=(0.001,1e30)",
        "--config.branches=('ticket',)",
    )
    assert called.returncode == job.DIVERGED == part.DIVERGED
    said = [line for line in called.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) > 0
    assert all("learning_rate 1e+30" in line for line in said)
    assert "report: " in called.stdout
    assert check.problems(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("layout", "way_out"),
    [
        ("fleet", "train.way: 'in_turn', one at a time,"),
        ("data", "train.accumulate: more, in a new --workdir,"),
    ],
)
def test_too_little_memory_is_said_with_the_way_out(
    layout, way_out, monkeypatch, tmp_path
):
    def fail(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB\nallocating")

    monkeypatch.setattr(lottery, "run", fail)
    flags = (f"--workdir={tmp_path / 'run'}", f"--config.train.layout={layout}")
    said = complaint(monkeypatch, DIGITS, *flags)
    reason = "RESOURCE_EXHAUSTED: 9 GiB allocating"
    assert said == f"error: config.{way_out} may fit: {reason}"


# --------------------------------------------------------------------- the ends


def end(monkeypatch, *arguments):
    """Run the program in this process, and return its exit status, or the message."""
    monkeypatch.setattr(job.jax.config, "update", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["main", *arguments])
    with flagsaver.flagsaver():
        try:
            main.main(main.parse(sys.argv))
        except SystemExit as ended:
            return ended.code
    return 0


@pytest.mark.parametrize(
    ("part", "missing"), [("load", "table"), ("table", "table"), ("write", "page")]
)
@pytest.mark.parametrize(
    "error", [OSError("no room"), KeyError("level"), ZeroDivisionError("two\nlines")]
)
def test_a_report_that_fails_is_no_failed_run(
    part, missing, error, monkeypatch, tmp_path, capsys
):
    """Whatever it raised: all is trained, and the report can be had again."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(lottery, "run", lambda *_, **__: Results(tmp_path))
    for name in ("load", "table", "write"):
        monkeypatch.setattr(report, name, lambda *_, **__: "")
    monkeypatch.setattr(report, part, fail)
    assert end(monkeypatch, DIGITS, f"--workdir={tmp_path}") == 0
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"warning: all is trained, but the {missing} is missing ")
    assert type(error).__name__ in said
    assert said.endswith(f"to try again: python -m lth_jax.report {tmp_path}")


def test_what_diverged_is_said_after_a_report_that_fails_too(
    monkeypatch, tmp_path, capsys
):
    lost = ["a loss is not finite: one", "a loss is not finite: other"]
    monkeypatch.setattr(lottery, "run", lambda *_, **__: Results(tmp_path, lost))
    (tmp_path / "results.jsonl").write_text("{}\n")
    assert end(monkeypatch, DIGITS, f"--workdir={tmp_path}") == job.DIVERGED
    said = capsys.readouterr().err
    assert "error: a loss is not finite: one\nerror: a loss is not finite: o" in said
    assert "warning: all is trained" in said


@pytest.mark.parametrize("accepted", [False, True])
def test_a_change_of_code_is_accepted_by_a_flag(accepted, monkeypatch, tmp_path):
    asked = []

    def run(config, directory, *, accept_code_change):
        asked.append(accept_code_change)
        raise Interrupted("SIGTERM: saved; the same command goes on")

    monkeypatch.setattr(lottery, "run", run)
    flags = ["--accept_code_change"] * accepted
    status = end(monkeypatch, DIGITS, f"--workdir={tmp_path}", *flags)
    assert (asked, status) == ([accepted], job.TRY_AGAIN)


def test_an_interrupted_run_says_that_the_same_command_goes_on(
    monkeypatch, tmp_path, capsys
):
    def run(*_, **__):
        raise Interrupted("SIGTERM: saved; the same command goes on")

    monkeypatch.setattr(lottery, "run", run)
    assert end(monkeypatch, DIGITS, f"--workdir={tmp_path}") == job.TRY_AGAIN == 75
    said = capsys.readouterr()
    assert said == ("", "SIGTERM: saved; the same command goes on\n")


def test_an_error_of_the_program_is_no_mistake_of_a_user(monkeypatch, tmp_path):
    def run(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr(lottery, "run", run)
    with pytest.raises(KeyError, match="a bug"):
        end(monkeypatch, DIGITS, f"--workdir={tmp_path}")


# ---------------------------------------------------------------------- summary


def test_a_summary_needs_neither_data_nor_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(job.jax.config, "update", lambda *_: None)
    config = f"--config={ROOT / 'configs' / 'resnet20_stabilizing.py'}"
    arguments = ["main", config, "--summary", f"--config.data.dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", arguments)
    with flagsaver.flagsaver():
        main.main(main.parse(sys.argv))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "layer",
        "output",
        "parameters",
        "prunable",
        "multiply-adds",
    ]
    assert lines[1].split() == ["conv1", "32x32x16", "432", "432", "442,368"]
    assert lines[-2].split() == ["fc", "10", "650", "0", "640"]
    assert lines[-1].split()[:3] == ["total", "272,474", "267,696"]
    assert list(tmp_path.iterdir()) == []
