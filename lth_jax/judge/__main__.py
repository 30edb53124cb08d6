"""Judge masks: are they a winning ticket, and how sure can one be?

    python -m lth_jax.judge MASKS --config=configs/lenet.py --workdir=runs/judged

MASKS are files, one a seed (.safetensors, .npz, .pt: masks of 0 and 1, what PyTorch's
prune leaves, or weights whose zeros are pruned), or the folder of a run, whose tickets
of the last level are judged. --config says how trials are trained, and
--config.replicates with how many seeds. The same command again goes on where it was
interrupted. Verdict, table and picture are written to WORKDIR/verdict.
"""

import sys
from typing import Any

from absl import flags

from lth_jax import commandline, console, job

_FLAGS = flags.FlagValues()
_OTHERS = {
    "workdir": (flags.DEFINE_string, None, "Folder of the trials: new, or to go on."),
    "weights": (flags.DEFINE_list, [], "Files of W_0 or W_k, one for each of MASKS."),
    "rewind_step": (flags.DEFINE_integer, None, "Step k of the weights; or config's."),
    "margin": (flags.DEFINE_float, None, "The difference that matters; half a point."),
    "until": (flags.DEFINE_enum, "", ["", "resolved"], "Add seeds until then."),
    "most": (flags.DEFINE_integer, 20, "Most seeds, with --until."),
    "before": (flags.DEFINE_string, None, "Masks of the level before, to nest in."),
    "claimed": (flags.DEFINE_float, None, "The density that was said, as 0.035."),
    "names": (flags.DEFINE_string, None, "PyTorch's names of layers, in a JSON file."),
    "dry_run": (flags.DEFINE_bool, False, "Print what would be trained, for how long."),
    "accept_code_change": (flags.DEFINE_bool, False, "Go on though code has changed."),
}
_CONFIG = commandline.define(_OTHERS, _FLAGS)


def known_flags() -> dict[str, bool]:
    """Return the flags, and whether a value follows."""
    return commandline.known_flags(_OTHERS)


def main(arguments: list[str] | None = None) -> None:
    """Judge what the command line names."""
    argv = ["judge", *(sys.argv[1:] if arguments is None else arguments)]
    if {"--help", "-h"} & {*argv}:
        print("\n".join([str(__doc__), *commandline.texts(known_flags(), _FLAGS)]))
        return
    job.use_cores()
    _, *masks = commandline.parse(argv, _FLAGS)
    if not masks:
        sys.exit("error: MASKS: name files of masks, or the folder of a run")
    if not (_FLAGS.workdir or _FLAGS.dry_run):
        sys.exit("error: --workdir: name the folder of the trials")
    with job.prepared(_CONFIG.value):
        from lth_jax import dry_run  # when JAX knows its devices
        from lth_jax.judge.trials import judge, prepare

        own = ("workdir", "dry_run", "accept_code_change")
        options: dict[str, Any] = {n: _FLAGS[n].value for n in _OTHERS if n not in own}
        if _FLAGS.dry_run:
            print(dry_run.describe(prepare(masks, _CONFIG.value, **options).config))
            return
        accept = {"accept_code_change": _FLAGS.accept_code_change}
        found = judge(
            masks, _CONFIG.value, _FLAGS.workdir, say=_say, **accept, **options
        )
        print(found)
        job.fail(found.diverged)


def _say(judgement: object) -> None:
    print(f"{judgement}\n", flush=True)


if __name__ == "__main__":
    console.prepare()
    main()
