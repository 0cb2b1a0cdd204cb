"""Continuous batching: when each of many sequences is read, written and done.

A model of an engine, not of a GPU. Time is given by the caller and nothing here waits, so a run
is the same whatever the machine does. In each step every sequence of the batch gets one token
(iteration-level scheduling, Orca, OSDI 2022), and a step lasts

    step + sequences · per_sequence + prompt tokens read in it · per_prompt_token

seconds. Steps without a prompt to read are all alike until a sequence ends, so they are passed
over at once: the cost of the model is that of its events, not of its tokens.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from overnight.sim.kv_cache import BLOCK_TOKENS, KvCache, blocks_of

PROMPT_TOKENS_A_STEP = 2048
"""Longer prompts are read over several steps (vLLM's `max_num_batched_tokens`)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds; 0 costs no time."""

    step: float = 0.0
    per_sequence: float = 0.0
    per_prompt_token: float = 0.0


@dataclass(eq=False, slots=True)
class Sequence:
    """One request in the engine. Times are of the caller's clock."""

    prompt_tokens: int
    tokens: int
    """To be written."""
    overhead_seconds: float = 0.0
    """Spent in the batch before anything else happens."""
    block_names: tuple[int, ...] = ()

    arrived: float = 0.0
    admitted: float = 0.0
    first_token: float = 0.0
    finished: float = 0.0

    written: int = 0
    unread: int = 0
    """Tokens of the prompt, and after a preemption of what was written, still to be read."""
    last_step: int | None = None
    """The step that writes the last token; None while it is not being written."""
    preemptions: int = 0


@dataclass(slots=True)
class BatchCounts:
    preemptions: int = 0
    prefix_queries: int = 0
    """Tokens of prompts looked up in the cache, as they were admitted first."""
    prefix_hits: int = 0


@dataclass(slots=True)
class _Stretch:
    """Equal steps that are under way."""

    began: float
    step_seconds: float
    steps: int
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    """Prompts read in it and how many tokens of each; then it is one step."""
    idle: bool = False
    """Nothing is read or written: all who are there wait for their time."""

    @property
    def ends(self) -> float:
        return self.began + self.steps * self.step_seconds


class Batch:
    """Call `advance` up to now before anything else is done to it."""

    def __init__(self, pace: Pace, slots: int | None = None, cache: KvCache | None = None) -> None:
        self.counts = BatchCounts()
        self.waiting: deque[Sequence] = deque()
        self.running: dict[Sequence, None] = {}
        """In order of admission."""
        self._pace = pace
        self._slots = slots
        self.cache = cache
        self._order = count()
        self._starting: list[tuple[float, int, Sequence]] = []
        """A heap: admitted, ready to be read from that moment on."""
        self._reading: deque[Sequence] = deque()
        self._last_steps: list[tuple[int, int, Sequence]] = []
        """A heap of what is being written."""
        self._writing = 0
        self._phases = [0] * BLOCK_TOKENS
        """How many of those being written need a new block at steps of this remainder."""
        self._step = 0
        self._stretch: _Stretch | None = None
        self._fresh: list[Sequence] = []
        """Their first token comes with the next step."""
        self._gone: list[Sequence] = []

    @property
    def next_event(self) -> float | None:
        """When to call `advance` next."""
        return None if self._stretch is None else self._stretch.ends

    def cache_usage(self, now: float) -> float:
        """0 to 1, with what was written since the last event."""
        if self.cache is None:
            return 0.0
        stretch, taken = self._stretch, 0
        if stretch is not None and stretch.step_seconds and not stretch.chunks:
            steps = int((now - stretch.began) / stretch.step_seconds)
            taken = self._growth(min(steps, stretch.steps))
        return self.cache.usage + taken / self.cache.blocks

    def advance(self, now: float) -> list[Sequence]:
        """Let time pass; returns what is done, in order."""
        done: list[Sequence] = []
        while self._stretch is not None and self._stretch.ends <= now:
            done += self._end_stretch(self._stretch)
        return done

    def add(self, sequence: Sequence, now: float) -> None:
        sequence.arrived = now
        self.waiting.append(sequence)
        if self._stretch is None:
            self._plan(now)
        elif len(self.waiting) == 1 and self._has_slot():
            self._cut(self._stretch, now)

    def remove(self, sequence: Sequence, now: float) -> None:
        """Nobody waits for it any more. What is being written leaves after the current step."""
        if sequence not in self.running:
            self.waiting.remove(sequence)
        elif self._stretch is not None:
            self._gone.append(sequence)
            self._cut(self._stretch, now)

    # Steps

    def _end_stretch(self, stretch: _Stretch) -> list[Sequence]:
        now = stretch.ends
        if self.cache is not None:
            self.cache.take(self._growth(stretch.steps))
        self._step += stretch.steps
        done = self._written()
        for sequence, tokens in stretch.chunks:
            sequence.unread -= tokens
            if not sequence.unread:
                self._reading.popleft()
                if self._begin_writing(sequence):
                    done.append(sequence)
        for sequence in done:
            sequence.finished = now
            self._leave(sequence)
        gone, self._gone = self._gone, []
        for sequence in gone:
            if sequence in self.running:
                self._leave(sequence)
        self._plan(now)
        return [sequence for sequence in done if sequence not in gone]

    def _plan(self, now: float) -> None:
        if not self._make_room():
            self._admit(now)
        while self._starting and self._starting[0][0] <= now:
            self._reading.append(heapq.heappop(self._starting)[2])
        if self._reading and not self._pace.per_prompt_token:
            at_once = [(sequence, sequence.unread) for sequence in self._reading]
            self._stretch = _Stretch(now, 0.0, 0, at_once)
        elif self._reading or self._writing:
            self._stretch = self._next_steps(now)
        elif self._starting:
            self._stretch = _Stretch(now, self._starting[0][0] - now, 1, idle=True)
        else:
            self._stretch = None

    def _next_steps(self, now: float) -> _Stretch:
        chunks = self._chunks()
        seconds = sum(tokens for _, tokens in chunks) * self._pace.per_prompt_token
        if self._writing:
            seconds += self._pace.step + self._writing * self._pace.per_sequence
        for sequence in self._fresh:
            sequence.first_token = now + seconds
        self._fresh.clear()
        return _Stretch(now, seconds, 1 if chunks else self._steps_ahead(now, seconds), chunks)

    def _chunks(self) -> list[tuple[Sequence, int]]:
        left = PROMPT_TOKENS_A_STEP
        chunks = []
        for sequence in self._reading:
            tokens = min(sequence.unread, left)
            chunks.append((sequence, tokens))
            left -= tokens
            if not left:
                break
        return chunks

    def _steps_ahead(self, now: float, seconds: float) -> int:
        """Until something changes: one ends, one is ready to be read, or memory is short."""
        steps = self._last_steps[0][0] - self._step
        if self._starting and seconds:
            steps = min(steps, max(1, math.ceil((self._starting[0][0] - now) / seconds)))
        if self.cache is not None and self._growth(steps) > self.cache.available:
            steps = self.cache.available // self._writing * BLOCK_TOKENS
            while self._growth(steps + 1) <= self.cache.available:
                steps += 1
        return steps

    def _cut(self, stretch: _Stretch, now: float) -> None:
        """End it with the current step; a wait for nothing but time ends at once."""
        if stretch.idle:
            stretch.step_seconds = now - stretch.began
        elif stretch.steps > 1 and stretch.step_seconds:
            under_way = math.ceil((now - stretch.began) / stretch.step_seconds)
            stretch.steps = min(stretch.steps, max(1, under_way))

    # Sequences

    def _has_slot(self) -> bool:
        return self._slots is None or len(self.running) < self._slots

    def _admit(self, now: float) -> None:
        while self.waiting and self._has_slot():
            sequence = self.waiting[0]
            known = sequence.prompt_tokens + sequence.written
            sequence.unread = known
            if self.cache is not None:
                names = sequence.block_names
                hits = self.cache.hits(names) * BLOCK_TOKENS
                spare = self._growth(1)  # those who write go first
                if not self.cache.reserve(names, blocks_of(known) - len(names), spare=spare):
                    break
                sequence.unread -= hits
                if not sequence.preemptions:
                    self.counts.prefix_queries += sequence.prompt_tokens
                    self.counts.prefix_hits += hits
            ready = now
            if not sequence.preemptions:
                sequence.admitted = now
                ready += sequence.overhead_seconds
            self.running[self.waiting.popleft()] = None
            heapq.heappush(self._starting, (ready, next(self._order), sequence))

    def _begin_writing(self, sequence: Sequence) -> bool:
        """Or there is nothing to write: true."""
        left = sequence.tokens - sequence.written
        if not left:
            return True
        sequence.last_step = self._step + left
        heapq.heappush(self._last_steps, (sequence.last_step, next(self._order), sequence))
        self._writing += 1
        self._phases[_phase(sequence)] += 1
        if not sequence.written:
            self._fresh.append(sequence)
        return False

    def _written(self) -> list[Sequence]:
        """Those whose last token is there."""
        done = []
        while self._last_steps and self._last_steps[0][0] <= self._step:
            done.append(heapq.heappop(self._last_steps)[2])
        return done

    def _leave(self, sequence: Sequence) -> None:
        del self.running[sequence]
        if sequence.last_step is not None:
            sequence.written = sequence.tokens - (sequence.last_step - self._step)
            if sequence.written < sequence.tokens:
                self._last_steps = _without(sequence, self._last_steps)
            self._writing -= 1
            self._phases[_phase(sequence)] -= 1
            sequence.last_step = None
        elif sequence in self._reading:
            self._reading.remove(sequence)
        else:
            self._starting = _without(sequence, self._starting)
        if self.cache is not None:
            names = sequence.block_names
            held = blocks_of(sequence.prompt_tokens + sequence.written)
            self.cache.release(names, held - len(names))

    # Memory

    def _make_room(self) -> bool:
        """For the next step. True if somebody had to go back, the last to be admitted first."""
        preempted = False
        while self.cache is not None and self._growth(1) > self.cache.available:
            sequence = next(reversed(self.running))
            self._leave(sequence)
            sequence.preemptions += 1
            self.counts.preemptions += 1
            self.waiting.appendleft(sequence)
            preempted = True
        return preempted

    def _growth(self, steps: int) -> int:
        """Blocks that the next steps take."""
        rounds, rest = divmod(steps, BLOCK_TOKENS)
        phases = (self._phases[(self._step + n) % BLOCK_TOKENS] for n in range(rest))
        return rounds * self._writing + sum(phases)


def _phase(sequence: Sequence) -> int:
    """The remainder of the steps that find all blocks of the sequence full."""
    return ((sequence.last_step or 0) - sequence.prompt_tokens - sequence.tokens) % BLOCK_TOKENS


T = TypeVar("T", float, int)


def _without(
    sequence: Sequence, entries: list[tuple[T, int, Sequence]]
) -> list[tuple[T, int, Sequence]]:
    """A heap again; it is rare that one leaves before its time."""
    left = [entry for entry in entries if entry[2] is not sequence]
    heapq.heapify(left)
    return left
