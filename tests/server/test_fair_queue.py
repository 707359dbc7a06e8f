"""The queue of requests: first come, first served, but clients take turns."""

from mmtui.server.fair_queue import FairQueue


def test_clients_take_turns():
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(item[0], item)
    order = ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert list(queue) == order and len(queue) == 6
    assert [queue.pop() for _ in range(7)] == [*order, None]


def test_a_client_that_was_served_waits_for_the_others():
    queue: FairQueue[str] = FairQueue()
    for item in ("a1", "a2", "b1"):
        queue.put(item[0], item)
    assert queue.pop() == "a1"
    queue.put("c", "c1")
    assert list(queue) == ["b1", "a2", "c1"]
    assert queue.remove("b", "b1") and not queue.remove("b", "b1")
    assert list(queue) == ["a2", "c1"]
