import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alise_bench.sim.kv_cache import BlockPool, chain_hashes


def test_a_hash_covers_everything_before_its_block() -> None:
    one = chain_hashes([1, 2, 3, 4, 5, 6], 2)
    other = chain_hashes([9, 2, 3, 4, 5, 6], 2)
    assert len(one) == 3
    assert not set(one) & set(other)
    assert chain_hashes([1, 2, 3, 4, 5], 2) == one[:2], "a partial block has no hash"


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 5), st.integers(0, 40))
def test_hashing_step_by_step_equals_hashing_at_once(
    tokens: list[int], size: int, split: int
) -> None:
    known = chain_hashes(tokens[:split], size)
    assert chain_hashes(tokens, size, known) == chain_hashes(tokens, size)


def test_released_blocks_stay_findable_until_handed_out_and_count_as_free() -> None:
    pool = BlockPool(5, 4)
    blocks = pool.allocate(2)
    assert blocks is not None
    for block, block_hash in zip(blocks, (11, 12), strict=True):
        pool.register(block, block_hash)
    assert pool.usage_ratio == 0.5
    pool.release(blocks)
    assert pool.usage_ratio == 0.0
    assert pool.find([11, 12, 13]) == blocks
    assert pool.find([12]) == [blocks[1]]
    pool.allocate(4)
    assert pool.find([11]) == []


def test_the_tail_of_a_sequence_is_evicted_before_its_prefix() -> None:
    pool = BlockPool(4, 4)
    blocks = pool.allocate(3)
    assert blocks is not None
    for block, block_hash in zip(blocks, (1, 2, 3), strict=True):
        pool.register(block, block_hash)
    pool.release(blocks)
    pool.allocate(1)
    assert pool.find([1, 2, 3]) == blocks[:2]


def test_touching_a_cached_block_takes_it_from_the_free_list() -> None:
    pool = BlockPool(4, 4)
    blocks = pool.allocate(1)
    assert blocks is not None
    pool.register(blocks[0], 1)
    pool.release(blocks)
    assert pool.free_after_touching(blocks) == 2
    pool.touch(blocks)
    pool.touch(blocks)
    assert pool.free == 2
    assert pool.references() == {blocks[0]: 2}
    pool.release(blocks)
    assert pool.free == 2, "another holder remains"
    pool.check()


def test_more_than_is_free_is_refused_whole() -> None:
    pool = BlockPool(4, 4)
    assert pool.allocate(4) is None
    assert pool.free == 3


def test_without_prefix_caching_nothing_is_found() -> None:
    pool = BlockPool(4, 4, prefix_caching=False)
    blocks = pool.allocate(1)
    assert blocks is not None
    pool.register(blocks[0], 1)
    assert pool.find([1]) == []


def test_the_cache_is_emptied_only_while_unused() -> None:
    pool = BlockPool(4, 4)
    blocks = pool.allocate(1)
    assert blocks is not None
    pool.register(blocks[0], 1)
    assert not pool.forget_all()
    pool.release(blocks)
    assert pool.forget_all()
    assert pool.find([1]) == []
    pool.check()


def test_check_notices_a_leak() -> None:
    pool = BlockPool(4, 4)
    blocks = pool.allocate(1)
    assert blocks is not None
    pool.release(blocks)
    pool.release(blocks)
    with pytest.raises(AssertionError):
        pool.check()


@pytest.mark.parametrize(("blocks", "size"), [(1, 16), (10, 0)])
def test_a_pool_that_holds_nothing_is_refused(blocks: int, size: int) -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        BlockPool(blocks, size)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=40))
@settings(deadline=None)
def test_accounting_holds_under_any_sequence_of_operations(steps: list[tuple[int, int]]) -> None:
    pool = BlockPool(8, 2)
    held: list[list[int]] = []
    for operation, number in steps:
        if operation == 0 and (blocks := pool.allocate(number)) is not None:
            held.append(blocks)
        elif operation == 1 and held:
            pool.release(held.pop(number % len(held)))
        elif operation == 2 and held and held[-1]:
            pool.register(held[-1][0], number + 1)
        elif operation == 3 and (found := pool.find([number + 1])):
            pool.touch(found)
            held.append(found)
        pool.check()
        references: dict[int, int] = {}
        for blocks in held:
            for block in blocks:
                references[block] = references.get(block, 0) + 1
        assert pool.references() == references
