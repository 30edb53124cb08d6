"""Sweep: many runs of one config, in turn on this machine or as jobs of Slurm.

    python -m lth_jax.sweep --config=C.py --config.optim.learning_rate=0.01,0.1 \\
        --config.replicates=8 --replicates_each=2 --launcher=slurm --workdir=runs/s

The fleet comes first: learning rates, weight decays and replicates train together in
one job. Then comes the cluster: replicates are divided over jobs, and every value of
another field has jobs of its own. The same command again goes on: it starts what is
not done, and says how all of it stands.
"""
