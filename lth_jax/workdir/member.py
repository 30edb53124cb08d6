"""Member: which network is trained; and every training of it."""

from typing import TYPE_CHECKING, Any, NamedTuple, Optional


class Member(NamedTuple):
    """Which network a number, or a saved state, belongs to.

    The dense network of a replicate has level 0, branch "dense" and copy 0, whatever
    the rewind steps; its copies part from it at theirs.
    """

    replicate: int  # which seed
    rewind_step: int  # step k of the rewind state; 0 for the dense network
    level: int  # number of pruning rounds; 0 for dense networks
    branch: str  # the controlled variation
    copy: int  # which data order
    learning_rate: float | None = None  # where a run has several
    weight_decay: float | None = None  # likewise

    @property
    def setting(self) -> tuple[float | None, ...]:
        """Learning rate and weight decay, where a run has several."""
        return self[5:]

    @property
    def dense(self) -> "Member":
        """The dense network of the same seed and setting."""
        return self._replace(rewind_step=0, level=0, branch="dense", copy=0)

    @property
    def ticket(self) -> "Member":
        """The ticket of this level and rewind step; at level 0 the dense network."""
        return self._replace(branch="ticket", copy=0) if self.level else self.dense

    @property
    def previous(self) -> "Member":
        """The ticket of the level before, or the dense network."""
        return self._replace(level=self.level - 1).ticket

    @property
    def is_ticket(self) -> bool:
        """Whether this is a ticket, or at level 0 the dense network."""
        return self == self.ticket

    def __str__(self) -> str:
        return text(self._asdict())


if TYPE_CHECKING:
    from lth_jax.train.state import TrainState

    Networks = dict[Member, TrainState]
else:
    Networks = dict  # a name needs no import of all that trains


class Training(NamedTuple):
    """One element of the plan."""

    member: Member  # which network
    begin: int  # step at which it starts
    stop: int  # step at which it ends
    had: int  # steps that its weights went through before
    after: Optional["Training"] = None  # of the same level, whose end it starts from

    @property
    def steps(self) -> int:
        """Number of steps that it takes."""
        return self.stop - self.begin


def planned(written: list[list[Any]]) -> dict[Member, Training]:
    """Return the trainings of a plan that was written as JSON, by network."""
    found = {Member(*one[0]): Training(Member(*one[0]), *one[1:4]) for one in written}
    for member, *_, after in written:
        if after:
            first = found[Member(*after)]
            found[Member(*member)] = found[Member(*member)]._replace(after=first)
    return found


def text(key: dict[str, Any]) -> str:
    """Return a key in words.

    Example:
        >>> text({"replicate": 0, "branch": "ticket", "learning_rate": None})
        'replicate 0, branch ticket'
    """
    return ", ".join(f"{name} {x}" for name, x in key.items() if x is not None)
