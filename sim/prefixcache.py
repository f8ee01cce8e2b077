"""vLLM's prefix cache: which freed KV blocks still hold content, and in which order they are given up.

The rules are those of ``vllm/v1/core/block_pool.py`` (0.32): a full block is findable from the step that schedules its tokens on;
a request takes the longest run of blocks that it finds from its start, but recomputes at least its last token; blocks that no
request holds are given up least recently freed first, the last block of a request before its first; a block that was never full
is reused before any other. Content that is found is not copied, and content computed twice is kept twice.

Blocks are not objects here. What one request has of one piece of content is a ``Run`` of consecutive blocks; runs are split where
a later request holds a part of them only. Whatever a request computes beyond the content ids that its workload tells can be found
by nobody else, and is one run, made when the request leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.request import Request


class ContentTrie:
    """Names for content: equal names for equal id sequences from the start on. One trie serves all engines of a run."""

    __slots__ = ("_names", "tokens")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        """Tokens that one id stands for."""
        self._names: dict[tuple[int, int], int] = {}

    def path(self, ids: Sequence[int]) -> tuple[int, ...]:
        """One name per id, each for all content up to and including it."""
        names, here, path = self._names, 0, []
        for id in ids:
            here = names.setdefault((here, id), len(names) + 1)
            path.append(here)
        return tuple(path)


class Run:
    """Blocks ``lo`` to ``hi`` (exclusive; counted from the request's start) of one content, and how many requests hold them."""

    __slots__ = ("after", "before", "content", "hi", "lo", "refs", "rest")

    def __init__(self, content: int, lo: int, hi: int, refs: int) -> None:
        self.content = content
        self.lo = lo
        self.hi = hi
        self.refs = refs
        self.rest: Run | None = None
        """The part that was split off this run's end."""
        self.before = self.after = self


_PRIVATE = 0
"""The content of blocks that only their own request can find."""

_NOBODYS = -1
"""The content of blocks that nobody can find any more: their request is done. Next to each other in the ring they are one run."""


@dataclass(slots=True)
class Holding:
    """What a request has of the cache. ``shared``: its leading blocks that are in ``runs``, each with the end that it had then."""

    path: tuple[int, ...]
    findable: int
    shared: int = 0
    runs: list[tuple[Run, int]] = field(default_factory=list)
    left: list[Run] = field(default_factory=list)
    """The private blocks that a preempted request left behind, as far as they are still there; the oldest first."""


class PrefixCache:
    """What an engine's ``blocks`` blocks of ``block_tokens`` tokens hold: of the free ones ``blank`` nothing, ``idle`` content."""

    __slots__ = ("_block_tokens", "_found", "_oldest", "_redone", "_trie", "blank", "idle")

    def __init__(self, blocks: int, block_tokens: int, trie: ContentTrie, *, redone: int = 0) -> None:
        """``redone``: found blocks that are computed again all the same, for a drafter that needs what they gave the target."""
        self._block_tokens = block_tokens
        self._redone = redone
        self._trie = trie
        self._found: dict[int, list[Run]] = {}
        """Content → its runs, in the order in which they were computed."""
        self._oldest = Run(_PRIVATE, 0, 0, 0)
        """Head of the ring of runs that no request holds, least recently freed first."""
        self.blank = blocks
        self.idle = 0

    def emptied(self, blocks: int) -> PrefixCache:
        """A cache of so many blocks that holds nothing, in this one's place."""
        return PrefixCache(blocks, self._block_tokens, self._trie, redone=self._redone)

    def enter(self, request: Request) -> None:
        """Before a request's first ``match``."""
        path = self._trie.path(request.prefix_blocks) if request.prefix_blocks else ()
        findable = min(request.prompt_tokens, len(path) * self._trie.tokens) // self._block_tokens
        request.holding = Holding(path, findable)

    def match(self, request: Request) -> list[tuple[Run, int, int]]:
        """The blocks that ``request`` would find: (run, first, end) from its start on, without a gap."""
        holding = request.holding
        if not holding.path and not holding.left:
            return []
        limit = (request.goal - 1) // self._block_tokens
        end = min(holding.findable, limit)
        per_id, size = self._trie.tokens, self._block_tokens
        matched: list[tuple[Run, int, int]] = []
        at = 0
        for depth, content in enumerate(holding.path, 1):
            stop = min(depth * per_id // size, end)
            at = _follow(self._found.get(content, ()), at, stop, matched)
            if at < stop:
                break
        else:
            if holding.left and at == holding.findable:
                _follow(holding.left, at, limit, matched)
        if self._redone and matched:
            run, first, last = matched.pop()
            if last - self._redone > first:
                matched.append((run, first, last - self._redone))
        return matched

    def hold(self, request: Request, matched: Sequence[tuple[Run, int, int]]) -> None:
        """``request`` takes what it has found."""
        holding = request.holding
        for run, first, end in matched:
            while run.hi <= first:  # split off above
                assert run.rest is not None
                run = run.rest
            same = holding.left if run.content == _PRIVATE else self._found[run.content]
            if first > run.lo:
                run = self._split(run, first, same)
            if end < run.hi:
                self._split(run, end, same)
            if run.refs == 0:
                self._unlink(run)
            run.refs += 1
            if run.content == _PRIVATE:
                holding.left.remove(run)
            else:
                holding.runs.append((run, end))
                holding.shared = end

    def take(self, blocks: int) -> None:
        """Blocks are handed out: blank ones first, then the content that was freed least recently."""
        if blocks <= self.blank:
            self.blank -= blocks
            return
        blocks -= self.blank
        self.blank = 0
        while blocks:
            run = self._oldest.after
            size = run.hi - run.lo
            if size > blocks:
                run.hi -= blocks
                self.idle -= blocks
                return
            self._unlink(run)
            self._forget(run)
            run.hi = run.lo
            blocks -= size

    def fill(self, request: Request, tokens: int) -> None:
        """``request`` is scheduled to have computed ``tokens``: its full blocks can be found from now on."""
        holding = request.holding
        full = min(tokens // self._block_tokens, holding.findable)
        per_id, size = self._trie.tokens, self._block_tokens
        while holding.shared < full:
            at = holding.shared
            depth = -(-(at + 1) * size // per_id)
            end = min(full, depth * per_id // size)
            run = Run(holding.path[depth - 1], at, end, 1)
            self._found.setdefault(run.content, []).append(run)
            holding.runs.append((run, end))
            holding.shared = end

    def release(self, request: Request, tokens: int, *, returns: bool) -> int:
        """``request`` gives up its blocks; the number of them that nobody else holds.

        ``tokens``: those whose full blocks can be found. ``returns``: it was preempted.
        """
        holding = request.holding
        shared = holding.shared
        full = tokens // self._block_tokens
        self.blank += request.blocks - max(full, shared)
        freed = request.blocks - shared
        if full > shared:
            newest = self._oldest.before
            if returns:
                private = Run(_PRIVATE, shared, full, 0)
                self._link(private)
                holding.left = [run for run in holding.left if run.hi > run.lo] + [private]
            elif newest.content == _NOBODYS:
                newest.hi += full - shared
                self.idle += full - shared
            else:
                self._link(Run(_NOBODYS, shared, full, 0))
        if not shared:
            return freed
        for run, end in reversed(holding.runs):
            pieces = []
            piece: Run | None = run
            while piece is not None and piece.lo < end:
                pieces.append(piece)
                piece = piece.rest
            for piece in reversed(pieces):
                piece.refs -= 1
                if piece.refs == 0:
                    self._link(piece)
                    freed += piece.hi - piece.lo
        holding.runs = []
        holding.shared = 0
        return freed

    def _split(self, run: Run, at: int, same: list[Run]) -> Run:
        """Cut a run, one of those of the ``same`` content, in two at block ``at``; returns the later part."""
        later = Run(run.content, at, run.hi, run.refs)
        later.rest, run.rest = run.rest, later
        run.hi = at
        same.insert(same.index(run) + 1, later)
        if run.refs == 0:  # the later part goes first
            later.before, later.after = run.before, run
            run.before.after = run.before = later
        return later

    def _link(self, run: Run) -> None:
        head = self._oldest
        run.before, run.after = head.before, head
        head.before.after = head.before = run
        self.idle += run.hi - run.lo

    def _unlink(self, run: Run) -> None:
        run.before.after, run.after.before = run.after, run.before
        self.idle -= run.hi - run.lo

    def _forget(self, run: Run) -> None:
        if run.content > 0:
            runs = self._found[run.content]
            runs.remove(run)
            if not runs:
                del self._found[run.content]


def _follow(runs: Sequence[Run], at: int, stop: int, matched: list[tuple[Run, int, int]]) -> int:
    """Add to ``matched`` what ``runs``, the oldest first, have of the blocks ``at`` to ``stop``; how far that goes."""
    while at < stop:
        place = next((i for i, run in enumerate(runs) if run.lo <= at < run.hi), None)
        if place is None:
            break
        until = min([runs[place].hi, stop, *(run.lo for run in runs[:place] if run.lo > at)])
        matched.append((runs[place], at, until))
        at = until
    return at
