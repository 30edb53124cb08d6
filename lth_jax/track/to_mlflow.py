"""MLflow: a server, its sqlite store or its files, as MLFLOW_TRACKING_URI says."""

import os
import time
from pathlib import Path
from typing import Any

from lth_jax.track.names import key
from lth_jax.track.tracker import Rows, State

_MOST = {"metrics": 1000, "params": 100}  # of a call
_TAG = "lth_jax.run"


class Mlflow:
    """A run of the experiment that MLFLOW_EXPERIMENT_NAME says, else of lth_jax."""

    forgets = False

    def __init__(self, workdir: Path, state: State, config: dict[str, Any]) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]
        from mlflow import entities  # pyright: ignore[reportMissingImports]

        self.metric = entities.Metric
        self.client, self.state = mlflow.MlflowClient(), state
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME", "lth_jax")
        there = self.client.get_experiment_by_name(named)
        place = there.experiment_id if there else self.client.create_experiment(named)
        found = self.client.search_runs([place], f"tags.`{_TAG}` = '{state.id}'")
        tags = {_TAG: state.id, "lth_jax.workdir": str(workdir)}
        run = (
            found[0]
            if found
            else self.client.create_run(place, run_name=workdir.name, tags=tags)
        )
        self.run = run.info.run_id
        self.client.update_run(self.run, status="RUNNING")
        had = found[0].data.params if found else {}  # a param stays as it is
        new = {name: str(x) for name, x in config.items() if name not in had}
        for name, x in config.items():
            if str(x) != had.get(name, str(x)):  # of a run that has grown
                self.client.set_tag(self.run, f"lth_jax.{name}", str(x))
        params = [entities.Param(name, x) for name, x in new.items()]
        for first in range(0, len(params), _MOST["params"]):
            part = params[first : first + _MOST["params"]]
            self.client.log_batch(self.run, params=part)
        self.look = f"mlflow ui --backend-store-uri={mlflow.get_tracking_uri()}"

    def there(self, rows: Rows) -> int:
        """Return how many rows it has: a batch may be there that we do not know of."""
        number = self.state.rows
        while batch := rows[number : number + _MOST["metrics"]]:
            found = sum(map(self._has, batch))
            number += found
            if found < len(batch):
                break
        return number

    def _has(self, row: dict[str, Any]) -> bool:
        history = self.client.get_metric_history(self.run, key(row))
        return any(metric.step == row["step"] for metric in history)

    def write(self, rows: Rows, first: int) -> None:
        now = int(1000 * time.time())
        metrics = [self.metric(key(x), x["value"], now, x["step"]) for x in rows]
        self.client.log_batch(self.run, metrics=metrics)

    def keep(self, kind: str, files: list[Path]) -> None:
        for path in files:
            self.client.log_artifact(self.run, str(path), kind)

    def close(self) -> None:
        self.client.set_terminated(self.run)
