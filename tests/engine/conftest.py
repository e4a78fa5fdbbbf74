import pytest


def _feed(env, plan, serve):
    """Calls ``serve(i)`` for each job at its arrival; gives the jobs in the order of the plan."""
    jobs = [None] * len(plan)

    def arrive(i):
        jobs[i] = serve(i)

    for i, (arrival, *_) in enumerate(plan):
        env.delay(arrival).callbacks.append(lambda _, i=i: arrive(i))
    return jobs


@pytest.fixture(scope="session")
def feed():
    return _feed
