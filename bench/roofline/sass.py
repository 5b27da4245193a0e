"""The disassembly of a kernel as basic blocks, their loops, and the way of an ordinary turn through a loop."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable
from dataclasses import dataclass, field

LINE = re.compile(r"^\s*/\*[0-9a-f]+\*/\s+((?:@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;")
LABEL = re.compile(r"^(\.L\w+):")
ENDS = ("BRA", "EXIT", "BRX", "RET")
NEVER = ("@!PT", "@!UPT")  # guards of instructions that are issued and do nothing


@dataclass(frozen=True)
class Instruction:
    """One line of the disassembly.

    Attributes:
        guard: The predicate before it, or "".
        name: The opcode with its modifiers.
        rest: Its operands.
    """

    guard: str
    name: str
    rest: str

    @property
    def opcode(self) -> str:
        """The opcode alone."""
        return self.name.split(".")[0]


@dataclass
class Block:
    """Instructions that run one after the other, and the blocks that may come next."""

    label: str
    code: list[Instruction] = field(default_factory=list)
    after: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Loop:
    """A natural loop: its first block, all its blocks, and those that jump back."""

    head: int
    body: frozenset[int]
    latches: frozenset[int]


def parse(text: str) -> list[Block]:
    """Basic blocks of a function as ``nvdisasm -c`` prints it."""
    blocks = [Block("")]
    for line in text.splitlines():
        if label := LABEL.match(line):
            blocks.append(Block(label[1]))
        elif found := LINE.match(line):
            instruction = Instruction((found[1] or "").strip(), found[2], found[3])
            blocks[-1].code.append(instruction)
            if instruction.opcode in ENDS:
                blocks.append(Block(""))
    places = {block.label: place for place, block in enumerate(blocks) if block.label}
    for place, block in enumerate(blocks):
        block.after = _successors(block, place + 1, places, len(blocks))
    return blocks


def _successors(block: Block, following: int, places: dict[str, int], count: int) -> list[int]:
    falls_through = [following] if following < count else []
    last = block.code[-1] if block.code else None
    if last is None or last.opcode not in ENDS:
        return falls_through
    if last.opcode == "BRA":
        target = re.search(r"`\((\.L\w+)\)", last.rest)
        jumps = [places[target[1]]] if target and target[1] in places else []
        conditional = bool(last.guard) or bool(re.match(r"!?U?P\d", last.rest)) or "DIV" in last.name
        return jumps + (falls_through if conditional else [])
    return falls_through if last.guard else []


def loops(blocks: list[Block]) -> list[Loop]:
    """The natural loops of what can be reached from the first block; those of one head are one loop."""
    before = _predecessors(blocks)
    above = _dominators(blocks, before)
    bodies: dict[int, set[int]] = {}
    latches: dict[int, set[int]] = {}
    for place in above:
        for head in blocks[place].after:
            if head in above[place]:
                body = bodies.setdefault(head, {head})
                latches.setdefault(head, set()).add(place)
                waiting = [place]
                while waiting:
                    block = waiting.pop()
                    if block not in body:
                        body.add(block)
                        waiting += before[block]
    return [Loop(head, frozenset(bodies[head]), frozenset(latches[head])) for head in bodies]


def _predecessors(blocks: list[Block]) -> dict[int, list[int]]:
    """Predecessors of the blocks that can be reached."""
    before: dict[int, list[int]] = {0: []}
    waiting = [0]
    while waiting:
        place = waiting.pop()
        for following in blocks[place].after:
            if following not in before:
                before[following] = []
                waiting.append(following)
            before[following].append(place)
    return before


def _dominators(blocks: list[Block], before: dict[int, list[int]]) -> dict[int, set[int]]:
    """Of every block that can be reached, the blocks on all ways to it."""
    everything = set(before)
    found = {place: {0} if place == 0 else everything for place in before}
    changed = True
    while changed:
        changed = False
        for place in sorted(before):
            if place == 0:
                continue
            new = set.intersection(*(found[b] for b in before[place])) | {place}
            if new != found[place]:
                found[place], changed = new, True
    return found


def cheapest_turn(blocks: list[Block], loop: Loop, inner: list[Loop]) -> set[int]:
    """The blocks of the turn with the fewest instructions; an inner loop on the way is taken as a whole.

    Of an if and else, masks make the arm of the special tiles the longer one.
    """
    best = {loop.head: len(blocks[loop.head].code)}
    way = {loop.head: [loop.head]}
    waiting = [(best[loop.head], loop.head)]
    while waiting:
        cost, place = heapq.heappop(waiting)
        if cost > best[place]:
            continue
        for following in blocks[place].after:
            if following not in loop.body or following == loop.head:
                continue
            total = cost + len(blocks[following].code)
            if total < best.get(following, total + 1):
                best[following], way[following] = total, [*way[place], following]
                heapq.heappush(waiting, (total, following))
    latch = min((latch for latch in loop.latches if latch in best), key=best.__getitem__)
    taken = set(way[latch])
    for other in inner:
        if other.head in taken:
            taken |= other.body
    return taken


def main_loop(blocks: list[Block], matters: Callable[[Instruction], bool]) -> tuple[Loop, list[Loop]]:
    """The largest loop with instructions that matter, and the loops inside of it.

    Raises:
        ValueError: where there is none.
    """
    found = loops(blocks)
    outer = [x for x in found if any(matters(i) for place in x.body for i in blocks[place].code)]
    if not outer:
        raise ValueError("no loop with a matrix product")
    top = max(outer, key=lambda x: len(x.body))
    return top, [x for x in found if x.head != top.head and x.body < top.body]
