"""The command line: python -m lth_jax.export WORKDIR --level=3 --format=safetensors."""

from lth_jax.export.command import main

if __name__ == "__main__":
    main()
