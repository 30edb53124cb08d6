"""The command line: python -m lth_jax COMMAND is lth-jax COMMAND."""

from lth_jax.shell import command

if __name__ == "__main__":
    command()
