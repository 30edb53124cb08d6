"""Judge: masks of other tools as files, their trials, and what is refused."""

import contextlib
import dataclasses
import html
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from trees import assert_same

from lth_jax import config as config_lib
from lth_jax import evidence, export, judge, models, prune
from lth_jax import masks as masks_lib
from lth_jax.branch_masks import FROM_ELSEWHERE
from lth_jax.errors import ConfigError, ExportError
from lth_jax.export import Ticket
from lth_jax.given import Given
from lth_jax.judge import claims, facts, files, planted, reading, trials
from lth_jax.judge.files import MasksError
from lth_jax.optim import optimizers as optim
from lth_jax.train import state
from lth_jax.train.experiment import Experiment
from lth_jax.workdir import Member, Workdir

ABOUT = {
    "model": {"name": "lenet", "options": {"widths": (6,)}},
    "data": {"shape": [2, 2, 1]},
}
NETWORK = models.create("lenet", num_classes=3, widths=(6,))
STATE = state.create(
    jax.random.key(0),
    jnp.zeros((1, 2, 2, 1)),
    NETWORK,
    optim.optimizer("sgd", 0.1, None),
)
MASKS = prune.random(jax.random.key(1), STATE.masks, 0.4)
OF = files.layout(STATE.params, {}, STATE.masks, ABOUT)
FC1, FC = (np.asarray(MASKS[layer]["kernel"]) for layer in ("fc1", "fc"))
SPARSE = masks_lib.apply(STATE.params, MASKS)


def save(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        safetensors.numpy.save_file(
            {n: np.ascontiguousarray(x) for n, x in arrays.items()}, path
        )
    return path


def kernels(of):
    return {name: np.asarray(of[name]["kernel"]) for name in ("fc1", "fc")}


# ------------------------------------------------------------------------ files


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "arrays",
    [
        {"fc1/kernel": FC1, "fc/kernel": FC},
        {"fc1.kernel": FC1.astype(np.float32), "fc.kernel": FC.astype(np.uint8)},
        {f"{n}/kernel": w for n, w in kernels(SPARSE).items()},
        {"fc1.weight": FC1.T, "fc.weight": FC.T},
        {"module.fc1.weight": FC1.T, "module.fc.weight": FC.T},
        {f"{n}.weight": w.T for n, w in kernels(SPARSE).items()},
        {f"{n}.weight_orig": w.T for n, w in kernels(STATE.params).items()}
        | {"fc1.weight_mask": FC1.T * 1.0, "fc.weight_mask": FC.T * 1.0}
        | {"fc.bias": np.zeros(3, np.float32)},
    ],
)
def test_masks_of_any_tool_are_the_same_masks(arrays, suffix, tmp_path):
    found, _ = files.read_masks(save(tmp_path / f"masks{suffix}", arrays), OF)
    assert_same(found, MASKS)


def test_tickets_of_ours_are_read_with_what_they_say(tmp_path):
    path = tmp_path / "ticket.safetensors"
    export.save_ticket(path, Ticket(SPARSE, {}, MASKS, {"density": 0.4}))
    found, about = files.read_masks(path, OF)
    assert_same(found, MASKS)
    assert about["density"] == 0.4
    weights, statistics = files.read_weights(path, OF)
    assert_same(weights, SPARSE)
    assert statistics is None


def test_what_has_no_mask_is_kept_whole(tmp_path):
    path = save(tmp_path / "masks.npz", {"fc1/kernel": FC1})
    found, _ = files.read_masks(path, OF)
    assert found["fc"]["kernel"].all()


def test_torch_flattens_channels_first(tmp_path):
    about = {"model": ABOUT["model"], "data": {"shape": [1, 2, 2]}}
    of = files.layout(STATE.params, {}, STATE.masks, about)
    torch = FC1.reshape(2, 2, 6).transpose(2, 1, 0).reshape(6, 4)
    path = save(tmp_path / "masks.npz", {"fc1.weight": torch})
    assert_same(files.read_masks(path, of)[0]["fc1"]["kernel"], FC1)


def test_a_table_has_the_names_that_torch_gives_layers_of_any_network(tmp_path):
    about = {"model": {"name": "mine"}, "data": {"shape": [2, 2, 1]}}
    names = {"fc1": "net.0", "fc": "net.2"}
    of = files.layout(STATE.params, {}, STATE.masks, about, names)
    path = save(tmp_path / "m.npz", {"net.0.weight": FC1.T, "net.2.weight": FC.T})
    assert_same(files.read_masks(path, of)[0], MASKS)
    with pytest.raises(ExportError, match="--names: nothing in the table matches"):
        files.layout(STATE.params, {}, STATE.masks, about, {"fc1": "net.0"})


NAN = {"fc1/kernel": np.full((4, 6), np.nan)}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"fc1/kernel": FC1.T},
            "fc1/kernel is (6, 4), and should be (4, 6); that is an",
        ),
        ({"fc1.weight": FC1}, "is (4, 6), and should be (6, 4); that is another"),
        ({"fc1/kernel": FC1, "fc9/kernel": FC}, "there is no layer 'fc9/kernel'"),
        ({"fc1/kernel": FC1, "fc.weight": FC}, "there is no layer"),
        ({"fc1/kernel": np.full((4, 6), "x")}, "neither masks nor weights"),
        ({"fc1/kernel_mask": 3 * FC1}, "is a mask, and not of 0 and 1"),
        (NAN, "fc1/kernel is not finite"),
        ({"fc1/bias": np.zeros(6)}, "it has no mask of a layer"),
        ({"fc1/kernel": 0 * FC1, "fc/kernel": 0 * FC}, "keeps nothing of 42 weights"),
        ({"fc1/kernel": FC1 | True, "fc/kernel": FC | True}, "prunes nothing of 42"),
    ],
)
def test_masks_that_do_not_fit_are_named_in_a_line(arrays, said, tmp_path):
    path = save(tmp_path / "masks.npz", arrays)
    with pytest.raises(MasksError) as caught:
        files.read_masks(path, OF)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("masks.npz", None, "No such file"),
        ("x" * 300, None, "File name too long"),
        ("masks.txt", b"", "its suffix is none of"),
        ("masks.npz", b"PK", "cannot be read"),
        ("masks.safetensors", b"\0" * 9, "cannot be read"),
    ],
)
def test_files_that_are_none_are_named_in_a_line(name, content, said, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MasksError, match=said):
        files.read_masks(path, OF)


def test_code_in_a_file_of_torch_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")

    class Bad:
        def __reduce__(self):
            return print, ("run",)

    torch.save({"fc1.weight": Bad()}, tmp_path / "bad.pt")
    with pytest.raises(MasksError, match="code in it is not run"):
        files.read_masks(tmp_path / "bad.pt", OF)


@pytest.mark.parametrize("name", ["lenet", "resnet20"])
@pytest.mark.parametrize("is_permanent", [False, True])
def test_what_torch_prunes_has_its_counts(name, is_permanent, tmp_path):
    torch = pytest.importorskip("torch")
    pruning = pytest.importorskip("torch.nn.utils.prune")
    options = {"widths": (6,)} if name == "lenet" else {"width": 4}
    about = {"model": {"name": name, "options": options}, "data": {"shape": [8, 8, 3]}}
    network = models.create(name, num_classes=3, **options)
    sgd = optim.optimizer("sgd", 0.1, None)
    like = state.create(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), network, sgd)
    of = files.layout(like.params, like.batch_stats, like.masks, about)
    modules, prunable = torch.nn.Module(), dict(masks_lib.leaves(like.masks))
    for place, (_, index) in of.places.items():
        module = modules
        *parents, last = place.split(".")
        for part in parents:
            if part not in dict(module.named_children()):
                module.add_module(part, torch.nn.Module())
            module = module.get_submodule(part)
        array = torch.nn.Parameter(torch.randn(index.shape))
        module.register_parameter(last, array)
    places = {path: place for place, (path, _) in of.places.items()}
    pruned = [(modules.get_submodule(places[p][:-7]), "weight") for p in prunable]
    pruning.global_unstructured(pruned, pruning.L1Unstructured, amount=0.7)
    kept = [int(module.weight_mask.sum()) for module, _ in pruned]
    if is_permanent:
        for module, weight in pruned:
            pruning.remove(module, weight)
    torch.save({"state_dict": modules.state_dict()}, tmp_path / "model.pt")
    found, _ = files.read_masks(tmp_path / "model.pt", of)
    assert [n for n, _ in masks_lib.by_layer(found).values()] == kept
    # Where torch prunes, and nowhere else.
    module, _ = pruned[0]
    first = next(iter(prunable))
    flat = np.asarray(dict(masks_lib.leaves(found))[first]).ravel()
    _, index = of.places[places[first]]
    assert np.array_equal(flat[index], module.weight.detach().numpy() != 0)
    weights, statistics = files.read_weights(tmp_path / "model.pt", of)
    assert (statistics is None) == (name == "lenet")
    files.check_together("model", found, weights)


def test_weights_are_asked_for_whole(tmp_path):
    path = save(tmp_path / "w.npz", {"fc1/kernel": np.ones((4, 6), np.float32)})
    with pytest.raises(MasksError, match="fc/bias is missing; it takes all"):
        files.read_weights(path, OF)


def test_weights_are_0_just_where_masks_prune_or_nowhere():
    files.check_together("w", MASKS, SPARSE)
    files.check_together("w", MASKS, STATE.params)
    other = masks_lib.apply(STATE.params, prune.random(jax.random.key(2), MASKS, 0.4))
    with pytest.raises(MasksError, match="masks and weights disagree: of .* are 0"):
        files.check_together("w", MASKS, other)


@pytest.mark.parametrize("keeps", [0, 1])  # where a weight is 0 as it was drawn
@pytest.mark.parametrize(("zeros", "agree"), [(2, True), (3, False)])
def test_a_weight_in_a_thousand_may_be_0_as_it_was_drawn(keeps, zeros, agree):
    mask, weights = np.arange(4000) % 2 == 0, np.ones(4000)
    weights[1 - keeps : 2 * zeros : 2] = 0
    with contextlib.nullcontext() if agree else pytest.raises(MasksError):
        files.check_together("w", {"w": mask}, {"w": weights})


def test_a_layer_may_start_at_0():
    mask = np.arange(9) % 2 == 0
    files.check_together("w", {"w": mask}, {"w": np.zeros(9)})


def test_weights_beside_masks_that_have_their_own_are_refused():
    given, made = Given([MASKS], [STATE.params], []), object.__new__(Experiment)
    with pytest.raises(MasksError, match="put them into Given"):
        reading.read(given, made, config_lib.default(), weights=["w.npz"])


@pytest.mark.parametrize("fresh", [[], ["params"]])
def test_tickets_of_a_run_are_judged_on_what_they_start_from(fresh, tmp_path):
    run, config = Workdir(tmp_path), {"model": ABOUT["model"]}
    dense, first = Member(0, 0, 0, "dense", 0), Member(0, 5, 1, "ticket", 0)
    whole = dataclasses.replace(STATE, masks=jax.tree.map(jnp.ones_like, STATE.masks))
    later = jax.tree.map(lambda w: w + 1, STATE.params)
    for step, params in ((0, STATE.params), (5, later), (9, later)):
        run.save(run.dense, step, {dense: dataclasses.replace(whole, params=params)})
    run.save(run.levels, 0, {dense: whole})
    run.save(run.levels, 1, {first: dataclasses.replace(STATE, masks=MASKS)})
    config |= {"rewind": {"fresh": fresh, "weights": "k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "environment.json").write_text(json.dumps({"data": ABOUT["data"]}))
    found = reading._of_run(tmp_path, OF, None).given
    assert_same(found.masks[0], MASKS)
    assert_same(found.params[0], STATE.params if fresh else later)
    config["rewind"]["weights"] = "trained"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MasksError, match="trained weights.*export its masks"):
        reading._of_run(tmp_path, OF, None)


# ------------------------------------------------------------------------ facts


def flow(params):
    """Of a perceptron without biases, for an input of ones."""
    hidden = jnp.ones((1, 4), float) @ params["fc1"]["kernel"]
    return hidden @ params["fc"]["kernel"]


def test_weights_that_lie_on_no_way_are_counted():
    first, last = np.zeros((4, 6), bool), np.zeros((6, 3), bool)
    first[0, :2], last[1, 0], last[5, 1] = True, True, True
    masks = {
        "fc1": {"kernel": first, "bias": None},
        "fc": {"kernel": last, "bias": None},
    }
    found = facts.facts(masks, STATE.params, flow)
    assert found["connected"].startswith("yes: 2 of 4 kept weights")
    assert found["units without inputs"] == "1 of 3 in fc/kernel, 4 of 6 in fc1/kernel"
    last[1, 0] = False
    found = facts.facts(masks, STATE.params, flow)
    assert found["connected"].startswith("no: the masks cut all inputs")


@pytest.mark.parametrize(("layer", "dead"), [("query", 3), ("out", 2)])
def test_units_of_attention_are_those_of_its_heads(layer, dead):
    """In Flax of (inputs, heads, each), and (heads, each, outputs)."""
    mask = np.ones((4, 2, 3), bool)
    if layer == "query":
        mask[:, 1] = False  # a head
    else:
        mask[..., :2] = False
    number = 6 if layer == "query" else 3
    found = facts._dead({"at": {layer: {"kernel": mask, "bias": None}}})
    assert found == f"{dead} of {number} in at/{layer}/kernel"


def test_the_claimed_density_is_compared_with_what_it_may_be_of():
    kept, total = masks_lib.count(MASKS)

    def said(claimed):
        return facts.facts(MASKS, STATE.params, flow, claimed=claimed)[
            "claimed density"
        ]

    assert "that of the weights that can be pruned" in said(kept / total)
    assert "the sparsity" in said(1 - kept / total)
    assert "that of all parameters" in said((kept + 9) / (total + 9))
    assert "not that of these masks" in said(0.123)


def test_weights_that_came_back_are_counted():
    smaller = prune.random(jax.random.key(3), MASKS, 0.2)
    back = sum(
        int((np.asarray(s) & ~np.asarray(m)).sum())
        for (_, s), (_, m) in zip(masks_lib.leaves(smaller), masks_lib.leaves(MASKS))
    )
    found = facts.facts(smaller, STATE.params, flow, before=MASKS)
    assert found["nested"].startswith(f"{back} weights are kept")


# ----------------------------------------------------------------------- trials


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A planted ticket, judged with two seeds, and then with as many as it takes."""
    folder, seen = tmp_path_factory.mktemp("judged") / "run", []
    truth = planted.planted("true", seeds=2)
    with truth.config.unlocked():
        truth.config.train.length = "60it"
    found = judge.judge(
        truth.given,
        truth.config,
        folder,
        data=truth.data,
        until="resolved",
        most=3,
        margin=10.0,
        say=seen.append,
    )
    return truth, folder, [*seen, found]


def test_a_planted_ticket_is_one(judged):
    _, folder, looks = judged
    verdict = looks[-1].verdict
    assert verdict.looks == (2, 3)
    assert [*verdict.findings] == [*claims.QUESTIONS]
    shown = {name: f.verdict == claims.SHOWN for name, f in verdict.findings.items()}
    assert shown["positions"] and shown["random"]
    assert claims.REFUTED not in {f.verdict for f in verdict.findings.values()}
    for look, n in zip(looks, verdict.looks):
        assert {f.n for f in look.verdict.findings.values()} == {n}
    assert looks[0].verdict.findings["weights"].verdict == claims.OPEN


def test_the_ticket_beside_keeps_as_many_weights(judged):
    truth, folder, _ = judged
    kept, total = masks_lib.count(truth.given.masks[0])
    rows = trials.load(folder)
    found = rows[rows["level"] == 1]
    assert {*found["branch"]} >= {"ticket", "given", "given_random", "given_reinit"}
    assert np.allclose(found["density"], kept / total, rtol=0, atol=1e-7)
    # What it took to find masks from elsewhere is not known, and no number.
    billed = found[found["measure"] == "multiply_adds_to_find"]["branch"]
    assert {"ticket"} == {*billed} & {"ticket", *FROM_ELSEWHERE, "given_reinit"}


def test_what_a_page_says_is_in_its_json(judged):
    _, folder, looks = judged
    found = json.loads((folder / "verdict" / "verdict.json").read_text())
    page = html.unescape((folder / "verdict" / "index.html").read_text())
    for finding in found["findings"].values():
        assert f"<td>{finding['question']['claim']}</td>" in page
        assert f"<td>{finding['mean']:+.2f} (" in page
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert len(tables) == len({*tables}) == 4  # claims, trials, facts, rules: once each
    assert found["resolved"] == looks[-1].verdict.is_resolved
    assert found["facts"]["connected"].startswith("yes: 20 of 20")


def test_what_was_planned_otherwise_is_refused(judged):
    truth, folder, _ = judged
    with pytest.raises(ConfigError, match="planned with looks at"):
        judge.judge(truth.given, truth.config, folder, data=truth.data)


def test_a_judgement_that_has_grown_goes_on(judged):
    """The folder has three seeds then, and the first look was at two."""
    truth, folder, looks = judged
    assert json.loads((folder / "config.json").read_text())["replicates"] == 3
    page = (folder / "verdict" / "index.html").read_text()
    again, seen = truth.config.copy_and_resolve_references(), []
    with again.unlocked():
        again.replicates = 2
    how = {"until": "resolved", "most": 3, "margin": 10.0, "say": seen.append}
    found = judge.judge(truth.given, again, folder, data=truth.data, **how)
    assert found.verdict == looks[-1].verdict and not seen
    assert (folder / "verdict" / "index.html").read_text() == page


def test_what_was_planned_is_kept(tmp_path):
    folder = tmp_path / "run"
    assert trials._begin(folder, (3, 5), 0.5) == trials._begin(folder, (3, 5), 0.5) == 3
    with pytest.raises(
        ConfigError, match="^--margin: .* with 0.5, and not with 2.0; k"
    ):
        trials._begin(folder, (3, 5), 2.0)
    with pytest.raises(
        ConfigError, match=r"^--workdir: .* with looks at \[3, 5\] seeds"
    ):
        trials._begin(folder, (3,), 0.5)
    (folder / "config.json").write_text('{"replicates": 5}')
    assert trials._begin(folder, (3, 5), 0.5) == 5


@pytest.mark.parametrize("there", ["", "[2, 3]", '{"looks": [3]}'])
def test_a_damaged_plan_is_one_line(tmp_path, there):
    (tmp_path / "looks.json").write_text(there)
    with pytest.raises(ConfigError, match="^--(workdir|margin): "):
        trials._begin(tmp_path, (3,), 0.5)


def test_folders_of_something_else_are_refused_and_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"replicates": 3}')
    with pytest.raises(ConfigError, match="is of a run that judges nothing"):
        trials._begin(tmp_path, (3,), 0.5)
    assert not (tmp_path / "looks.json").exists()
    with pytest.raises(ConfigError, match="^--workdir: .*Not a directory"):
        trials._begin(tmp_path / "config.json" / "run", (3,), 0.5)


@pytest.mark.parametrize(
    ("changed", "options", "said"),
    [
        ({"replicates": 1}, {}, "config.replicates: 1 seed has no spread"),
        ({}, {"margin": 0.0}, "--margin: say which difference"),
        ({}, {"margin": float("nan")}, "--margin: say which difference"),
        ({}, {"margin": float("inf")}, "--margin: say which difference"),
        ({}, {"until": "resolved", "most": 1001}, "--most: 1001 is above 1,000"),
        ({"sweep.learning_rate": (0.1, 0.2)}, {}, "config.sweep.learning_rate"),
        ({}, {"until": "tomorrow"}, "--until: 'tomorrow' is not 'resolved'"),
        ({}, {"until": "resolved", "most": 1}, "--most: 1 seeds are fewer"),
        ({}, {"margin": -1.0}, "--margin: say which difference of accuracy"),
    ],
)
def test_trials_that_cannot_be_are_refused(changed, options, said, tmp_path):
    truth = planted.planted(seeds=2)
    truth.config.update_from_flattened_dict(changed)
    with pytest.raises(ConfigError) as caught:
        judge.judge(
            truth.given, truth.config, tmp_path / "no", data=truth.data, **options
        )
    assert said in str(caught.value)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("keep", "said"), [(False, "masks keep nothing"), (True, "masks prune nothing")]
)
def test_masks_that_are_no_ticket_are_refused(keep, said, tmp_path):
    truth = planted.planted(seeds=2)
    masks = jax.tree.map(lambda m: m & False | keep, truth.given.masks[0])
    with pytest.raises(MasksError, match=said):
        judge.judge(Given([masks]), truth.config, tmp_path / "no", data=truth.data)


def test_masks_of_different_numbers_of_weights_are_refused(tmp_path):
    truth = planted.planted(seeds=2)
    paths = []
    for i, size in enumerate((1, 2)):
        first = np.zeros((12, 32), bool)
        first[0, :size] = True
        paths.append(save(tmp_path / f"{i}.npz", {"fc1/kernel": first}))
    with pytest.raises(MasksError, match="masks keep different numbers of weights"):
        judge.judge(paths, truth.config, tmp_path / "no", data=truth.data)
    with pytest.raises(MasksError, match="--weights: 1 files for 2 of masks"):
        judge.judge(
            paths, truth.config, tmp_path / "no", data=truth.data, weights=paths[:1]
        )


def test_fresh_networks_stand_in_for_weights_that_are_not_given():
    truth = planted.planted(seeds=2)
    masks = Given(truth.given.masks[:1])
    config = trials.give(truth.config, data=truth.data)
    _, made = trials.lottery.build(config)
    found = trials.trials(config, reading.Judged(masks, None), made)
    assert found.branches == ("ticket", "given", "given_shuffled", "given_random")


def test_other_masks_are_another_run():
    one, two = (planted.planted(kind, seeds=2).given for kind in ("true", "half"))
    assert one.name == planted.planted("true", seeds=2).given.name != two.name


def test_looks_grow_by_a_half():
    assert evidence.looks(5, 20) == (5, 8, 12, 18, 20)
    assert evidence.looks(7, 7) == (7,)


@pytest.mark.slow
def test_the_command_judges_the_tickets_of_a_run(tmp_path):
    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True
        )

    config = "--config=configs/digits.py:smoke"
    call("lth_jax.main", config, f"--workdir={tmp_path / 'run'}")
    arguments = [str(tmp_path / "run"), config, f"--workdir={tmp_path / 'judged'}"]
    ran = call("lth_jax.judge", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert "weights: whole" in ran.stdout
    for claim in (
        "matches dense",
        "beats its own shuffle",
        "beats another seed's mask",
    ):
        assert claim in ran.stdout
    again = call("lth_jax.judge", *arguments)
    assert again.stdout == ran.stdout
