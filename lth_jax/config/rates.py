"""Rates: learning rates and weight decays, of a schedule and of a sweep."""

from collections.abc import Collection

from ml_collections import ConfigDict

from lth_jax.errors import ConfigError


def check(config: ConfigDict) -> None:
    """Raise ConfigError if a schedule, or a sweep of it, would not do what was said."""
    optim = config.optim
    if optim.schedule == "exponential" and not optim.end_value > 0:
        raise ConfigError("config.optim.end_value: 'exponential' needs it above 0")
    swept = {*config.sweep.learning_rate} - {optim.learning_rate}
    if swept and sets_rates(optim):
        raise ConfigError(
            "config.sweep.learning_rate: would multiply rates of optim.end_value or "
            "schedule_options, too; give each optim.learning_rate a run of its own"
        )


def check_set(config: ConfigDict, names: Collection[str]) -> None:
    """Raise ConfigError if what is set on top of a config's file has no effect.

    Args:
        config: with it.
        names: the fields that were set.
    """
    if "optim.milestones" in names and config.optim.schedule == "constant":
        raise ConfigError(
            "config.optim.milestones: they are of config.optim.schedule 'step', and "
            "'constant' does not fall"
        )
    for name in ("learning_rate", "weight_decay"):
        swept = tuple(config.sweep[name])
        if swept and f"optim.{name}" in names and f"sweep.{name}" not in names:
            raise ConfigError(
                f"config.optim.{name}: networks of this config have those of "
                f"config.sweep.{name}, {swept}; set that"
            )


def sets_rates(optim: ConfigDict) -> bool:
    """Return whether a schedule has rates that are no multiples of its first."""
    ends = optim.schedule not in ("constant", "step") and optim.end_value > 0
    return ends or "value" in str(optim.schedule_options.to_dict())
