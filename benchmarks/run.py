"""Run: python -m benchmarks.run [NAME ...] prints the table of the benchmarks."""

import argparse
import dataclasses
import os
import platform
import sys

# What these say must be known before the process starts. PyTorch gains from them too.
_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    if not _MALLOC.items() <= os.environ.items():
        command = [sys.executable, "-m", "benchmarks.run", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | _MALLOC)
    import jax

    from lth_jax import machine

    jax.config.update("jax_platforms", "cpu")  # where rivals are
    jax.config.update("jax_num_cpu_devices", machine.cores())
    import torch

    from benchmarks.measure import Line
    from benchmarks.suite import SUITE

    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUITE))
    names = parser.parse_args().names or list(SUITE)
    unknown = sorted({*names} - SUITE.keys())
    if unknown:
        parser.error(f"{unknown[0]!r} is not known; choose from {', '.join(SUITE)}")
    lines = []
    for name in names:
        for line in SUITE[name]():
            print(line, file=sys.stderr, flush=True)
            lines.append(line)
    print(
        f"{platform.machine()}, {machine.cores()} cores, "
        f"jax {jax.__version__}, torch {torch.__version__}; "
        "medians (lowest to highest of n pairs)\n"
    )
    print("| " + " | ".join(field.name for field in dataclasses.fields(Line)) + " |")
    print("|" + " --- |" * len(dataclasses.fields(Line)))
    for line in lines:
        print("| " + " | ".join(dataclasses.astuple(line)) + " |")


if __name__ == "__main__":
    main()
