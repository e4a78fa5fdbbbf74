"""Policies: small classes behind Protocols, registered by name.

:mod:`tables` is what they see, :mod:`placement` (with :mod:`exact`, :mod:`bounds` and :mod:`orchestration`) who goes
where, :mod:`overload` and :mod:`selection` what is wrong and who leaves, :mod:`consolidation` the whole decision,
:mod:`autoscale` how many replicas a service has.
"""
