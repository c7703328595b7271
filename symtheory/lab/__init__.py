"""How figures are run: the store of shards, results with provenance, executors, devices.

The lab knows no theorem and no figure: it runs any object with ``id``, ``presets``, ``run`` and ``check``
(:class:`symtheory.lab.runs.Runnable`). Files are netCDF and JSON, written atomically and verified when read.
"""
