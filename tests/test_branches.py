"""Branches: where the controlled variations of a ticket start."""

import dataclasses
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import assert_same

from lth_jax import branch_masks, branches, models, prune, rewind, scores, symmetry
from lth_jax import masks as masks_lib
from lth_jax.branches import BRANCHES
from lth_jax.given import GIVEN, Given
from lth_jax.given import check as check_given
from lth_jax.optim import optimizers as optim
from lth_jax.rule import Rule
from lth_jax.train import state
from lth_jax.workdir import Member

REWIND_STEP, LENGTH = 3, 9
NETWORK = models.create("lenet", num_classes=3, widths=(6,))
EXAMPLE = jax.ShapeDtypeStruct((2, 2, 1), jnp.float32)
PROGRAM = SimpleNamespace(network=NETWORK, feed=SimpleNamespace(example=EXAMPLE))


@functools.cache
def initialise(seed):
    adam = optim.optimizer("adam", 0.1, None)
    return state.create(jax.random.key(seed), jnp.zeros((1, 2, 2, 1)), NETWORK, adam)


@functools.cache
def dense(step):
    """A state in which every part tells how many steps it has taken."""
    params, opt_state = jax.tree.map(
        lambda w: w + step, (initialise(0).params, initialise(0).opt_state)
    )
    return dataclasses.replace(
        initialise(0),
        step=jnp.int32(step),
        params=params,
        batch_stats={"mean": jnp.float32(step)},
        opt_state=opt_state,
    )


@functools.cache
def masks(setting=0):
    return prune.random(jax.random.key(1 + setting), initialise(0).masks, 0.4)


@functools.cache
def trained():
    """What the ticket came to: unlike anything that was dense."""
    final = dense(LENGTH)
    doubled = jax.tree.map(lambda w: 2 * w, final.params)
    return rewind.to(dataclasses.replace(final, params=doubled), masks())


@functools.cache
def before():
    """What the ticket of the level before came to: of all weights."""
    tripled = jax.tree.map(lambda w: 3 * w, dense(LENGTH).params)
    return dataclasses.replace(dense(LENGTH), params=tripled)


TICKET = Member(0, REWIND_STEP, 1, "ticket", 0, learning_rate=0.1)


TABLE = [("^fc1", 0.5), (".", 1.0)]
GAVE = "two seeds"


@functools.cache
def given(weights=True):
    """Masks of two seeds from elsewhere, and weights unlike all others."""
    many = dense(LENGTH).params
    params = [jax.tree.map(lambda w, i=i: i * w, many) for i in (4, 5)]
    return Given([masks(5), masks(6)], params if weights else [])


def run(fresh=(), key=7, weights="k", clock="k", scope="global", keep=(), table=TABLE):
    """What a branch asks of a run, answered from the states above."""
    sweep = SimpleNamespace(learning_rate=(0.1, 0.2))
    rewinding = SimpleNamespace(fresh=fresh, weights=weights, clock=clock)
    pruning = SimpleNamespace(scope=scope)
    config = SimpleNamespace(rewind=rewinding, sweep=sweep, prune=pruning, given=GAVE)
    GIVEN.setdefault(GAVE, given())
    seeds = [TICKET.dense, TICKET.dense._replace(replicate=1)]
    return SimpleNamespace(
        config=config,
        rule=Rule(0.2, scope=scope, keep=keep),
        plan=SimpleNamespace(
            config=config,
            length=LENGTH,
            lengths=lambda branch, level: branch.lengths or 0.4,
            dense=seeds,
            table=table,
        ),
        dense=lambda member, step: dense(step),
        initial=lambda member, key: initialise(int(jax.random.bits(key))),
        masks=lambda ticket: masks(
            int(ticket.learning_rate != 0.1) + 2 * ticket.replicate
        ),
        trained=lambda ticket: trained(),
        previous=lambda ticket: before(),
        experiment=SimpleNamespace(program=PROGRAM),
        alignments={},
        groups=symmetry.groups(NETWORK, EXAMPLE),
        score=lambda ticket: scores.magnitude(before().params),
        key=lambda member, *purposes: jax.random.key(key),
    )


def assert_masked(started, unmasked, masks):
    """All that is shaped like the weights is exactly 0 under the mask, or untouched."""
    for tree in (lambda s: s.params, lambda s: s.opt_state[0].mu):
        for layer in ("fc", "fc1"):
            kept = masks[layer]["kernel"]
            now, before = tree(started)[layer], tree(unmasked)[layer]
            assert_same(now["kernel"], jnp.where(kept, before["kernel"], 0))
            assert_same(now["bias"], before["bias"])
    assert_same(started.masks, masks)


def start(branch, **fields):
    return branches.start(run(**fields), TICKET._replace(branch=branch))


@pytest.mark.parametrize(
    ("branch", "step"),
    [
        ("ticket", REWIND_STEP),
        ("shuffled_mask", REWIND_STEP),
        ("random_mask", REWIND_STEP),
        ("cross_lr", REWIND_STEP),
        ("dense", REWIND_STEP),
        ("rewind_0", 0),
        ("fine_tune_small", LENGTH),
    ],
)
def test_weights_and_moments_are_the_dense_networks_to_the_last_bit(branch, step):
    started = start(branch)
    assert_masked(started, dense(step), started.masks)
    assert int(started.step) == step
    assert_same(started.batch_stats, dense(step).batch_stats)


@pytest.mark.parametrize(
    "branch",
    ["ticket", "random_reinit", "rewind_0", "fine_tune", "fine_tune_small", "long"],
)
def test_these_branches_have_the_tickets_masks(branch):
    assert_same(start(branch).masks, masks())


def test_shuffled_masks_keep_as_many_weights_in_every_layer_elsewhere():
    shuffled = start("shuffled_mask").masks
    assert masks_lib.by_layer(shuffled) == masks_lib.by_layer(masks())
    assert masks_lib.overlap(shuffled, masks()) < 0.9


def test_random_masks_keep_as_many_weights_in_all():
    drawn = start("random_mask").masks
    assert masks_lib.count(drawn) == masks_lib.count(masks())
    assert masks_lib.by_layer(drawn) != masks_lib.by_layer(masks())


def test_masks_can_be_those_of_another_setting():
    assert_same(start("cross_lr").masks, masks(1))


def test_a_dense_branch_has_no_masks():
    assert masks_lib.density(start("dense").masks) == 1


def test_reinitialised_networks_start_new_on_the_tickets_part_of_the_schedule():
    started = start("random_reinit")
    fresh = initialise(int(jax.random.bits(jax.random.key(7))))
    assert_masked(started, fresh, masks())
    assert int(started.step) == REWIND_STEP
    assert_same(started.batch_stats, fresh.batch_stats)


@pytest.mark.parametrize(
    ("branch", "weights"),
    [("fine_tune", lambda: dense(LENGTH)), ("long", trained)],
)
def test_trained_weights_take_the_whole_schedule_again(branch, weights):
    unmasked = dataclasses.replace(
        weights(), step=dense(0).step, opt_state=dense(0).opt_state
    )
    started = start(branch)
    assert int(started.step) == 0
    assert_same(started.params, rewind.to(unmasked, masks()).params)
    assert_same(started.batch_stats, unmasked.batch_stats)
    assert not any(mu.any() for mu in jax.tree.leaves(started.opt_state))


@pytest.mark.parametrize("branch", ["random_reinit", "shuffled_mask", "random_mask"])
def test_what_is_drawn_depends_on_the_key_only(branch):
    first, again, other = (start(branch, key=key) for key in (7, 7, 8))
    assert_same(first, again)
    kernels = first.params["fc1"]["kernel"], other.params["fc1"]["kernel"]
    assert (kernels[0] != kernels[1]).any()


@pytest.mark.parametrize("branch", ["ticket", "rewind_0", "fine_tune", "long"])
def test_the_other_branches_draw_nothing(branch):
    assert_same(start(branch, key=7), start(branch, key=8))


def test_branches_that_train_weights_again_have_a_data_order_of_their_own():
    again = {name for name, branch in BRANCHES.items() if branch.again}
    assert again == {"fine_tune", "fine_tune_small", "long"}


def test_every_branch_stops_where_its_schedule_says():
    """A second schedule counts on from the first only where the step does."""
    stops = {name: branch.lengths for name, branch in BRANCHES.items()}
    assert stops.pop("fine_tune_small") == 2
    assert stops.pop("rigl_3") == 3
    assert stops.pop("dense_equal_bill") is None
    assert set(stops.values()) == {1}
    assert [name for name, branch in BRANCHES.items() if branch.after] == ["long"]


@pytest.mark.parametrize("part", ["params", "batch_stats", "opt_state", "step"])
def test_a_fresh_part_is_as_at_step_0_and_the_others_are_rewound(part):
    unmasked = dataclasses.replace(
        dense(REWIND_STEP), **{part: getattr(dense(0), part)}
    )
    started = start("ticket", fresh=(part,))
    assert_masked(started, unmasked, masks())
    assert_same(started.batch_stats, unmasked.batch_stats)
    assert_same(started.step, unmasked.step)
    assert_same(started.opt_state[0].count, unmasked.opt_state[0].count)


def test_everything_fresh_is_rewinding_to_step_0():
    parts = ("params", "batch_stats", "opt_state", "step")
    assert_same(start("ticket", fresh=parts), start("rewind_0"))


def test_the_dense_states_stay_unmasked():
    before = jax.tree.map(np.array, [dense(0), dense(REWIND_STEP)])
    for branch in BRANCHES:
        start(branch)
    assert_same([dense(0), dense(REWIND_STEP)], before)
    assert masks_lib.density(dense(REWIND_STEP).masks) == 1


def test_a_change_sees_masks_and_dense_weights_and_moves_no_clock(monkeypatch):
    """Of one layer alone, too; what is pruned stays 0."""

    def change(state, key):
        assert_same(state.masks, masks())
        assert (state.params["fc"]["kernel"] != 0).all()
        noise = jax.random.normal(key, state.params["fc"]["kernel"].shape)
        params = state.params | {"fc": state.params["fc"] | {"kernel": noise}}
        return dataclasses.replace(state, params=params, step=jnp.int32(1))

    branch = branches.Branch("k", "k", change=change)
    monkeypatch.setitem(BRANCHES, "noise", branch)
    started, ticket = start("noise"), start("ticket")
    assert int(started.step) == REWIND_STEP
    assert_same(started.params["fc1"], ticket.params["fc1"])
    kernel = started.params["fc"]["kernel"]
    assert not kernel[~masks()["fc"]["kernel"]].any()
    assert (kernel != ticket.params["fc"]["kernel"]).any()
    assert not branch.from_dense


@pytest.mark.parametrize("branch", ["ticket", "shuffled_mask", "cross_lr"])
def test_without_its_masks_no_branch_starts(branch):
    lost = run()
    lost.masks = lambda ticket: None
    assert branches.start(lost, TICKET._replace(branch=branch)) is None


def test_masks_of_a_rate_that_diverged_are_none():
    lost = run()
    lost.masks = lambda ticket: masks() if ticket.learning_rate == 0.1 else None
    assert branches.start(lost, TICKET._replace(branch="cross_lr")) is None


# ----------------------------------------------------- masks of other origins

SIZE, KEPT = 24 + 18, 16  # fc1 4 x 6 and fc 6 x 3, at density 0.4
SIBLING = TICKET._replace(replicate=1)


def numbers(mask):
    """How many weights of a tree fc1 and fc keep."""
    counts = masks_lib.by_layer(mask)
    return counts["fc1/kernel"][0], counts["fc/kernel"][0]


@pytest.mark.parametrize(
    ("branch", "wanted"),
    [
        ("uniform_mask", (9, 7)),  # 9.14 and 6.86
        ("erk_mask", (8, 8)),  # 16 * 10 / 19 and 16 * 9 / 19
        ("set", (8, 8)),
        ("rigl", (8, 8)),
        ("rigl_3", (8, 8)),
        ("table_mask", (12, 18)),  # as the config has it, whatever the ticket's
        ("gmp", (24, 18)),
        ("dense_equal_bill", (24, 18)),
    ],
)
def test_masks_have_their_layers_numbers_exactly(branch, wanted):
    assert masks_lib.count(masks())[0] == KEPT
    started = start(branch)
    assert numbers(started.masks) == wanted
    assert int(started.step) == 0
    assert_masked(started, dense(0), started.masks)


@pytest.mark.parametrize(
    ("path", "shape", "sides"),
    [
        ("block1/attention/query/kernel", (192, 12, 16), (192, 192)),
        ("value/kernel/value", (192, 12, 16), (192, 192)),
        ("attention/out/kernel", (12, 16, 192), (192, 192)),
        ("out/kernel", (192, 10), (192, 10)),
        ("conv1/kernel", (3, 16, 32), (3, 16, 32)),
        ("layer_out/kernel", (3, 16, 32), (3, 16, 32)),
    ],
)
def test_heads_of_attention_are_no_sides_of_a_kernel(path, shape, sides):
    assert branch_masks._shape(path, jnp.ones(shape, bool)) == sides


@pytest.mark.parametrize("branch", ["uniform_mask", "erk_mask", "table_mask", "rigl"])
def test_allocated_masks_are_drawn_by_the_key(branch):
    first, again, other = (start(branch, key=key).masks for key in (7, 7, 8))
    assert_same(first, again)
    assert masks_lib.checksum(first) != masks_lib.checksum(other)


def test_branches_with_the_same_masks_draw_them_by_their_names():
    """ERK's, SET's and RigL's first masks are others, of the run's own keys."""
    asked = []
    noted = run()
    noted.key = lambda member, *purposes: asked.append(purposes) or jax.random.key(0)
    for branch in ("erk_mask", "set", "rigl"):
        branches.start(noted, TICKET._replace(branch=branch))
    assert len({*asked}) == 3


def sizes(state):
    return np.abs(np.concatenate([state.params[x]["kernel"].ravel() for x in FLAT]))


def flat(mask):
    return np.concatenate([mask[x]["kernel"].ravel() for x in FLAT])


FLAT = ("fc", "fc1")


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_inverted_masks_keep_the_lowest_scores_and_as_many(scope):
    started = start("inverted_mask", scope=scope)
    if scope == "global":
        lowest = np.sort(sizes(before()))[:KEPT]
        np.testing.assert_array_equal(
            np.sort(sizes(before())[flat(started.masks)]), lowest
        )
        return
    assert numbers(started.masks) == numbers(masks())
    for layer, number in zip(("fc1", "fc"), numbers(masks())):
        weights = np.abs(before().params[layer]["kernel"])
        kept = np.asarray(started.masks[layer]["kernel"])
        np.testing.assert_array_equal(
            np.sort(weights[kept]), np.sort(weights.ravel())[:number]
        )


@pytest.mark.parametrize("method", ["magnitude", "lamp"])
def test_inverted_masks_are_of_every_method_that_has_scores(method):
    """Of LAMP what is never pruned has none."""
    scored = {"magnitude": scores.magnitude(before().params)}
    scored["lamp"] = scores.lamp(before().params, masks_lib.full(before().params))
    inverted = run()
    inverted.score = lambda ticket: scored[method]
    kept = branches.start(inverted, TICKET._replace(branch="inverted_mask")).masks
    assert flat(kept).sum() == KEPT
    its = np.concatenate([scored[method][x]["kernel"].ravel() for x in FLAT])
    assert its[flat(kept)].max() <= its[~flat(kept)].min()


@pytest.mark.parametrize("change", ["noise_1", "magnitudes"])
def test_masks_and_weights_that_are_drawn_are_independent(monkeypatch, change):
    """With one key, the weights that are kept would be those of the highest draws."""
    seen = []

    def kept_of(state, key):
        changed = BRANCHES[change].change(state, key)
        seen.append((state, changed))
        return changed

    branch = dataclasses.replace(BRANCHES[change], masks="shuffled", change=kept_of)
    monkeypatch.setitem(BRANCHES, "both", branch)
    ups, number = 0, 0
    for key in range(40):
        start("both", key=key)
        state, changed = seen[-1]
        old, new = (np.asarray(x.params["fc1"]["kernel"]) for x in (state, changed))
        up = (new > old) if change == "noise_1" else new > 0
        kept = np.asarray(state.masks["fc1"]["kernel"])
        ups, number = ups + up[kept].sum(), number + kept.sum()
    assert abs(ups / number - 0.5) < 4 * 0.5 / np.sqrt(number)


def test_inverted_masks_keep_first_what_went_before_the_smallest_first():
    """All of it scores 0, and yet the place in the network does not decide."""
    wide = prune.random(jax.random.key(5), initialise(0).masks, 0.5)
    pruned = rewind.to(dataclasses.replace(before(), masks=wide), wide)
    later = run()
    later.previous = lambda ticket: pruned
    later.score = lambda ticket: scores.magnitude(pruned.params)
    kept = branches.start(later, TICKET._replace(branch="inverted_mask")).masks
    gone = ~flat(wide)
    assert gone.sum() == 21 > flat(kept).sum() == KEPT
    assert gone[flat(kept)].all()
    whole = sizes(dense(LENGTH))
    np.testing.assert_array_equal(
        np.sort(whole[flat(kept)]), np.sort(whole[gone])[:KEPT]
    )


@functools.cache
def before_of(replicate):
    """Another trained network a replicate."""
    params = jax.tree.map(lambda w: w * (1 + replicate), initialise(replicate).params)
    return dataclasses.replace(before(), params=params)


def paired(branch, scope="global", keep=()):
    """The masks of a branch, the ticket's own and its sibling's; and both weights."""
    both = run(scope=scope, keep=keep)
    both.previous = lambda ticket: before_of(ticket.replicate)
    found = branches.start(both, TICKET._replace(branch=branch)).masks
    return found, both.masks(TICKET), both.masks(SIBLING)


def test_a_sibling_is_the_next_replicate_and_the_first_of_the_last():
    found, _, sibling = paired("sibling_mask")
    assert_same(found, sibling)
    last = branches.start(run(), SIBLING._replace(branch="sibling_mask"))
    assert_same(last.masks, masks())


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_union_is_part_of_both_and_of_a_tickets_number(scope):
    found, one, other = paired("union_mask", scope)
    kept, either = flat(found), flat(one) | flat(other)
    assert either.sum() > KEPT
    assert not kept[~either].any()
    assert masks_lib.count(found) == masks_lib.count(one)
    if scope == "layer":
        assert masks_lib.by_layer(found) == masks_lib.by_layer(one)
        return
    total = sizes(before_of(0)) + sizes(before_of(1))
    np.testing.assert_array_equal(np.sort(total[kept]), np.sort(total[either])[-KEPT:])


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_an_intersection_is_filled_up_to_a_tickets_number(scope):
    found, one, other = paired("intersection_mask", scope)
    kept, shared = flat(found), flat(one) & flat(other)
    assert masks_lib.count(found) == masks_lib.count(one)
    if scope == "layer":
        assert masks_lib.by_layer(found) == masks_lib.by_layer(one)
    else:
        assert 0 < shared.sum() < KEPT
        assert kept[shared].all()
        total = sizes(before_of(0)) + sizes(before_of(1))
        rest = np.sort(total[kept & ~shared])
        np.testing.assert_array_equal(rest, np.sort(total[~shared])[-len(rest) :])


def test_a_transported_mask_is_the_siblings_in_the_order_of_its_own_units():
    """Of networks that are one, but for the order of their units."""
    order = {1: np.array([3, 1, 0, 5, 4, 2])}
    axes = symmetry.groups(NETWORK, EXAMPLE).params
    trained = symmetry.permute(dense(LENGTH).params, order, axes)
    other, asked = dataclasses.replace(dense(LENGTH), params=trained), []

    def of(member, step):
        asked.append((member.replicate, step))
        return other if member.replicate and step == LENGTH else dense(step)

    moved = run()
    moved.dense = of
    found = branches.start(moved, TICKET._replace(branch="transported"))
    wanted = symmetry.permute(masks(2), symmetry.inverse(order), axes)
    assert_masked(found, dense(REWIND_STEP), wanted)
    assert masks_lib.by_layer(wanted) == masks_lib.by_layer(masks(2))
    assert masks_lib.checksum(wanted) != masks_lib.checksum(masks(2))
    assert {(0, LENGTH), (1, LENGTH)} <= {*asked}
    asked.clear()
    branches.start(moved, TICKET._replace(branch="transported", rewind_step=0, level=2))
    assert (1, LENGTH) not in asked  # matched once, whatever the level


@pytest.mark.parametrize(
    "branch", ["sibling_mask", "transported", "union_mask", "intersection_mask"]
)
def test_without_its_siblings_masks_none_starts(branch):
    lost = run()
    lost.masks = lambda ticket: None if ticket.replicate else masks()
    assert branches.start(lost, TICKET._replace(branch=branch)) is None


@pytest.mark.parametrize(
    "branch",
    [name for name, branch in BRANCHES.items() if branch.masks not in ("own", "none")],
)
@pytest.mark.parametrize("layer", ["fc", "fc1"])
def test_what_is_kept_whole_no_source_prunes(branch, layer, monkeypatch):
    keep = (f"^{layer}/",)
    held = run(keep=keep, table=[(".", 0.5)])
    held.masks = lambda ticket: jax.tree_util.tree_map_with_path(
        lambda path, m: m | masks_lib.name(path).startswith(f"{layer}/"),
        masks(2 * ticket.replicate),
    )
    both = [held.masks(TICKET._replace(replicate=i)) for i in (0, 1)]
    monkeypatch.setitem(GIVEN, GAVE, Given(both, given().params))
    started = branches.start(held, TICKET._replace(branch=branch))
    assert started.masks[layer]["kernel"].all()
    siblings = ("sibling_mask", "transported", "given_sibling")
    if branch not in ("table_mask", "cross_lr", *siblings):
        assert masks_lib.count(started.masks) == masks_lib.count(held.masks(TICKET))
    if started.course:
        assert started.course.goal[layer]["kernel"] is None


# ----------------------------------------------------------------------- given


def test_given_weights_begin_under_given_masks_with_new_moments():
    started = start("given")
    whole = dataclasses.replace(dense(LENGTH), params=given().params[0])
    assert_same(
        started,
        rewind.to(
            dataclasses.replace(
                dense(0), params=whole.params, step=jnp.int32(REWIND_STEP)
            ),
            masks(5),
        ),
    )


def test_given_parts_have_the_shapes_of_the_network():
    params, stats = {"w": np.ones((2, 3))}, {"mean": np.ones(3)}
    kept = [{"w": np.ones((2, 3), bool)}]
    check_given(Given(kept, [params], [stats]), params, stats)
    for part, ours in (("params", {"w": np.ones(6)}), ("batch_stats", {"mean": 0.0})):
        with pytest.raises(ValueError, match=rf"^{part}: \w+ is \(.*\), and should be"):
            check_given(Given(kept, **{part: [ours]}), params, stats)
    for other in ({}, {"norm": stats}):
        with pytest.raises(ValueError, match=r"^batch_stats: .*nothing"):
            check_given(Given(kept, [], [other]), params, stats)


def test_masks_without_weights_are_those_of_the_dense_network(monkeypatch):
    monkeypatch.setitem(GIVEN, GAVE, given(weights=False))
    assert_same(start("given"), rewind.to(dense(REWIND_STEP), masks(5)))


def test_controls_of_weights_under_masks_have_no_zeros(monkeypatch):
    """A layer that was saved whole is taken whole."""
    under = [masks_lib.apply(given().params[0], masks(5)), given().params[1]]
    monkeypatch.setitem(GIVEN, GAVE, Given(given().masks, under))
    for branch in ("given_shuffled", "given_random", "given_sibling"):
        started = start(branch)
        for layer in ("fc1", "fc"):
            own, known, kept, found, weights = (
                np.asarray(of[layer]["kernel"])
                for of in (
                    started.masks,
                    masks(5),
                    dense(REWIND_STEP).params,
                    started.params,
                    given().params[0],
                )
            )
            np.testing.assert_array_equal(found, own * np.where(known, weights, kept))
            assert (own & ~known).any()
    second = branches.start(run(), TICKET._replace(branch="given_sibling", replicate=1))
    assert_same(
        second.params["fc1"], masks_lib.apply(given().params[1], masks(5))["fc1"]
    )


def test_given_batch_statistics_come_with_the_weights(monkeypatch):
    stats = [{"mean": jnp.float32(i)} for i in (70, 80)]
    found = dataclasses.replace(given(), batch_stats=stats)
    monkeypatch.setitem(GIVEN, GAVE, found)
    assert float(start("given").batch_stats["mean"]) == 70


def test_replicates_beyond_the_given_begin_with_the_first_again():
    found = [
        branches.start(run(), TICKET._replace(branch="given", replicate=i)).masks
        for i in range(3)
    ]
    assert_same(found, [masks(5), masks(6), masks(5)])
    assert_same(start("given_sibling").masks, masks(6))


def test_controls_of_given_masks_keep_as_many_weights():
    counts = masks_lib.by_layer(masks(5))
    assert masks_lib.by_layer(start("given_shuffled").masks) == counts
    assert masks_lib.count(start("given_random").masks) == masks_lib.count(masks(5))
    assert_same(start("given_reinit").masks, masks(5))
    assert (start("given_reinit").params["fc"]["bias"] == 0).all()


# --------------------------------------------------------------------- courses


def test_only_what_moves_or_is_stretched_is_on_a_course():
    on_course = {name for name in BRANCHES if start(name).course}
    assert on_course == {"set", "rigl", "rigl_3", "gmp", "dense_equal_bill"}


@pytest.mark.parametrize(
    ("branch", "stretch"),
    [("set", 1), ("rigl", 1), ("rigl_3", 3), ("gmp", 1), ("dense_equal_bill", 0.4)],
)
def test_a_course_goes_to_the_tickets_numbers_from_where_it_begins(branch, stretch):
    course = start(branch).course
    goal = {path: int(n) for path, n in masks_lib.leaves(course.goal)}
    assert goal == {p: kept for p, (kept, _) in masks_lib.by_layer(masks()).items()}
    assert float(course.stretch) == np.float32(stretch)
    assert int(course.since) == 0
    assert [float(x) for x in jax.tree.leaves(course.spent)] == [0, 0]


def test_a_branch_of_ones_own_may_move_from_k(monkeypatch):
    monkeypatch.setitem(BRANCHES, "mine", branches.Branch("k", "k", mover="rigl"))
    started = start("mine")
    assert_same(started.masks, masks())
    assert int(started.course.since) == REWIND_STEP


# --------------------------------------------------------------------- origins


def test_what_is_the_same_whatever_the_rewind_step():
    once = {name for name, branch in BRANCHES.items() if branch.once}
    assert once == {
        "uniform_mask",
        "erk_mask",
        "table_mask",
        "set",
        "rigl",
        "rigl_3",
        "gmp",
        "dense_equal_bill",
    }


PARTS = ("params", "batch_stats", "opt_state", "step")
K, END, FIRST = ("k",) * 4, ("end",) * 4, ("0",) * 4


@pytest.mark.parametrize(
    ("branch", "level", "fields", "wanted"),
    [
        ("ticket", 1, {}, K),
        ("rewind_0", 1, {"weights": "trained", "clock": "end"}, FIRST),
        ("dense", 0, {"weights": "trained", "clock": "end"}, K),
        ("random_reinit", 1, {}, ("init", "init", "init", "k")),
        ("random_reinit", 1, {"clock": "end"}, ("init", "init", "init", "end")),
        ("ticket", 1, {"weights": "trained"}, ("before", "before", "before", "k")),
        ("ticket", 1, {"clock": "end"}, ("k", "k", "k", "end")),
        (
            "ticket",
            1,
            {"clock": "end", "fresh": ("opt_state",)},
            ("k", "k", "0", "end"),
        ),
        (
            "shuffled_mask",
            2,
            {"weights": "trained", "clock": "end"},
            ("before", "before", "before", "end"),
        ),
        ("fine_tune", 1, {"weights": "trained"}, ("end", "end", "0", "0")),
        ("fine_tune_small", 1, {"clock": "end"}, END),
        ("long", 1, {"weights": "trained"}, ("ticket", "ticket", "0", "0")),
        ("ticket", 1, {"fresh": ("step",)}, ("k", "k", "k", "0")),
        ("ticket", 1, {"fresh": PARTS}, FIRST),
        ("fine_tune", 1, {"fresh": PARTS}, ("end", "end", "0", "0")),
        (
            "ticket",
            1,
            {"weights": "trained", "fresh": ("opt_state",)},
            ("before", "before", "0", "k"),
        ),
        (
            "ticket",
            1,
            {"weights": "trained", "clock": "end", "fresh": ("step", "params")},
            ("0", "before", "before", "end"),
        ),
    ],
)
def test_every_part_of_a_start_has_its_origin(branch, level, fields, wanted):
    rewinding = run(**fields).config.rewind
    found = branches.origins(BRANCHES[branch], level, rewinding)
    assert tuple(found[part] for part in PARTS) == wanted


def test_trained_weights_go_on_from_the_step_of_the_rewind_state():
    started = start("ticket", weights="trained")
    assert_masked(started, before(), masks())
    assert int(started.step) == REWIND_STEP
    assert_same(started.batch_stats, before().batch_stats)


def test_rewound_weights_may_go_on_at_the_end_of_the_schedule():
    started = start("ticket", clock="end")
    assert_masked(started, dense(REWIND_STEP), masks())  # with their own moments
    assert int(started.step) == LENGTH


@pytest.mark.parametrize(
    "branch", ["signs", "magnitudes", "permuted", "noise_0.5", "noise_1", "noise_2"]
)
def test_ablated_weights_start_where_the_ticket_does(branch):
    started, ticket = start(branch), start("ticket")
    assert_same(started.masks, masks())
    assert_same(started.opt_state, ticket.opt_state)
    assert_same(started.step, ticket.step)
    for layer in FLAT:
        now, was = (one.params[layer] for one in (started, ticket))
        kept = masks()[layer]["kernel"]
        assert not now["kernel"][~kept].any()
        assert_same(now["bias"], was["bias"])
        assert (now["kernel"][kept] != was["kernel"][kept]).any()
    if branch == "permuted":
        np.testing.assert_array_equal(np.sort(sizes(started)), np.sort(sizes(ticket)))


def test_noise_of_twice_the_share_is_twice_as_much():
    """Of one key: that of the branch's name is another in a run."""
    of = {n: sizes(start(f"noise_{n}")) for n in ("0.5", "1", "2")}
    ticket = sizes(start("ticket"))
    moved = {n: np.abs(x - ticket).sum() for n, x in of.items()}
    assert moved["0.5"] < moved["1"] < moved["2"]
