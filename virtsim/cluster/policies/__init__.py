"""Policies: small classes behind Protocols, registered by name.

:mod:`tables` and :mod:`situation` are what they see, :mod:`placement` (with :mod:`exact`, :mod:`bounds` and
:mod:`orchestration`) who goes where, :mod:`overload` and :mod:`selection` what is wrong and who leaves,
:mod:`consolidation` the whole decision, :mod:`autoscale` how many replicas a service has. :mod:`book`, :mod:`growths`,
:mod:`shelves`, :mod:`plan` and :mod:`targets` are what a decision in progress keeps, so that it need not look at every
host each time.
"""
