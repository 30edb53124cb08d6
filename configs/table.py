"""A perceptron on a table of features: forest cover types.

    python -m lth_jax.main --config=configs/table.py --config.data.name=covertype.npz \
        --workdir=runs/table

Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data" (2021), whose
repository has the 15 runs of its tuned MLP on Covertype: test accuracy 96.25 % (96.05
to 96.49), widths 862, five of 444 and 654, dropout 0.081, AdamW 6.29e-5, no weight
decay, batch 1024, stopped early; features are mapped to normal quantiles. Not as there:
the split (theirs is 371,847 examples of training, 92,962 of validation and 116,203 of
test), 100 epochs without early stopping. Not measured here.

The file has the arrays train_inputs, train_targets, test_inputs and test_targets; with
scikit-learn, from the internet:

    from sklearn.datasets import fetch_covtype
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import QuantileTransformer
    x, y = fetch_covtype(return_X_y=True)
    a, b, c, d = train_test_split(x, y - 1, test_size=116_203, random_state=0)
    to_normal = QuantileTransformer(output_distribution="normal").fit(a)
    numpy.savez("covertype.npz", train_inputs=to_normal.transform(a), train_targets=c,
                test_inputs=to_normal.transform(b), test_targets=d)

Run time: not measured; `--dry_run` says it for the devices at hand.

Variants: `smoke` (seconds, on digits).
"""

from ml_collections import ConfigDict

from lth_jax import config as config_lib


def get_config(variant: str = "") -> ConfigDict:
    """Return the config."""
    variants = config_lib.variants(variant, "smoke")
    config = config_lib.default()
    config.data.name = "covertype.npz"
    config.data.batch_size = 1024
    config.model.name = "mlp"
    config.model.options = {"widths": (862, *5 * (444,), 654), "dropout": 0.081}
    config.optim.name = "adamw"
    config.optim.learning_rate = 6.29e-5
    config.train.length = "100ep"
    config.rewind.steps = ("0it", "1ep")

    if "smoke" in variants:
        config.replicates = 1
        config.data.name = "digits"
        config.data.batch_size = 60
        config.model.options = {"widths": (12, 8), "dropout": 0.1}
        config.train.length = "4it"
        config.rewind.steps = ("0it", "2it")
        config.prune.levels = 1
    return config.lock()
