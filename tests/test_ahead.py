import threading

import pytest

from genreray.ahead import map_ahead


def test_results_come_in_order():
    assert list(map_ahead(lambda x: x * x, range(10), 3)) == [x * x for x in range(10)]


def test_no_items_give_no_results():
    assert list(map_ahead(str, [], 2)) == []


def test_the_next_calls_run_while_a_result_is_used():
    both = threading.Barrier(2, timeout=10)

    def meet(item):
        if item:  # 1 and 2 only return once they run at the same time
            both.wait()
        return item

    assert list(map_ahead(meet, [0, 1, 2], 2)) == [0, 1, 2]


def test_no_more_calls_than_asked_for_are_ahead():
    begun = []
    results = map_ahead(lambda x: begun.append(x), range(100), 4)
    next(results)
    assert len(begun) <= 5
    results.close()
    assert len(begun) <= 5


def test_an_exception_comes_in_the_place_of_its_result():
    results = map_ahead(lambda x: 1 // x, [2, 1, 0, 1], 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
