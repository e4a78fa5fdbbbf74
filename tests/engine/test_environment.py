"""The clock: whole nanoseconds, first come first served, events that can be taken back."""

import numpy as np
import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from virtsim.core.errors import ModelError, SpecError
from virtsim.engine.environment import Alarm, Environment, TimeError


@pytest.fixture
def env():
    return Environment()


@pytest.mark.parametrize("delay", [1.0, 0.1, float("nan"), float("inf"), "1", None, 1e9])
def test_a_delay_that_is_not_whole_is_refused(env, delay):
    with pytest.raises(TimeError, match="whole number of nanoseconds"):
        env.delay(delay)


def test_simpys_own_timeout_is_refused_floats_too(env):
    with pytest.raises(TimeError):
        env.timeout(0.5)
    with pytest.raises(TimeError):
        env.run(until=1.5)
    with pytest.raises(TimeError):
        Environment(initial_time_ns=0.0)


def test_numpys_integers_become_plain_ones(env):
    env.delay(np.int64(5))
    env.run()
    assert (env.now, type(env.now)) == (5, int)


def test_the_past_is_refused(env):
    env.run(until=10)
    with pytest.raises(ValueError, match=r"past|[Nn]egative"):
        env.delay(-1)
    with pytest.raises(TimeError, match="not after"):
        env.run(until=10)


def test_ten_tenths_of_a_second_do_not_overtake_a_second(env):
    """In float seconds they end at 0.9999999999999999, before the timer that was set first."""
    log = []

    def ticks():
        for _ in range(10):
            yield env.delay(100_000_000)
        log.append(("ticks", env.now))

    def timer():
        yield env.delay(1_000_000_000)
        log.append(("timer", env.now))

    env.process(timer())
    env.process(ticks())
    env.run()
    assert log == [("timer", 1_000_000_000), ("ticks", 1_000_000_000)]


def test_events_of_one_time_happen_in_the_order_of_their_scheduling(env):
    log = []
    for i in range(100):
        env.delay(7).callbacks.append(lambda _, i=i: log.append(i))
    env.run()
    assert log == list(range(100))


def test_run_until_a_time_stops_before_the_events_of_that_time(env):
    log = []
    env.delay(10).callbacks.append(lambda _: log.append(env.now))
    env.run(until=10)
    assert (env.now, log) == (10, [])
    env.run(until=11)
    assert (env.now, log) == (11, [10])
    assert env.next_event_ns is None
    assert env.peek() == float("inf")


def test_run_until_an_event_gives_its_value(env):
    assert env.run(until=env.delay(3, value="done")) == "done"
    assert env.now == 3


def test_an_error_leaves_run_as_it_was_raised(env):
    def fails():
        yield env.delay(5)
        raise SpecError("guests[0].stack", "no stack is called 'x'")

    env.process(fails())
    with pytest.raises(SpecError, match=r"^guests\[0\].stack: no stack is called 'x'$") as caught:
        env.run(until=100)
    assert caught.value.path == "guests[0].stack"
    env.run(until=50)
    assert env.now == 50, "the end of the failed run must not stop a later one"
    env.run(until=200)
    assert env.now == 200


def test_processes_conditions_and_interrupts_work_as_in_simpy(env):
    log = []

    def sleeper():
        try:
            yield env.delay(100)
        except simpy.Interrupt as interrupt:
            log.append((env.now, interrupt.cause))
        yield env.delay(1) & env.delay(5)
        log.append(env.now)
        yield env.delay(10) | env.delay(20)
        log.append(env.now)

    process = env.process(sleeper())

    def waker():
        yield env.delay(30)
        process.interrupt("now")

    env.process(waker())
    env.run()
    assert log == [(30, "now"), 35, 45]


def test_a_cancelled_event_does_not_move_the_clock(env):
    late = env.delay(1000)
    env.delay(10)
    env.cancel(late)
    assert env.next_event_ns == 10
    env.run()
    assert env.now == 10
    with pytest.raises(ModelError, match="cancelled"):
        env.cancel(late)
    with pytest.raises(ModelError, match="cancelled"):
        env.cancel(env.event())


def test_cancelled_events_do_not_pile_up(env):
    """A timer that is moved a million times keeps the queue small."""
    alarm = Alarm(env, lambda: None)
    for due in range(200_000, 100_000, -1):
        alarm.set(due)
    assert len(env._queue) < 300
    env.run()
    assert env.now == 100_001


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60))
def test_what_is_not_cancelled_happens_in_order(plan):
    env, log, expected = Environment(), [], []
    events = []
    for i, (delay, cancelled) in enumerate(plan):
        event = env.delay(delay)
        event.callbacks.append(lambda _, i=i: log.append((env.now, i)))
        events.append((event, cancelled))
        if not cancelled:
            expected.append((delay, i))
    for event, cancelled in events:
        if cancelled:
            env.cancel(event)
    env.run()
    assert log == sorted(expected)


def test_an_alarm_can_be_set_moved_and_cleared(env):
    log = []
    alarm = Alarm(env, lambda: log.append(env.now))
    alarm.set(10)
    alarm.set(30)
    alarm.set(20)
    env.run(until=25)
    assert (log, alarm.due_ns) == ([20], None)
    alarm.set(40)
    assert alarm.due_ns == 40
    alarm.clear()
    alarm.clear()
    env.run()
    assert (log, env.now) == ([20], 25)


def test_an_alarm_may_be_set_again_while_it_rings(env):
    log = []

    def ring():
        log.append(env.now)
        if len(log) < 3:
            alarm.set(env.now + 5)

    alarm = Alarm(env, ring)
    alarm.set(5)
    env.run()
    assert log == [5, 10, 15]
