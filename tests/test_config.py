"""Configs: what can be wrong with a field is said in one line that names it."""

import json

import pytest
from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax.errors import ConfigError


def config(**changes):
    made = config_lib.default()
    made.update_from_flattened_dict(changes)
    return made.lock()


def complaint(**changes):
    """What is said about a default with some fields changed."""
    with pytest.raises(ConfigError) as caught:
        config_lib.check(config(**changes))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_the_defaults_are_a_config_that_can_be_run():
    config_lib.check(config_lib.default())


def test_a_misspelt_field_is_no_field():
    """In a config's file, too, not only on the command line."""
    made = config_lib.default()
    with pytest.raises(AttributeError, match="lenght"):
        made.train.lenght = "5it"
    with pytest.raises(TypeError):
        made.train.length = 5


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("model.name", "lenett", "lenet, mobilenet_v2"),
        ("model.init", "kaiming", "kaiming_normal"),
        ("model.norm_scale", "two", "ones"),
        ("model.dtype", "float16", "bfloat16, float32"),
        ("data.last", "keep", "drop, wrap"),
        ("data.augmentation", "flip", "flip_crop, none"),
        ("optim.name", "adamw", "adam, rmsprop, sgd"),
        ("optim.schedule", "cosine", "constant, exponential, linear, step"),
        ("train.layout", "both", "data, fleet"),
        ("prune.method", "size", "magnitude, random"),
        ("prune.schedule", "gradual", "iterative, one_shot"),
        ("prune.scope", "block", "global, layer"),
        ("study.tensors", "kernels", "all, masked"),
        ("study.batch_stats", "keep", "interpolate, recompute"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(field, value, known):
    said = complaint(**{field: value})
    assert said.startswith(f"config.{field}: {value!r} is not known; choose from ")
    assert known in said


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("branches", "shuffle", "random_reinit, rewind_0, shuffled_mask, ticket"),
        ("branches", "dense", "random_reinit, rewind_0, shuffled_mask, ticket"),
        ("dense_branches", "ticket", "dense, long"),
        ("copied_branches", "rewind_0", "random_reinit"),
        ("studies", "distance", "instability, stability"),
        ("measures", "test_error", "test_accuracy, test_loss"),
        ("measures", "validation_loss", "test_accuracy, test_loss"),
        ("rewind.fresh", "momentum", "batch_stats, opt_state, params, step"),
    ],
)
def test_so_is_an_unknown_name_among_others(field, value, known):
    others = {"branches": ("ticket",)}.get(field, ())
    said = complaint(**{field: (*others, value)})
    assert said.startswith(f"config.{field}: {value!r} is not known; choose from ")
    assert known in said


def test_a_name_that_is_nearly_right_is_guessed():
    assert complaint(**{"model.name": "resnet_20"}).endswith("Did you mean 'resnet20'?")


def test_held_out_examples_can_be_measured():
    config_lib.check(
        config(**{"data.validation": 100, "measures": ("validation_accuracy",)})
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replicates", 0),
        ("copies", 0),
        ("data.batch_size", 0),
        ("prune.levels", 0),
        ("study.points", 1),
        ("study.examples", 0),
        ("train.devices", -1),
        ("train.members", -1),
        ("optim.weight_decay", -0.1),
        ("optim.learning_rate", 0.0),
        ("optim.learning_rate", float("nan")),
        ("optim.label_smoothing", 1.0),
        ("optim.label_smoothing", -0.1),
        ("prune.fraction", 0.0),
        ("prune.fraction", 1.0),
        ("prune.fraction", -0.2),
        ("prune.densities", (0.5, 0.6)),
        ("prune.densities", (0.0,)),
        ("prune.densities", (1.1,)),
        ("prune.densities", (0.5, "half")),
        ("rewind.steps", ()),
        ("branch_levels", (11,)),
        ("prune.admm.rho", ()),
        ("branches", ("shuffled_mask",)),
        ("branches", ("ticket", "cross_lr")),
    ],
)
def test_a_number_out_of_range_is_named_by_its_field(field, value):
    assert complaint(**{field: value}).startswith(f"config.{field}: ")


def test_a_growing_density_is_named_with_the_one_before():
    assert "0.6 after 0.5" in complaint(**{"prune.densities": (0.8, 0.5, 0.6)})


def test_an_exponential_schedule_needs_an_end():
    """Without one, optax would keep the rate constant."""
    said = complaint(**{"optim.schedule": "exponential"})
    assert said.startswith("config.optim.end_value: ")


@pytest.mark.parametrize("value", ["5", "5x", "-1it", "1.5ep", "it", "3it5ep", " 5it"])
@pytest.mark.parametrize(
    "field", ["train.length", "train.evaluate_every", "optim.warm_up"]
)
def test_a_length_has_a_unit(field, value):
    said = complaint(**{field: value})
    assert said == (
        f"config.{field}: {value!r} is not a length like '160ep', '500it' or '5ep3it'"
    )


@pytest.mark.parametrize("value", ["5", 5])
@pytest.mark.parametrize("field", ["rewind.steps", "optim.milestones"])
def test_so_has_each_of_several(field, value):
    assert complaint(**{field: ("3it", value)}).startswith(
        f"config.{field}: '5' is not"
    )


def test_lengths_in_epochs_become_steps():
    made = config(
        **{
            "train.length": "10ep",
            "optim.warm_up": "5it",
            "optim.milestones": ("1ep", "2ep3it"),
            "rewind.steps": ("0it", "1ep"),
        }
    )
    assert config_lib.lengths(made, steps_per_epoch=7) == {
        "train.length": 70,
        "optim.warm_up": 5,
        "optim.milestones": (7, 17),
        "rewind.steps": (0, 7),
        "prune.admm.interval": 21,
    }


def test_evaluation_on_the_way_is_a_length_too():
    made = config(**{"train.evaluate_every": "2ep"})
    assert config_lib.lengths(made, steps_per_epoch=7)["train.evaluate_every"] == 14


def test_variants_are_separated_by_commas():
    assert config_lib.variants("", "low", "smoke") == set()
    assert config_lib.variants("low,smoke", "low", "smoke") == {"low", "smoke"}


def test_an_unknown_variant_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"'lw' .* choose from low, smoke\. .*'low'"):
        config_lib.variants("smoke,lw", "low", "smoke")


def test_a_config_is_loaded_as_the_command_line_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = config_lib.load("configs/resnet20.py:low,smoke")
    assert made.optim.learning_rate == 0.01
    assert made.replicates == 1
    own = "from lth_jax.config import default as get_config"
    (tmp_path / "own.py").write_text(own)
    assert config_lib.load("own.py") == config_lib.default()
    with pytest.raises(ConfigError, match=r"none.py does not exist; .* digits, ince"):
        config_lib.load("configs/none.py")


def test_a_flat_config_is_json_and_survives_the_disk():
    made = config(**{"prune.densities": (0.5,), "optim.options": {}})
    flat = config_lib.flatten(made)
    assert flat["prune.densities"] == [0.5]
    assert flat["optim.options"] == {}
    assert flat["train.length"] == "10ep"
    there = ConfigDict(json.loads(json.dumps(made.to_dict())))
    assert config_lib.flatten(there) == flat


def test_an_error_about_a_value_gets_the_fields_name():
    with (
        pytest.raises(ConfigError, match=r"^config\.a\.b: too small$"),
        config_lib.field("a.b"),
    ):
        raise ValueError("too small")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.feed": "stream"}, "train.layout: a stream has one batch for all devi"),
        (
            {"data.feed": "disk"},
            "data.feed: 'disk' is not known; choose from memory, s",
        ),
        (
            {"data.augmentation": "resized_crop"},
            "data.augmentation: 'resized_crop' is not known; choose from flip_crop, n",
        ),
        ({"data.stream.resize": 200}, "data.stream.resize: 200 is below image_size, 2"),
        ({"data.stream.area": (0.0, 1.0)}, "data.stream.area: (0.0, 1.0) is not a ri"),
        ({"data.stream.area": (0.5, 1.5)}, "data.stream.area: (0.5, 1.5) is not a ri"),
        ({"data.stream.aspect": (2.0, 1.0)}, "data.stream.aspect: (2.0, 1.0) is not"),
        ({"data.stream.std": (1.0, 1.0, 0.0)}, "data.stream.std: must be above 0"),
        ({"data.stream.workers": -2}, "data.stream.workers: -2 is below -1"),
        ({"train.accumulate": 0}, "train.accumulate: 0 is below 1"),
        ({"optim.aux_weight": -0.1}, "optim.aux_weight: -0.1 is below 0"),
    ],
    ids=str,
)
def test_a_stream_that_cannot_be_is_named_by_its_field(changes, said):
    assert complaint(**changes).startswith(f"config.{said}")


def test_variants_may_exclude_each_other():
    assert config_lib.variants("b,c", ("a", "b"), "c") == {"b", "c"}
    with pytest.raises(ConfigError) as caught:
        config_lib.variants("b,a", ("a", "b"), "c")
    assert str(caught.value) == (
        "config.(variant): 'a' and 'b' exclude each other; choose one"
    )
