import pytest

from virtsim.scenario.guest import Group, Guest
from virtsim.scenario.scenario import Scenario
from virtsim.workload.builders import request_server, spin


@pytest.fixture(scope="session")
def scenario():
    return Scenario(
        name="pair",
        groups=[Group(name="pod", cpu_weight=50)],
        guests=[
            Guest(name="web", workload=request_server("200/s", "1ms"), cpu_weight=300, group="pod"),
            Guest(name="web.2", workload=spin(2)),
            Guest(name="7", workload=spin(work="5ms"), stack="native"),
        ],
        duration="10ms",
    )
