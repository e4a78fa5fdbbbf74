"""Suites of scenarios that were not used in calibration."""

from virtsim.validation.suites import container as container
from virtsim.validation.suites import drawn as drawn
from virtsim.validation.suites import scheduling as scheduling
from virtsim.validation.suites import smoke as smoke
