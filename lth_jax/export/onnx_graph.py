"""ONNX: a ticket as a graph that runs without JAX, and is tried before it is kept."""

import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lth_jax import models
from lth_jax.errors import ExportError, one_line
from lth_jax.export.ticket import Ticket
from lth_jax.models.network import over
from lth_jax.paths import local

TOLERANCE = 1e-4  # of the largest output, or of 1 if that is less


def write(path: Path | str, ticket: Ticket, network: Any = None) -> float:
    """Write what a trained ticket computes as an ONNX graph, by `jax2onnx`.

    The graph takes a batch of any size, of images as the network sees them (less
    `about["data"]["mean"]`, over "std", and then over their L2 norm if there is
    "unit_norm"), [batch, height, width, channels], and returns outputs (logits),
    [batch, classes]. Pruned weights are zeros in dense arrays: ONNX has no operator on
    sparse ones. Before it is written, the graph runs in `onnxruntime`.

    Args:
        path: of the file.
        ticket: as of `export.find` or `load_ticket`.
        network: as of `models.as_network`; by default that of `models.MODELS` which the
            ticket names.

    Returns:
        The largest difference between an output of the graph and of JAX, of three
        normal inputs.

    Raises:
        ExportError: the extra is not installed, `jax2onnx` has no counterpart for
            something in the network, or outputs differ by more than `TOLERANCE`.
    """
    try:
        import jax2onnx  # pyright: ignore[reportMissingImports]
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        reason = f"--format: onnx needs {error.name}: pip install 'lth_jax[onnx]'"
        raise ExportError(reason) from error

    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # types that nobody asks for
    shape = ticket.about["data"].get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
        raise ExportError("--format: onnx is for networks of one input array")
    network = _network(ticket) if network is None else models.as_network(network)

    def outputs(x: Any) -> Any:
        params, stats = ticket.params, ticket.batch_stats
        return network.apply(params, stats, x, train=False, key=None)[0]

    drawn = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    try:
        expected = np.asarray(jax.jit(outputs)(drawn))
        with jax.numpy_rank_promotion("allow"):  # its own code needs it
            graph = jax2onnx.to_onnx(
                outputs,
                [("batch", *shape)],
                model_name=ticket.about["model"]["name"],
                input_names=["inputs"],
                output_names=["outputs"],
            )
        # Its optimizer moves transposes, and leaves shapes as they were before.
        del graph.graph.value_info[:]  # pyright: ignore[reportAttributeAccessIssue]
        content = graph.SerializeToString()  # pyright: ignore[reportAttributeAccessIssue]
        session = onnxruntime.InferenceSession(content)
        found = session.run(None, {"inputs": drawn})[0]
    except Exception as error:  # whatever both libraries raise
        raise ExportError(
            f"--format: jax2onnx cannot write this network: {one_line(error)}"
        ) from error
    off = float(np.max(np.abs(found - expected)))
    if not off <= TOLERANCE * max(1.0, float(np.max(np.abs(expected)))):
        raise ExportError(
            f"--format: what jax2onnx writes of this network differs by {off:.2g} in "
            "onnxruntime; nothing was written"
        )
    local(path).write_bytes(content)
    return off


def _network(ticket: Ticket) -> models.Network:
    """Return the network that a ticket names, as it is evaluated."""
    model = dict(ticket.about["model"])
    classes, options = ticket.about["data"].get("classes"), model.pop("options", {})
    if model["name"] not in models.MODELS or not isinstance(classes, int):
        raise ExportError(
            f"--format: {model['name']!r} is no network of this library: from Python, "
            "give it to export.onnx_graph.write"
        )
    return over(models.create(num_classes=classes, **model, **options), None)
