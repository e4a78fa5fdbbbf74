"""virtsim: models of virtualization architectures that are checked against a real kernel."""

__version__ = "0.1.0"
