"""Which shard to begin next, and which shards a set is made of.

Shards are begun in the order of the plan, class by class as far as its images are still missing.
What counts is decided by the plan alone: of each class the first shards whose samples reach the
number wanted. Workers may be ahead of that; what they make in vain is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from latentpath.production.plan import Plan

# Share of samples that is taken to pass the gate before anything was tested.
_HOPED = 0.9


class Schedule:
    """State of the shards as the scheduler sees it.

    Args:
        plan: the plan.
        done: shards that are finished, with the samples that passed and those tested.
    """

    def __init__(self, plan: Plan, done: Mapping[int, tuple[int, int]]) -> None:
        self._plan = plan
        self._classes = {
            label: _ClassQueue(plan, label, wanted) for label, wanted in plan.wanted.items()
        }
        labels = plan.arrays["shard_label"]
        self._label = [int(label) for label in labels]
        for number, counts in done.items():
            self.finished(number, *counts)

    def take(self, walks: int) -> list[int]:
        """The shards to begin now, with so many walks or a few more; none if those in hand should
        do."""
        numbers: list[int] = []
        while walks > 0 and (number := self._next()) is not None:
            self._of(number).in_hand.add(number)
            numbers.append(number)
            walks -= self._plan.walks_of(number)
        return numbers

    def _next(self) -> int | None:
        numbers = [queue.next() for queue in self._classes.values()]
        return min((number for number in numbers if number is not None), default=None)

    def given_up(self, number: int) -> None:
        """The worker failed."""
        self._of(number).in_hand.discard(number)

    def finished(self, number: int, accepted: int, tested: int) -> None:
        """It is stored."""
        self._of(number).finish(number, accepted, tested)

    def lost(self, number: int) -> None:
        """It was stored, and is damaged or gone."""
        self._of(number).lose(number)

    @property
    def complete(self) -> bool:
        """Whether the finished shards make the set."""
        return all(queue.counted() is not None for queue in self._classes.values())

    @property
    def any_finished(self) -> bool:
        """Whether any shard is finished."""
        return any(queue.tested for queue in self._classes.values())

    @property
    def accepted(self) -> int:
        """Images of the set that are there, none beyond the number wanted."""
        return sum(min(queue.accepted, queue.wanted) for queue in self._classes.values())

    @property
    def wanted(self) -> int:
        """Images of the whole set."""
        return sum(queue.wanted for queue in self._classes.values())

    def counted(self) -> list[int]:
        """Numbers of the shards that make the set, in the order of the plan.

        Raises:
            ValueError: it is not complete.
        """
        numbers: list[int] = []
        for queue in self._classes.values():
            counted = queue.counted()
            if counted is None:
                raise ValueError("shards are missing")
            numbers += counted
        return sorted(numbers)

    def _of(self, number: int) -> _ClassQueue:
        return self._classes[self._label[number]]


class _ClassQueue:
    """One class's shards in the order of the plan."""

    def __init__(self, plan: Plan, label: int, wanted: int) -> None:
        self.wanted, self.in_hand = wanted, set[int]()
        self._plan, self._shards = plan, plan.shards_of(label)
        self._done: dict[int, int] = {}  # shard -> samples that passed
        self.accepted = self.tested = 0
        # The shards before `_head` are all done, and `_before` samples of them passed.
        self._head = self._before = 0

    def finish(self, number: int, accepted: int, tested: int) -> None:
        self.in_hand.discard(number)
        self._done[number] = accepted
        self.accepted += accepted
        self.tested += tested
        self._advance()

    def lose(self, number: int) -> None:
        self.accepted -= self._done.pop(number, 0)
        self._head = self._before = 0
        self._advance()

    def _advance(self) -> None:
        while self._head < len(self._shards) and self._before < self.wanted:
            accepted = self._done.get(self._shards[self._head])
            if accepted is None:
                break
            self._before += accepted
            self._head += 1

    def next(self) -> int | None:
        """First shard that nobody has, if those before it should not do."""
        total = float(self._before)
        rate = _HOPED
        if self.tested:
            rate = (self.accepted + 1) / (self.tested + 1)
        for number in self._shards[self._head :]:
            if total >= self.wanted:
                return None
            if number in self._done:
                total += self._done[number]
            elif number in self.in_hand:
                total += rate * self._plan.samples_of(number)
            else:
                return number
        return None

    def counted(self) -> list[int] | None:
        """The shards that count, or None if one of them is not done."""
        if self._before >= self.wanted or self._head == len(self._shards):
            return self._shards[: self._head]
        return None
