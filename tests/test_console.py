"""The console: whatever a command prints to, it ends as it would have."""

import os
import subprocess
import sys

import pytest

PRINTS = (
    "import sys\nfrom lth_jax import console\n\nconsole.prepare()\n"
    "for stream in (sys.stdout, sys.stderr):\n"
    "    for _ in range(3):\n"
    "        print('1 ± 2', file=stream, flush=True)\n"
    "    stream.isatty(), stream.fileno()\n"
    "    print('last ± line', file=stream)\n"
    "sys.exit(3)\n"
)


@pytest.mark.parametrize(
    "redirected",
    ["", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "| head -n 1"],
)
@pytest.mark.parametrize("option", ["", "-u -W error"])
def test_no_console_ends_a_command(redirected, option):
    command = f'"{sys.executable}" {option} -c "$PRINTS" {redirected}; '
    command += 'exit "${PIPESTATUS[0]}"'
    ended = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PRINTS": PRINTS},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 3
    lines = 3 * ["1 ± 2"] + ["last ± line"]
    for said, gone in ((ended.stdout, ">"), (ended.stderr, "2>")):
        left_out = gone in redirected.split() or f"{gone}&-" in redirected.split()
        cut = "head" in redirected and gone == ">"
        assert said.splitlines() == ([] if left_out else lines[: 1 if cut else None])


def test_what_is_logged_is_said_once():
    warns = (
        "import logging\nfrom absl import app\nfrom lth_jax import console, job\n"
        "console.prepare()\n"
        "app.run(lambda _: logging.getLogger('lth_jax').warning('now'), ['main'])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", warns], capture_output=True, text=True, check=True
    )
    assert ended.stderr.count("now") == 1


def test_what_an_encoding_lacks_is_escaped():
    ended = subprocess.run(
        [sys.executable, "-c", PRINTS],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    for said in (ended.stdout, ended.stderr):
        assert said.splitlines() == 3 * [rb"1 \xb1 2"] + [rb"last \xb1 line"]


def test_a_file_that_is_opened_later_takes_no_place_of_a_stream(tmp_path):
    """What C code writes to descriptor 2 must not land in a run's files."""
    code = (
        "import os\nfrom lth_jax import console\nconsole.prepare()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w')\nos.write(2, b'of C code')\n"
        "raise SystemExit(not file.fileno() > 2)"
    )
    command = f'exec "{sys.executable}" -c "$CODE" <&- >&- 2>&-'
    environment = os.environ | {"CODE": code}
    assert subprocess.run(["bash", "-c", command], env=environment).returncode == 0
    assert (tmp_path / "file").read_text() == ""


def test_streams_that_are_not_the_systems_are_left_alone(capsys):
    from lth_jax import console

    before = sys.stdout, sys.stderr
    with pytest.MonkeyPatch.context() as patch:
        for name in ("stdout", "stderr"):
            patch.setattr(sys, name, object())
        mine = sys.stdout, sys.stderr
        console.prepare()
        assert (sys.stdout, sys.stderr) == mine
    assert (sys.stdout, sys.stderr) == before
