"""Configs: what can be wrong with a field is said in one line that names it."""

import json
from contextlib import nullcontext

import pytest
from ml_collections import ConfigDict

from lth_jax import config as config_lib
from lth_jax import lottery, models
from lth_jax.branches import BRANCHES, Branch
from lth_jax.config.table import FIELDS
from lth_jax.data import sources
from lth_jax.errors import ConfigError
from lth_jax.lottery import loop


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


@pytest.fixture
def answer(tmp_path, monkeypatch):
    """What is said before any data is there, where the registries are asked too."""
    monkeypatch.setattr(sources, "load", lambda *_, **__: pytest.fail("data is loaded"))

    def answer(**changes):
        made = config(**{"data.dir": str(tmp_path)} | changes)
        with pytest.raises(ConfigError) as caught:
            lottery.build(made)
        assert len(str(caught.value).splitlines()) == 1
        assert list(tmp_path.iterdir()) == []
        return str(caught.value)

    return answer


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
        ("model.name", "lenett", "lenet, mlp, mobilenet_v2"),
        ("model.init", "kaiming", "kaiming_normal"),
        ("model.norm_scale", "two", "ones"),
        ("model.dtype", "float16", "bfloat16, float32"),
        ("data.last", "keep", "drop, wrap"),
        ("data.augmentation", "flip", "flip_crop, none"),
        ("optim.name", "adamv", "adam, adamw, lion, rmsprop, sgd, or any of optax."),
        (
            "optim.schedule",
            "cos",
            "cosine, exponential, linear, step, or any of optax.",
        ),
        ("train.layout", "both", "data, fleet"),
        ("prune.method", "size", "magnitude, random"),
        ("prune.schedule", "gradual", "iterative, one_shot"),
        ("prune.scope", "block", "global, layer"),
        ("prune.scope", "2:", "global, layer"),
        ("study.tensors", "kernels", "all, masked"),
        ("study.batch_stats", "keep", "interpolate, recompute"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(answer, field, value, known):
    said = answer(**{field: value})
    assert said.startswith(f"config.{field}: {value!r} is not known; choose from ")
    assert known in said


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("branches", "shuffle", "set, shuffled_mask, sibling_mask"),
        ("branches", "dense", "set, shuffled_mask, sibling_mask"),
        ("dense_branches", "ticket", "dense, long"),
        ("copied_branches", "rewind_0", "random_reinit"),
        ("studies", "distance", "instability, last_weights, mask_overlap, onset, stab"),
        ("measures", "test_error", "test, test_accuracy, test_loss"),
        ("measures", "validation_loss", "test, test_accuracy, test_loss"),
        ("rewind.fresh", "momentum", "batch_stats, opt_state, params, step"),
    ],
)
def test_so_is_an_unknown_name_among_others(answer, field, value, known):
    others = {"branches": ("ticket",)}.get(field, ())
    said = answer(**{field: (*others, value)})
    assert said.startswith(f"config.{field}: {value!r} is not known; choose from ")
    assert known in said


def test_a_name_that_is_nearly_right_is_guessed(answer):
    assert answer(**{"model.name": "resnet_20"}).endswith("Did you mean 'resnet20'?")


def test_what_a_user_registers_is_known_by_its_name(answer, monkeypatch):
    """Also where its name was known before, and meant another thing."""
    monkeypatch.setitem(models.MODELS, "mine", models.MODELS["lenet"])
    monkeypatch.setitem(BRANCHES, "mine", Branch("k", "k", masks="mine"))
    for field in ("model.name", "branches"):
        said = answer(**{field: ("ticket", "min") if field == "branches" else "min"})
        assert "mine" in said.partition("choose from ")[2]
    said = answer(branches=("ticket", "mine"))
    assert said.startswith("config.branches: masks of 'mine': 'mine' is not known; ")
    monkeypatch.setitem(BRANCHES, "mine", Branch("k", "k"))
    known = {"branches": ("ticket", "mine"), "model.name": "mine", "optim.name": "adm"}
    assert answer(**known).startswith("config.optim.name: ")


def test_held_out_examples_can_be_measured(answer):
    said = answer(**{"data.validation": 100, "measures": ("validation_acc",)})
    assert "test_loss, validation, validation_accuracy, validation_loss." in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replicates", 0),
        ("copies", 0),
        ("data.batch_size", 0),
        ("prune.levels", -1),
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
        ("study.top", (0.1, 1.0)),
        ("study.top", (0.12345,)),
        ("prune.levels", 1001),
        ("branches", ("ticket", "ticket")),
        ("seed", 2**32),
    ],
)
def test_a_number_out_of_range_is_named_by_its_field(field, value):
    assert complaint(**{field: value}).startswith(f"config.{field}: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"move.fraction": 0.0}, "move.fraction: 0.0 is not above 0"),
        ({"move.fraction": 1.5}, "move.fraction: 1.5 is above 1"),
        ({"move.until": 0.0}, "move.until: 0.0 is not above 0"),
        ({"move.until": 2.0}, "move.until: 2.0 is above 1"),
        ({"move.every": "often"}, "move.every: 'often' is not a length like '160ep',"),
        ({"prune.rounds": -1}, "prune.rounds: -1 is below 0"),
        ({"prune.at": "1"}, "prune.at: '1' is not known; choose from , 0, end, k."),
        ({"rewind.weights": "end"}, "rewind.weights: 'end' is not known; choose fr"),
        ({"rewind.clock": "0"}, "rewind.clock: '0' is not known; choose from end, k."),
        ({"prune.table": (0.5,)}, "prune.table: 0.5 is not of type str"),
        (
            {"branches": ("ticket", "rigl", "rigl")},
            "branches: ['ticket', 'rigl', 'rigl'] names one twice",
        ),
        (
            {"branches": ("ticket", "table_mask")},
            "branches: 'table_mask' needs prune.table",
        ),
        *(
            (
                {"branches": ("ticket", name), "replicates": 1},
                f"branches: {name!r} needs two replicates",
            )
            for name in (
                *("sibling_mask", "transported"),
                *("union_mask", "intersection_mask"),
            )
        ),
        *(
            (
                {"studies": (name,), "replicates": 1},
                f"studies: {name!r} needs two replicates",
            )
            for name in ("alignment", "mask_overlap")
        ),
        *(
            (
                {"studies": (name,)},
                f"studies: {name!r} needs config.copies of 2 or more",
            )
            for name in ("instability", "travel")
        ),
        (
            {"branches": ("ticket", "random_mask"), "rewind.weights": "trained"},
            "branches: 'random_mask' needs rewind.weights 'k', or prune.schedule",
        ),
        (
            {"studies": ("last_weights",)},
            "studies: 'last_weights' needs config.train.average",
        ),
        *(
            (
                {"dense_branches": ("dense",)} | changes,
                "dense_branches: 'dense' are copies alone: it needs config.copies of 2 "
                "or more, and to be in config.copied_branches",
            )
            for changes in ({}, {"copies": 2, "copied_branches": ("ticket",)})
        ),
        (
            {
                "branches": ("ticket", "transported"),
                "prune.scope": "2:4",
                "prune.densities": (0.5,),
            },
            "branches: 'transported' needs prune.scope 'global' or 'layer'",
        ),
        *(
            (
                {"branches": ("ticket", "inverted_mask"), "prune.method": method},
                "branches: 'inverted_mask' needs a prune.method of scores",
            )
            for method in ("admm", "synflow")
        ),
        *(
            (
                {"prune.method": method, f"prune.{name}": value},
                f"prune.{name}: {method!r} has its own; leave it out",
            )
            for method in ("admm",)
            for name, value in (("at", "0"), ("rounds", 3))
        ),
        *(
            (
                {"prune.scope": "2:4", "prune.densities": (0.5,)} | changes,
                f"prune.scope: {changes.get('prune.method', 'magnitude')!r} needs",
            )
            for changes in (
                {"prune.method": "synflow"},
                {"prune.method": "admm"},
                {"prune.at": "0", "prune.rounds": 2},
            )
        ),
        (
            {"rewind.fresh": ("step",), "rewind.clock": "end"},
            "rewind.fresh: 'step' starts the schedule again, and config.rewind.clock",
        ),
        ({"prune.scope": "5:4"}, "prune.scope: 5 of every 4 weights are not there"),
        (
            {"prune.scope": "2:4", "prune.densities": (0.5, 0.2)},
            "prune.densities: scope '2:4' needs (0.5,), and no other level",
        ),
        ({"prune.scope": "2:4"}, "prune.densities: scope '2:4' needs (0.5,), and no"),
        *(
            (
                {"dense_branches": (name,)},
                f"dense_branches: {name!r} is not known; choose from dense, long.",
            )
            for name in ("rigl", "gmp", "dense_equal_bill", "erk_mask")
        ),
    ],
    ids=str,
)
def test_what_masks_cannot_be_made_or_moved_by_is_named(answer, changes, said):
    assert answer(**changes).startswith(f"config.{said}")


def test_a_mover_that_nobody_knows_is_named(answer, monkeypatch):
    monkeypatch.setitem(BRANCHES, "mine", Branch("0", "0", mover="rigel"))
    said = answer(branches=("ticket", "mine"))
    known = "choose from , gmp, rigl, set. Did you mean 'rigl'?"
    assert said == f"config.branches: mover of 'mine': 'rigel' is not known; {known}"


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """What is said when digits are there, before anything is trained or written."""
    monkeypatch.setattr(loop, "fit_dense", lambda run: pytest.fail("it is trained"))

    def answer(**changes):
        here = {"data.dir": str(tmp_path), "train.length": "20it"}
        with pytest.raises(ConfigError) as caught:
            lottery.run(config(**here | changes), tmp_path / "run")
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "run").exists()
        return str(caught.value)

    return answer


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"move.every": "0it"}, "move.every: must be at least one step"),
        (
            {"move.every": "16it", "branches": ("ticket", "set")},
            "move.every: '16it' is 16 steps, but 'set' moves between steps 0 and 0.75 ",
        ),
        ({"prune.table": ("fc1",)}, "prune.table: could not convert string to float:"),
        ({"prune.table": ("fc9=1", ".=1")}, "prune.table: 'fc9' matches no prunable "),
        ({"prune.table": ("fc1=1",)}, "prune.table: densities: no regular expression"),
        ({"prune.table": (".=0",)}, "prune.table: density: 0.0 is not in (0, 1]"),
        ({"prune.table": ("(=1",)}, "prune.table: "),
        (
            {"prune.scope": "2:3", "prune.densities": (2 / 3,)},
            "prune.scope: masks: ",
        ),
    ],
    ids=str,
)
def test_so_is_what_only_the_network_or_the_data_tell(untrained, changes, said):
    table = {"branches": ("ticket", "table_mask")} if "prune.table" in changes else {}
    assert untrained(**table | changes).startswith(f"config.{said}")


@pytest.mark.parametrize("branches", [("shuffled_mask",), ("ticket", "cross_lr")])
def test_branches_that_miss_something_are_named(answer, branches):
    assert answer(branches=branches).startswith("config.branches: ")


def test_a_growing_density_is_named_with_the_one_before():
    assert "0.6 after 0.5" in complaint(**{"prune.densities": (0.8, 0.5, 0.6)})


def test_an_exponential_schedule_needs_an_end():
    """Without one, optax would keep the rate constant."""
    said = complaint(**{"optim.schedule": "exponential"})
    assert said.startswith("config.optim.end_value: ")


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"optim.schedule": "linear", "optim.end_value": 1e-4}, True),
        ({"optim.schedule": "linear"}, False),
        ({"optim.schedule": "step", "optim.end_value": 1e-4}, False),
        ({"optim.schedule_options.init_value": 0.01}, True),
        ({"optim.schedule_options.warmup_steps": 5}, False),
    ],
)
def test_rates_of_a_sweep_multiply_no_other_rates(changes, refused):
    made = config_lib.default()
    with made.unlocked():
        made.update_from_flattened_dict(changes)
    made.sweep.learning_rate = (made.optim.learning_rate,)
    config_lib.check(made)
    made.sweep.learning_rate = (0.1, 0.2)
    said = r"^config\.sweep\.learning_rate: would multiply rates"
    with pytest.raises(ConfigError, match=said) if refused else nullcontext():
        config_lib.check(made)


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
    changes = {field: ("3it", value), "optim.schedule": "step"}
    assert complaint(**changes).startswith(f"config.{field}: '5' is not")


def test_lengths_in_epochs_become_steps():
    made = config(
        **{
            "train.length": "10ep",
            "optim.warm_up": "5it",
            "optim.schedule": "step",
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
        "move.every": 100,
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
    with pytest.raises(
        ConfigError, match=r"none.py does not exist; .* digits, grokking, ince"
    ):
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


def test_an_error_that_names_its_field_already_keeps_its_line():
    with pytest.raises(ConfigError) as caught, config_lib.field("a"):
        raise ConfigError("config.b: too small")
    assert str(caught.value) == "config.b: too small"


def test_whatever_a_library_raises_of_its_options_is_one_line_if_that_is_asked():
    with pytest.raises(KeyError), config_lib.field("a"):
        raise KeyError("x")
    with pytest.raises(ConfigError) as caught, config_lib.field("a", Exception):
        raise KeyError("two\nlines")
    assert str(caught.value) == r"config.a: KeyError: 'two\nlines'"
    with pytest.raises(ConfigError) as caught, config_lib.field("a", Exception):
        raise TypeError("two\nlines")
    assert str(caught.value) == "config.a: two lines"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data.feed": "stream"}, "train.layout: a stream has one batch for all devi"),
        ({"data.stream.resize": 200}, "data.stream.resize: 200 is below image_size, 2"),
        ({"data.stream.area": (0.0, 1.0)}, "data.stream.area: (0.0, 1.0) is not a ri"),
        ({"data.stream.area": (0.5, 1.5)}, "data.stream.area: (0.5, 1.5) is not a ri"),
        ({"data.stream.aspect": (2.0, 1.0)}, "data.stream.aspect: (2.0, 1.0) is not"),
        ({"data.stream.std": (1.0, 1.0, 0.0)}, "data.stream.std: 0.0 is not above 0"),
        ({"data.stream.workers": -2}, "data.stream.workers: -2 is below -1"),
        ({"train.accumulate": 0}, "train.accumulate: 0 is below 1"),
        ({"optim.aux_weight": -0.1}, "optim.aux_weight: -0.1 is below 0"),
    ],
    ids=str,
)
def test_a_stream_that_cannot_be_is_named_by_its_field(changes, said):
    assert complaint(**changes).startswith(f"config.{said}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data.feed": "disk"},
            "data.feed: 'disk' is not known; choose from memory, stream.",
        ),
        (
            {"data.augmentation": "resized_crop"},
            "data.augmentation: 'resized_crop' is not known; choose from flip_crop, n",
        ),
        (
            {
                "data.feed": "stream",
                "train.layout": "data",
                "data.augmentation": "flip_crop",
            },
            "data.augmentation: 'flip_crop' is not known; choose from none, resized_c",
        ),
        (
            {"data.stream.corrupt": "ignore"},
            "data.stream.corrupt: 'ignore' is not known; choose from error, skip.",
        ),
    ],
    ids=str,
)
def test_a_name_that_data_does_not_know_is_answered_too(answer, changes, said):
    assert answer(**changes).startswith(f"config.{said}")


def beyond(wanted):
    """Values that a field of the table may not have."""
    numbers = [wanted.above, wanted.below]
    numbers += [wanted.least - 1] if wanted.least is not None else []
    numbers += [wanted.most + 1] if wanted.most is not None else []
    found = [number for number in numbers if number is not None]
    found += ["nonsense"] * bool(wanted.choices)
    if not isinstance(wanted.default, tuple):
        return found
    first = {int: 1, float: 0.5, str: "ticket", None: "1it"}[wanted.of]
    alone = [(value,) for value in found]
    return alone + [(first, first)] * wanted.unique + [()] * wanted.some


@pytest.mark.parametrize("field", FIELDS)
def test_every_limit_of_the_table_is_kept(field):
    for value in beyond(FIELDS[field]):
        assert complaint(**{field: value}).startswith(f"config.{field}: "), value


def test_the_table_has_all_fields():
    assert config_lib.flatten(config_lib.default()).keys() == FIELDS.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree["train"].pop("length"), "train.length: is missing"),
        (lambda tree: tree.update(optim=3), "optim.name: is missing"),
        (
            lambda tree: tree["study"].update(point=3),
            "study.point: there is no such field. Did you mean 'points'?",
        ),
        (lambda tree: tree.update(a=3), "a: there is no such field"),
        (lambda tree: tree.update(seed="1"), "seed: '1' is not of type int"),
        (lambda tree: tree.update(copies=True), "copies: True is not of type int"),
        (
            lambda tree: tree.update(measures="test_loss"),
            "measures: 'test_loss' is not of type tuple",
        ),
        (
            lambda tree: tree["model"].update(options={"a": object}),
            "model.options: {'a': <class 'object'>} is not of type dict",
        ),
    ],
)
def test_a_config_that_was_not_made_here_has_all_fields_with_their_types(change, said):
    tree = config_lib.default().to_dict()
    change(tree)
    with pytest.raises(ConfigError) as caught:
        config_lib.check(ConfigDict(tree))
    assert str(caught.value) == f"config.{said}"


def test_variants_may_exclude_each_other():
    assert config_lib.variants("b,c", ("a", "b"), "c") == {"b", "c"}
    with pytest.raises(ConfigError) as caught:
        config_lib.variants("b,a", ("a", "b"), "c")
    assert str(caught.value) == (
        "config.(variant): 'a' and 'b' exclude each other; choose one"
    )


def test_a_config_of_before_a_field_was_there_has_its_default():
    written = flatten_to_json(config_lib.load("configs/digits.py"))
    del written["train"]["average"], written["first_replicate"]
    found = config_lib.from_json(written)
    assert found.to_dict() == config_lib.load("configs/digits.py").to_dict()
    assert found.model.options.widths == (300, 100)
    config_lib.check(found)


@pytest.mark.parametrize("name", ["move", "study", "sweep", "task"])
def test_so_has_one_of_before_a_group_was_there(name):
    written = flatten_to_json(config_lib.default())
    del written[name], written["data"]["stream"]
    assert config_lib.from_json(written).to_dict() == config_lib.default().to_dict()


def flatten_to_json(config):
    return json.loads(json.dumps(config.to_dict()))
