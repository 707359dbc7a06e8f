"""The choice between one batch for several sequences and one for each."""

from mmtui.pipeline.engines.batch_speed import BatchSpeed


def decide(alone: float, together: float, count: int = 3, decisions: int = 500) -> int:
    """Return how many of the decisions are for one batch, with steps that take these times."""
    speed, chosen = BatchSpeed(), 0
    for _ in range(decisions):
        if speed.is_faster_together(count):
            speed.add(count, together)
            chosen += 1
        else:
            for _ in range(count):
                speed.add(1, alone)
    return chosen


def test_the_faster_way_is_chosen_and_the_other_one_tried_again_now_and_then():
    assert 490 <= decide(alone=10, together=15) < 500
    assert 0 < decide(alone=10, together=35) <= 10


def test_a_single_sequence_has_no_choice():
    assert BatchSpeed().is_faster_together(1)


def test_a_delay_by_other_programs_is_forgotten():
    speed = BatchSpeed()
    speed.add(2, 500)  # the first batch is slow
    speed.add(1, 10)
    assert not speed.is_faster_together(2)
    speed.add(2, 15)
    assert speed.is_faster_together(2)
    speed.add(2, 25)  # once
    assert speed.is_faster_together(2)
    for _ in range(20):
        speed.add(2, 25)
    assert not speed.is_faster_together(2)
