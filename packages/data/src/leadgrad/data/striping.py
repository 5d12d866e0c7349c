"""Deals whole batches out to the devices, so that an attack does not depend on their number."""

from collections.abc import Collection, Iterator

from torch.utils.data import BatchSampler, DistributedSampler, Sampler, SequentialSampler


class StripedBatchSampler(BatchSampler):
    """The batches of one device, of which rank r of W serves numbers r, r + W, r + 2W, ...

    Lightning's own predict sampler strides single samples, so a batch's composition, and with it
    the last bits of a gradient, change with the number of devices. Here batch k always holds the
    samples k * batch_size, k * batch_size + 1, ...; only who computes it changes.

    Lightning builds this sampler anew for predict and passes a distributed sampler as `sampler`
    when several processes run. Its share of the samples is ignored: only the size of the whole
    set is read from it. Argument names follow `torch.utils.data.BatchSampler`, which Lightning's
    argument capture relies on.

    Args:
        sampler: The samples in order. A `SequentialSampler`, or the distributed sampler that
            Lightning puts around one.
        batch_size: Samples per batch; the last batch may be smaller.
        drop_last: Must be False: an attack leaves no sample out.
        rank: Number of this process, 0..world-1.
        world: Number of processes.
        done: Numbers of the finished batches, which are left out (resume).

    Raises:
        TypeError: `sampler` does not serve the samples in order.
        ValueError: An argument is out of its range, or a finished batch does not exist.
    """

    def __init__(
        self,
        sampler: Sampler[int],
        batch_size: int,
        drop_last: bool,
        *,
        rank: int,
        world: int,
        done: Collection[int],
    ) -> None:
        if drop_last:
            raise ValueError("drop_last=True would leave samples out of the attack; pass False")
        super().__init__(sampler, batch_size, drop_last)
        if not 0 <= rank < world:
            raise ValueError(f"rank must be in 0..world-1, got rank {rank} and world {world}")
        self.num_samples = _num_samples(sampler)
        self.num_batches = -(-self.num_samples // batch_size)
        foreign = sorted(set(done) - set(range(self.num_batches)))
        if foreign:
            raise ValueError(
                f"finished batch {foreign[0]} does not exist, this run has {self.num_batches} "
                f"batches of {batch_size}; resume with the batch size and limit of the first run"
            )
        self.batches = [k for k in range(rank, self.num_batches, world) if k not in done]

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the sample positions of each batch of this rank."""
        for batch in self.batches:
            start = batch * self.batch_size
            yield list(range(start, min(start + self.batch_size, self.num_samples)))

    def __len__(self) -> int:
        """Return the number of batches of this rank."""
        return len(self.batches)


def _num_samples(sampler: Sampler[int]) -> int:
    if isinstance(sampler, DistributedSampler):
        return len(sampler.dataset)  # type: ignore[arg-type]  # Lightning's is Sized
    if isinstance(sampler, SequentialSampler):
        return len(sampler)
    raise TypeError(
        f"attacks are served in order and need a SequentialSampler, got {type(sampler).__name__}"
    )
