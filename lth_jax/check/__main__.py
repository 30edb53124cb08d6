"""The command line: python -m lth_jax.check WORKDIR [WORKDIR ...]."""

import argparse
import sys

from lth_jax import console, pool
from lth_jax.check.run import problems, standing
from lth_jax.errors import RunError
from lth_jax.export import bundle


def main(arguments: list[str] | None = None) -> None:
    """Check the folders that the command line names."""
    parser = argparse.ArgumentParser("python -m lth_jax.check", None, main.__doc__)
    parser.add_argument("workdir", nargs="+", help="folder of a run, or a bundle")
    text = "folders are one experiment: replicates are divided over them"
    parser.add_argument("--pool", action="store_true", help=text)
    chosen = parser.parse_args(arguments)
    bad = []
    for workdir in chosen.workdir:
        if found := problems(workdir):
            print(*found, sep="\n")
            bad.append(f"{workdir}: {_count(found)}")
        else:
            said = "its ticket" if bundle.is_one(workdir) else standing(workdir)
            print(f"{workdir}: all is well with {said}")
    if chosen.pool and not bad:
        bad += _pool(chosen.workdir)
    if bad:
        sys.exit("\n".join(bad))


def _pool(workdirs: list[str]) -> list[str]:
    """Say whether folders are one experiment, and what is missing of it."""
    try:
        if found := pool.problems(*workdirs):
            print(*found, sep="\n")
            return [f"--pool: {_count(found)}"]
        one = pool.read(*workdirs)
    except RunError as error:
        return [f"--pool: {error}"]
    print(*one.notes, sep="\n", end="\n" * bool(one.notes))
    number = one.files["config"]["replicates"]
    print(f"pooled: one experiment of {number} replicates, {len(one.rows):,} rows")
    return []


def _count(found: list[str]) -> str:
    return f"{len(found)} problem{'s' * (len(found) > 1)}"


if __name__ == "__main__":
    console.prepare()
    main()
