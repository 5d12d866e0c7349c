"""Kernel maps: which input voxel meets which output voxel under which slice of a kernel.

A convolution is out[t] = Σ over pairs (s, t) of slice k: in[s] @ kernel[k]. A map lists the pairs
of each slice by ranks (places in the sorted coordinate sets), in ascending order of both ends:
adding an offset keeps the order of keys. So the pairs of a range of targets are one contiguous
run per slice, and a convolution can work through blocks of targets that stay in the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from leadgrad.victims.sparse.coordinates import CoordinateSet, key_step

Offset = tuple[int, int, int]


def hypercube_offsets(size: int) -> Tensor:
    """Offsets of a cube kernel, x fastest (the order of MinkowskiEngine's cubes).

    Odd sizes are centred; size 2 has the offsets 0 and 1 (docs/reference/scenes.md, "Order of
    kernel offsets").

    Returns:
        Columns x, y, z, in voxels of the finer level. Shape: (size³, 3), int64.

    Raises:
        ValueError: For a size below 1 or even and not 2.
    """
    if size < 1 or (size % 2 == 0 and size != 2):
        raise ValueError(f"kernel size must be odd or 2, got {size}")
    low = -(size // 2) if size % 2 else 0
    axis = range(low, low + size)
    return torch.tensor([(x, y, z) for z, y, x in itertools.product(axis, repeat=3)])


def hybrid_offsets() -> Tensor:
    """The 27 offsets of the "HYBRID" 3³ kernels of MinkUNet's residual blocks, centre first.

    Axis by axis, each offset so far is copied with that axis at -1, then at +1
    (docs/reference/scenes.md, "Order of kernel offsets"). Shape: (27, 3), int64, columns x, y, z.
    """
    offsets = [[0, 0, 0]]
    for axis in range(3):
        offsets += [
            [*known[:axis], step, *known[axis + 1 :]] for known in offsets for step in (-1, 1)
        ]
    return torch.tensor(offsets)


@dataclass(frozen=True)
class Part:
    """One slice's pairs in a block: views of the map's own lists.

    Args:
        index: Which slice.
        source: Source rank of each pair. Shape: (n,), int32.
        target: Target rank of each pair. Shape: (n,), int32.
    """

    index: int
    source: Tensor
    target: Tensor


@dataclass(frozen=True)
class Block:
    """A range of target ranks and how to sum what their pairs contribute.

    Args:
        targets: The range.
        parts: The slices with pairs in the range. Their contributions lie one after another in a
            buffer, in this order.
        sizes: Number of pairs of each part.
        bags: Places in that buffer, target by target. Shape: (sum of sizes,), int32.
        offsets: Where each target's places begin in ``bags``, and the end. Shape:
            (targets + 1,), int32.
    """

    targets: slice
    parts: tuple[Part, ...]
    sizes: tuple[int, ...]
    bags: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class KernelMap:
    """The pairs of each kernel slice, by rank.

    Args:
        source_set: The voxels read.
        target_set: The voxels written.
        source: Source rank of each pair, slice after slice. Shape: (P,), int32.
        target: Target rank of each pair; within a slice both ascend. Shape: (P,), int32.
        starts: First pair of each slice, and P: K + 1 numbers.
        identity: The slice that maps every voxel to itself, if there is one. Its pairs are listed,
            but need no gather, so blocks leave them out.
        mirror: For each slice the one with the negated offset, where source and target sets are the
            same; None otherwise.
    """

    source_set: CoordinateSet
    target_set: CoordinateSet
    source: Tensor
    target: Tensor
    starts: tuple[int, ...]
    identity: int | None = None
    mirror: tuple[int, ...] | None = None
    _blocks: dict[int, tuple[Block, ...]] = field(default_factory=dict, repr=False, compare=False)
    _swapped: list[KernelMap] = field(default_factory=list, repr=False, compare=False)

    @property
    def volume(self) -> int:
        """Number of kernel slices K."""
        return len(self.starts) - 1

    def pairs(self, index: int) -> tuple[Tensor, Tensor]:
        """Source and target rows (not ranks) of one slice's pairs. Shape: (n,) each, int64."""
        run = slice(self.starts[index], self.starts[index + 1])
        source, target = self.source[run].long(), self.target[run].long()
        return self.source_set.rows(source), self.target_set.rows(target)

    def adjoint(self) -> tuple[KernelMap, tuple[int, ...]]:
        """The map of the transposed convolution, and which slice of this map each of its is.

        A map with mirrored slices is its own adjoint, so gradients need no second map.
        """
        if self.mirror is not None:
            return self, self.mirror
        if not self._swapped:
            swapped = KernelMap(
                self.target_set, self.source_set, self.target, self.source, self.starts
            )
            swapped._swapped.append(self)
            self._swapped.append(swapped)
        return self._swapped[0], tuple(range(self.volume))

    def blocks(self, max_pairs: int) -> tuple[Block, ...]:
        """Ranges of targets with about ``max_pairs`` pairs each, at most K more; kept for reuse."""
        if max_pairs not in self._blocks:
            self._blocks[max_pairs] = _cut(self, max_pairs)
        return self._blocks[max_pairs]


def submanifold_map(voxels: CoordinateSet, offsets: Tensor) -> KernelMap:
    """Stride-1 map of a set onto itself: in == out + offset·stride.

    Args:
        voxels: The set.
        offsets: One offset per kernel slice in voxels of the set's stride, in any order. Shape:
            (K, 3), integer, columns x, y, z.

    Raises:
        ValueError: If an offset occurs twice, or is there without its negative, as in no kernel of
            odd sizes.
    """
    wanted: list[Offset] = [(x, y, z) for x, y, z in offsets.tolist()]
    place = {offset: index for index, offset in enumerate(wanted)}
    if len(place) != len(wanted):
        raise ValueError(f"each offset may occur once, got {wanted}")
    lonely = next((o for o in wanted if _negated(o) not in place), None)
    if lonely is not None:
        raise ValueError(
            f"offsets must come with their negatives, {lonely} is alone; use odd kernel sizes"
        )
    mirror = tuple(place[_negated(offset)] for offset in wanted)
    found = _neighbours(voxels, [offset for offset in wanted if offset > (0, 0, 0)])
    pairs: list[tuple[Tensor, Tensor]] = []
    for offset in wanted:
        if offset in found:
            pairs.append(found[offset])
        elif offset == (0, 0, 0):
            everyone = torch.arange(len(voxels), dtype=torch.int32, device=voxels.keys.device)
            pairs.append((everyone, everyone))
        else:
            target, source = found[_negated(offset)]
            pairs.append((source, target))
    return _from_pairs(voxels, voxels, pairs, identity=place.get((0, 0, 0)), mirror=mirror)


def stride_map(
    fine: CoordinateSet, coarse: CoordinateSet, parent: Tensor, cell: Tensor
) -> KernelMap:
    """Map of the 2³ convolution with stride 2 from ``fine`` to its downsampled set.

    Its adjoint maps the transposed one. ``parent`` and ``cell`` are from ``fine.downsample()``.
    """
    # Children in one corner of their parents are ordered as the parents are
    corners = [torch.nonzero(cell == corner).squeeze(1) for corner in range(8)]
    pairs = [(child.int(), parent[child].int()) for child in corners]
    return _from_pairs(fine, coarse, pairs)


def _negated(offset: Offset) -> Offset:
    return -offset[0], -offset[1], -offset[2]


def _neighbours(
    voxels: CoordinateSet, offsets: Sequence[Offset]
) -> dict[Offset, tuple[Tensor, Tensor]]:
    """Ranks (source, target) with source == target + offset, for each offset."""
    found: dict[Offset, tuple[Tensor, Tensor]] = {}
    stride, keys = voxels.stride, voxels.keys
    # A last key that no query equals, for queries beyond the greatest key
    padded = torch.cat([keys, keys.new_full((1,), torch.iinfo(torch.int64).max)])
    before: Offset | None = None
    position = hit = keys
    for offset in sorted(offsets):
        x, y, z = offset
        query = keys + key_step(x * stride, y * stride, z * stride)
        # One step further along z nothing lies between two queries, so no second search: the place
        # is the same, or the next where the query before this one was found
        along_z = before == (x, y, z - 1)
        position = position + hit if along_z else torch.searchsorted(keys, query)
        hit = padded.index_select(0, position) == query
        target = hit.nonzero().squeeze(1)
        found[offset] = (position.index_select(0, target).int(), target.int())
        before = offset
    return found


def _from_pairs(
    source_set: CoordinateSet,
    target_set: CoordinateSet,
    pairs: Sequence[tuple[Tensor, Tensor]],
    *,
    identity: int | None = None,
    mirror: tuple[int, ...] | None = None,
) -> KernelMap:
    return KernelMap(
        source_set,
        target_set,
        torch.cat([source for source, _ in pairs]),
        torch.cat([target for _, target in pairs]),
        tuple(itertools.accumulate((len(source) for source, _ in pairs), initial=0)),
        identity,
        mirror,
    )


def _cut(kernel_map: KernelMap, max_pairs: int) -> tuple[Block, ...]:
    """Cuts the targets into blocks and lists, for each target, where its contributions lie."""
    slices = [k for k in range(kernel_map.volume) if k != kernel_map.identity]
    runs = {k: slice(kernel_map.starts[k], kernel_map.starts[k + 1]) for k in slices}
    targets = {k: kernel_map.target[runs[k]].long() for k in slices}
    device = kernel_map.target.device
    rows = len(kernel_map.target_set)

    counts = torch.zeros(rows, dtype=torch.int64, device=device)
    for target in targets.values():
        counts[target] += 1  # a target occurs once in a slice
    ends = counts.cumsum(0)
    total = int(ends[-1])
    cuts = torch.arange(1, total // max_pairs + 1, device=device) * max_pairs
    inner = torch.searchsorted(ends, cuts, right=True)
    bounds = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), rows)])
    bounds = bounds[torch.cat([bounds[1:] > bounds[:-1], bounds.new_ones(1, dtype=torch.bool)])]

    first_pairs = ends.new_zeros(rows + 1)
    first_pairs[1:] = ends
    begins = first_pairs[bounds]  # of each block, in bags
    cursor = first_pairs[:-1].clone()
    bags = torch.empty(total, dtype=torch.int32, device=device)
    base = torch.zeros(len(bounds) - 1, dtype=torch.int64, device=device)
    edges: list[list[int]] = []
    for k in slices:
        edge = torch.searchsorted(targets[k], bounds)
        lengths = edge.diff()
        at = torch.arange(len(targets[k]), device=device)
        at = at + (base - edge[:-1]).repeat_interleave(lengths, output_size=len(at))
        place = cursor.index_select(0, targets[k])
        bags[place] = at.int()
        cursor[targets[k]] = place + 1
        base = base + lengths
        edges.append((edge + runs[k].start).tolist())

    blocks = []
    ranks, places = bounds.tolist(), begins.tolist()
    for b, (first, last) in enumerate(itertools.pairwise(ranks)):
        cuts_of = [(k, slice(e[b], e[b + 1])) for k, e in zip(slices, edges, strict=True)]
        parts = tuple(
            Part(k, kernel_map.source[run], kernel_map.target[run])
            for k, run in cuts_of
            if run.start < run.stop
        )
        blocks.append(
            Block(
                slice(first, last),
                parts,
                tuple(len(part.source) for part in parts),
                bags[places[b] : places[b + 1]],
                (first_pairs[first : last + 1] - places[b]).int(),
            )
        )
    return tuple(blocks)
