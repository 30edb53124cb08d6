"""Rewinding: whatever optimizer's state, pruned weights and their moments become 0."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from trees import assert_same, boolean

from lth_jax import masks as masks_lib
from lth_jax import rewind, sparse_optimizer

SHAPES = {"body": {"w": (5, 7), "b": (7,)}, "head": {"w": (7, 3), "b": (3,)}}
PARAMS = jax.tree.map(np.ones, SHAPES, is_leaf=lambda x: isinstance(x, tuple))
PARAMS = jax.tree.map(np.float32, PARAMS)
LABELS = {"body": {"w": "slow", "b": "fast"}, "head": "fast"}
KEPT = {
    "body": {"w": np.arange(35).reshape(5, 7) % 3 != 0, "b": None},
    "head": {"w": np.arange(21).reshape(7, 3) % 4 != 0, "b": None},
}
NUMBER = 66  # of parameters, 21 of them in the smaller kernel

WRAPPERS = {
    "apply_if_finite": lambda tx: optax.apply_if_finite(tx, 3),
    "chain": lambda tx: optax.chain(optax.clip_by_global_norm(1.0), tx),
    "conditionally_mask": lambda tx: optax.conditionally_mask(tx, lambda step: True),
    "conditionally_transform": lambda tx: optax.conditionally_transform(
        tx, lambda step: True
    ),
    "flatten": optax.flatten,
    "inject_hyperparams": lambda tx: optax.inject_hyperparams(
        lambda rate: optax.chain(tx, optax.scale(rate))
    )(0.5),
    "lookahead": lambda tx: optax.lookahead(tx, 2, 0.5),
    "masked": lambda tx: optax.masked(
        tx, {"body": {"w": True, "b": False}, "head": True}
    ),
    "kernels": lambda tx: optax.masked(
        tx, {"body": {"w": True, "b": False}, "head": {"w": True, "b": False}}
    ),
    "masked by a prefix": lambda tx: optax.masked(tx, {"body": False, "head": True}),
    "mechanize": contrib.mechanize,
    "MultiSteps": lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
    "named_chain": lambda tx: optax.named_chain(("a", tx), ("b", optax.trace(0.9))),
    "partition": lambda tx: optax.partition(
        {"slow": tx, "fast": optax.adam(1)}, LABELS
    ),
    "sam": lambda tx: contrib.sam(tx, optax.sgd(0.1)),
    "schedule_free": lambda tx: contrib.schedule_free(tx, 0.1),
    "selective_transform": lambda tx: optax.transforms.selective_transform(
        tx, freeze_mask={"body": {"w": False, "b": True}, "head": True}
    ),
    "snapshot": lambda tx: optax.chain(tx, optax.snapshot("u", lambda u, *_: u)),
    "split_real_and_imaginary": contrib.split_real_and_imaginary,
}
OTHERS = {
    "ema": optax.ema(0.9),
    "trace": optax.trace(0.9),
    "backtracking": optax.scale_by_backtracking_linesearch(5, store_grad=True),
    "zoom": optax.scale_by_zoom_linesearch(5),
    "adam of adam": optax.multi_transform(
        {"slow": WRAPPERS["MultiSteps"](optax.adam(1)), "fast": optax.adam(1)}, LABELS
    ),
    "flattened L-BFGS": optax.flatten(optax.scale_by_lbfgs(30)),
    "factored in part": optax.adafactor(0.1, min_dim_size_to_factor=6, momentum=0.9),
    "not factored": optax.adafactor(0.1),
    "flattened in a chain": optax.chain(optax.flatten(optax.adam(1)), optax.trace(0.9)),
}
# States which `rewind.to` refuses, and what needs more than a learning rate and holds
# nothing: bounds, noise, schedules, and functions of one's own.
REFUSED = {"galore", "scale_by_galore", "cocob", "scale_by_cocob"}
STATELESS = {
    "adaptive_grad_clip", "add_noise", "clip", "clip_by_block_rms", "scale",
    "clip_by_global_norm", "differentially_private_aggregate", "dpsgd", "freeze",
    "measure_with_ema", "scale_by_schedule", "stateless", "stateless_with_tree_map",
}  # fmt: skip
COVERED = {
    "ema", "trace", "scale_by_backtracking_linesearch", "scale_by_zoom_linesearch",
    "multi_transform", "inject_stateful_hyperparams", "with_extra_args_support",
}  # fmt: skip


def found():
    """All that optax makes with no more than a learning rate."""
    for module in (optax, contrib):
        for name, make in vars(module).items():
            if inspect.isclass(make) or not callable(make) or name[0] == "_":
                continue
            try:
                signature = inspect.signature(make)
            except ValueError:
                continue
            if name in REFUSED or "GradientT" not in str(signature.return_annotation):
                continue
            needed = [
                p.name
                for p in signature.parameters.values()
                if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
            ]
            yield name, make, needed


ALL = {name: (make, needed) for name, make, needed in found()}
SIMPLE = sorted(
    n for n, (_, needed) in ALL.items() if needed in ([], ["learning_rate"])
)
SIMPLE = [name for name in SIMPLE if "chain" not in name]


def make(name):
    if name not in ALL:
        return OTHERS[name]
    maker, needed = ALL[name]
    extra = {"key": 0} if "key" in inspect.signature(maker).parameters else {}
    tx = maker(*([0.1] if needed else []), **extra)
    return WRAPPERS["kernels"](tx) if name == "scale_by_muon" else tx


def state_of(tx):
    return jax.eval_shape(optax.with_extra_args_support(tx).init, PARAMS)


def check(state):
    """Whatever has a number for each weight of a kernel is under its mask."""
    leaves, masks = jax.tree.leaves(state), rewind.over((PARAMS, state), KEPT)[4:]
    for leaf, mask in zip(leaves, masks, strict=True):
        whole = leaf.shape[-2:] in {(5, 7), (7, 3)} or leaf.shape[-1:] == (NUMBER,)
        assert (mask is not None) == whole, leaf
        assert mask is None or leaf.shape[-mask.ndim :] == mask.shape


def test_nothing_of_optax_is_forgotten():
    covered = {*SIMPLE, *OTHERS, *WRAPPERS, *STATELESS, *COVERED}
    assert {*ALL} - covered == set()


@pytest.mark.filterwarnings("ignore:`optimistic_adam` is deprecated")
@pytest.mark.parametrize("name", [*SIMPLE, *OTHERS])
def test_all_moments_of_every_optimizer_are_put_under_the_masks(name):
    check(state_of(make(name)))


@pytest.mark.parametrize("name", WRAPPERS)
def test_all_moments_in_every_wrapper_are_put_under_the_masks(name):
    check(state_of(WRAPPERS[name](optax.scale_by_lbfgs(30))))


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("MultiSteps", "partition"),
        ("lookahead", "flatten"),
        ("partition", "MultiSteps"),
        ("partition", "inject_hyperparams"),
        ("flatten", "mechanize"),
        ("mechanize", "flatten"),
        ("inject_hyperparams", "masked by a prefix"),
    ],
)
def test_all_moments_in_wrapped_wrappers_are_put_under_the_masks(outer, inner):
    check(state_of(WRAPPERS[outer](WRAPPERS[inner](optax.adam(0.1)))))


@pytest.mark.parametrize("name", ["adam of adam", "flattened L-BFGS"])
def test_pruned_moments_become_0_and_the_others_stay(name):
    ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), state_of(OTHERS[name]))
    params, state = rewind.to((PARAMS, ones), KEPT)
    assert_same(params, masks_lib.apply(PARAMS, KEPT))
    total, kept = NUMBER, NUMBER - 56 + sum(masks_lib.count(KEPT)[:1])
    for leaf in jax.tree.leaves(state):
        if leaf.shape == (7, 3):
            np.testing.assert_array_equal(leaf, KEPT["head"]["w"])
        elif leaf.shape[-1:] == (total,):
            assert (leaf.sum(-1) == kept).all()
        elif leaf.shape != (5, 7):
            assert (leaf == 1).all()


def test_weights_do_not_come_back_in_the_next_update():
    tx = OTHERS["adam of adam"]
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    _, state = tx.update(PARAMS, state, PARAMS)
    params, state = rewind.to((PARAMS, state), KEPT)
    updates, _ = tx.update(masks_lib.apply(PARAMS, KEPT), state, params)
    assert_same(updates, masks_lib.apply(updates, KEPT))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            state_of(WRAPPERS["partition"](optax.flatten(optax.adam(1)))),
            "rewind: 1/inner_states/slow/inner_state/0/mu is a vector of unknown",
        ),
        (
            {"head": jax.eval_shape(optax.adam(1).init, PARAMS["head"])},
            "rewind: 1/head/0/mu has moments of head alone",
        ),
        (
            jax.eval_shape(optax.adam(1).init, PARAMS["head"]["w"]),
            "rewind: 1/0/mu has moments of head/w alone",
        ),
        (state_of(contrib.galore(0.1)), r"rewind: 1/0 has moments of sums of weights"),
        (state_of(contrib.cocob(0.1)), r"rewind: 1/2 divides by its moments"),
    ],
)
def test_moments_of_unknown_weights_are_an_error_that_names_them(state, said):
    with pytest.raises(ValueError, match=said):
        rewind.over((PARAMS, state), KEPT)


def test_a_flattened_state_needs_the_parameters():
    with pytest.raises(ValueError, match="0/mu is a vector of unknown"):
        rewind.over(state_of(optax.flatten(optax.adam(1))), KEPT)
    whole = {"w": boolean(1, 0), "v": boolean(0, 1)}
    assert rewind.to(optax.TraceState(jnp.ones(4)), whole).trace.tolist() == [
        0,
        1,
        1,
        0,
    ]


def test_states_of_other_networks_are_left_alone():
    other = {"w": jnp.ones((5, 7)), "v": jnp.ones((9, 9))}
    state = jax.tree.map(jnp.ones_like, optax.adam(1).init(other))
    assert_same(rewind.to((PARAMS, other, state), KEPT)[1:], (other, state))
    statistics = {"body": {"mean": jnp.ones(7)}, "flat": jnp.ones(NUMBER)}
    assert_same(rewind.to((PARAMS, statistics), KEPT)[1], statistics)


def test_a_stack_of_states_needs_a_stack_of_masks():
    state = PARAMS, optax.adam(1).init(PARAMS)
    two = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    with pytest.raises(ValueError, match="nothing in the state is shaped like"):
        rewind.to(two, KEPT)


def test_masks_that_fit_nothing_are_an_error():
    for state in ({"w": jnp.ones(3)}, optax.adam(1).init(PARAMS["body"]["b"]), 3, "x"):
        with pytest.raises(ValueError, match="nothing in the state is shaped like"):
            rewind.to(state, KEPT)


def test_a_state_may_hold_anything_else():
    state = {"params": PARAMS, "f": len, "name": "x", "key": jax.random.key(0), "n": 3}
    state |= {"none": None, "text": np.array(["x"])}
    for masks in (KEPT, jax.tree.map(jnp.asarray, KEPT)):
        put = rewind.to(state, masks)
        assert (put["f"], put["name"], put["none"]) == (len, "x", None)
        assert put["text"] is state["text"]
        assert (put["key"] == state["key"]) and put["n"] == 3
        assert_same(put["params"], masks_lib.apply(PARAMS, KEPT))
    strange = {"w": jnp.ones((1, 2)), "f": len, "key": jax.random.key(0), "s": "x"}
    put = rewind.to(strange, {"w": boolean([1, 0]), "f": None, "key": None, "s": None})
    assert (put["w"].tolist(), put["f"], put["s"]) == ([[1, 0]], len, "x")


# ------------------------------------------------------------------ sparse_optimizer


def loss(params):
    hidden = jnp.tanh(jnp.arange(5.0) @ params["body"]["w"] + params["body"]["b"])
    return jnp.sum((hidden @ params["head"]["w"] + params["head"]["b"] - 1) ** 2)


def train(tx, params, state, loss):
    tx = optax.with_extra_args_support(tx)
    for _ in range(3):
        value, grad = jax.value_and_grad(loss)(getattr(params, "fast", params))
        extra = {"value": value, "grad": grad, "value_fn": loss}
        updates, state = tx.update(grad, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, state


INSIDE = {
    "adam": lambda sparse: optax.partition(
        {"slow": sparse(optax.adam(0.1)), "fast": sparse(optax.adam(0.2))}, LABELS
    ),
    "biases alone": lambda sparse: optax.partition(
        {"slow": sparse(optax.adam(0.1)), "fast": sparse(optax.sgd(0.1))},
        {"body": {"w": "slow", "b": "fast"}, "head": {"w": "slow", "b": "fast"}},
    ),
    "nothing": lambda sparse: optax.partition(
        {"slow": sparse(optax.adam(0.1)), "fast": sparse(optax.sgd(0.1))},
        {"body": "fast", "head": "fast"},
    ),
    "flattened": lambda sparse: optax.partition(
        {"slow": sparse(optax.flatten(optax.adam(0.1))), "fast": sparse(optax.sgd(1))},
        LABELS,
    ),
    "around": lambda sparse: sparse(OTHERS["adam of adam"]),
    "line search": lambda sparse: sparse(
        optax.chain(
            optax.sgd(0.1), optax.scale_by_backtracking_linesearch(2, store_grad=True)
        )
    ),
    "lookahead": lambda sparse: sparse(optax.lookahead(optax.adam(0.1), 2, 0.5)),
    "MultiSteps": lambda sparse: optax.MultiSteps(sparse(optax.adam(0.1)), 2),
    "flatten": lambda sparse: sparse(optax.flatten(optax.adam(0.1))),
    "schedule_free": lambda sparse: sparse(contrib.schedule_free_sgd(0.1)),
}


@pytest.mark.parametrize("name", INSIDE)
def test_sparse_training_is_that_of_a_loss_with_the_masks_in_it(name):
    noise = np.random.default_rng(0)
    dense = jax.tree.map(lambda w: noise.normal(size=w.shape).astype("f"), PARAMS)
    start = rewind.to(dense, KEPT)
    if name == "lookahead":
        start = optax.LookaheadParams.init_synced(start)
    plain = INSIDE[name](lambda tx: tx)
    sparse = INSIDE[name](lambda tx: sparse_optimizer(tx, KEPT))
    wanted = train(
        plain, start, plain.init(start), lambda p: loss(masks_lib.apply(p, KEPT))
    )
    found = train(sparse, start, sparse.init(start), loss)
    if name == "MultiSteps":  # which adds up gradients outside
        found, wanted = found[:1], wanted[:1]
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    fast = getattr(found[0], "fast", found[0])
    assert_same(fast, masks_lib.apply(fast, KEPT))


def test_what_mixes_weights_keeps_pruned_ones_at_0_in_a_sparse_optimizer():
    sparse = sparse_optimizer(contrib.muon(0.1), KEPT)
    params, _ = train(sparse, PARAMS, sparse.init(PARAMS), loss)
    assert_same(params, masks_lib.apply(params, KEPT))
