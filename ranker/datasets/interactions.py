"""Recommendation's draws over whole arrays: who touched what, which interactions become targets, which items
nobody there touched.

Users and items are numbers, in the order of their ids: 20 million interactions take 80 MB, and nothing is
sorted, joined or hashed twice. All is drawn by generators over sorted rows, so that the source's order
decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

CELLS = 8_000_000
"""Users × catalogue looked at at once; bounds memory to some 10 MB, and to 100 MB where whole rows are
drawn.
"""
ROUNDS = 4
"""Times that negatives are drawn by rejection before the whole catalogue is looked at."""


class TooFew(ValueError):
    """A user leaves too few items: `user` (number) and `left`."""

    def __init__(self, user: int, left: int) -> None:
        super().__init__(user, left)
        self.user, self.left = user, left


@dataclass(frozen=True, slots=True)
class Interactions:
    """First interactions, user after user, each user's oldest first.

    `items`: int32 (interactions,); those of user u are items[starts[u]:starts[u + 1]]; `starts`: int64 (users
    + 1,).
    """

    items: np.ndarray
    starts: np.ndarray

    @classmethod
    def gathered(
        cls, parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], users: int, rng: np.random.Generator
    ) -> Interactions:
        """From parts (user, item, time), each sorted by (user, time, item), users rising from part to part.
        Items of one user and
        moment are shuffled: by item they would leak, as ids of one moment rise towards the target.
        """
        items: list[np.ndarray] = []
        counts = np.zeros(users, np.int64)
        for user, item, time in parts:
            items.append(_shuffled(user, item, time, rng))
            counts += np.bincount(user, minlength=users)
        return cls(np.concatenate(items), np.concatenate([[0], np.cumsum(counts)]))

    def counts(self, users: np.ndarray, items: int) -> np.ndarray:
        """Interactions of each item by the users where `users` (bool) is true, int (items,)."""
        return np.bincount(self.items[np.repeat(users, np.diff(self.starts))], minlength=items)

    def owners(self, at: np.ndarray) -> np.ndarray:
        """The user of each touch in `at`."""
        return np.searchsorted(self.starts, at, side="right") - 1

    def latest(self, users: np.ndarray, each: int, least: int | np.ndarray) -> np.ndarray:
        """The last `each` interactions of every user in `users` that have `least` (of that user) others
        before them, as rising places in `items`.
        """
        ends = self.starts[users + 1]
        begins = np.maximum(self.starts[users] + least, ends - each)
        return ranges(begins, np.maximum(ends - begins, 0))

    def some(
        self, users: np.ndarray, each: int, least: int | np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """As `latest`, but `each` interactions drawn at random from each user's."""
        begins = self.starts[users] + least
        counts = np.maximum(self.starts[users + 1] - begins, 0)
        at, within = ranges(begins, counts), ranges(np.zeros_like(counts), counts)
        keys = np.repeat(np.arange(len(users), dtype=float), counts)
        keys += rng.random(len(at))
        return np.sort(at[np.argsort(keys)[within < each]])

    def before(self, at: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The items just before each touch in `at`, at most so many, oldest first: all in one array, and
        how many each has.
        """
        counts = np.minimum(at - self.starts[self.owners(at)], most)
        return self.items[ranges(at - counts, counts)], counts


def _shuffled(user: np.ndarray, item: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    again = np.zeros(len(user) + 1, bool)  # whether a row has the user and time of the row before it
    again[1:-1] = (user[1:] == user[:-1]) & (time[1:] == time[:-1])
    tied = np.flatnonzero(again[:-1] | again[1:])
    moment = np.cumsum(~again[:-1])[tied]
    item = item.copy()
    item[tied] = item[tied][np.lexsort((rng.random(len(tied)), moment))]
    return item


def ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """begins[0], begins[0] + 1, … (counts[0] numbers), then those of begins[1], …"""
    ends = np.cumsum(counts)
    return np.repeat(begins - ends + counts, counts) + np.arange(ends[-1] if len(ends) else 0)


def sample_negatives(
    interactions: Interactions,
    users: np.ndarray,
    text: np.ndarray,
    weight: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """n texts for each row of `users` (numbers, rising) that this user never touched, at any time; int (rows,
    n).

    Drawn without replacement with probability proportional to `weight` (whole numbers ≥ 1): draws with
    replacement, of which those touched or drawn before are passed over, so that a row costs a few dozen draws
    and not the catalogue. Who has touched nearly everything gets the same from the smallest of Exp(1)/weight.

    Args:
        text: number of each item's text; a user who has touched an item has touched all items of its text.
        weight: of each text.

    Raises:
        TooFew: fewer than n texts are left to a user.
    """
    urn = np.repeat(np.arange(len(weight), dtype=np.int32), weight)
    found = np.empty((len(users), n), np.int64)
    first = np.unique(users, return_index=True)[1]
    bounds = [*first[:: max(1, CELLS // len(weight))], len(users)]
    for low, high in pairwise(bounds):
        here, rows = np.unique(users[low:high], return_inverse=True)
        begins, counts = interactions.starts[here], interactions.starts[here + 1] - interactions.starts[here]
        seen = np.zeros((len(here), len(weight)), bool)
        seen[np.repeat(np.arange(len(here)), counts), text[interactions.items[ranges(begins, counts)]]] = True
        found[low:high] = _unseen(seen, rows, here, urn, weight, n, rng)
    return found


def _unseen(
    seen: np.ndarray,
    rows: np.ndarray,
    names: np.ndarray,
    urn: np.ndarray,
    weight: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """`seen`: bool (users, texts); `rows`: the user of each row, by place in `seen` and in `names`."""
    found = np.full((len(rows), n), -1, np.int64)
    open_ = np.arange(len(rows))
    for _ in range(ROUNDS):
        if not len(open_):
            break
        drawn = urn[rng.integers(len(urn), size=(len(open_), 2 * n))]
        drawn = np.where(seen[rows[open_][:, None], drawn], -1, drawn)
        earlier = found[open_, : (found[open_] >= 0).sum(1).max()]
        found[open_] = _first_distinct(np.concatenate([earlier, drawn], axis=1), n)
        open_ = open_[found[open_, -1] < 0]
    for part in np.array_split(open_, -(-len(open_) * len(weight) // CELLS)) if len(open_) else []:
        _complete(found, part, seen[rows[part]], names[rows[part]], weight, rng)
    return found


def _first_distinct(drawn: np.ndarray, n: int) -> np.ndarray:
    """The first n distinct numbers ≥ 0 of each row, in their order, −1 where there are fewer.

    By two sorts of one number each for place and value, several times as fast as an argsort."""
    width = drawn.shape[1]
    none: int = np.iinfo(np.int64).max
    bits = int(width).bit_length()
    coded = np.bitwise_or(drawn.astype(np.int64) << bits, np.arange(width, dtype=np.int64))
    by_value = np.sort(np.where(drawn < 0, none, coded), axis=1)
    value, place = by_value >> bits, by_value & ((1 << bits) - 1)
    by_place = np.where(by_value == none, none, (place << 32) | value)
    by_place[:, 1:][value[:, 1:] == value[:, :-1]] = none
    kept = np.sort(by_place, axis=1)[:, :n]
    return np.where(kept == none, -1, kept & 0xFFFFFFFF)


def _complete(
    found: np.ndarray,
    part: np.ndarray,
    seen: np.ndarray,
    names: np.ndarray,
    weight: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Fill the free places of `found[part]`, in place, from all that is not seen; free places are a row's
    last ones.
    """
    have, n = (found[part] >= 0).sum(1), found.shape[1]
    keys = rng.standard_exponential(seen.shape) / weight
    keys[seen] = np.inf
    for row, at in enumerate(part):  # few rows come here
        keys[row, found[at, : have[row]]] = np.inf
    left = np.isfinite(keys).sum(1) + have
    if (left < n).any():
        worst = int(np.argmin(left))
        raise TooFew(int(names[worst]), int(left[worst]))
    order = np.argsort(keys, axis=1)
    for row, at in enumerate(part):
        found[at, have[row] :] = order[row, : n - have[row]]
