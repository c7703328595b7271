"""The command line: ``symtheory list | run | show | status | claims | verify | inspect``.

Exit codes: 0 done; 1 from ``verify`` when something is not as the ledger declares it; 2 for input that cannot be used,
told in one message with its remedy; 130 after an interrupt, from which a rerun continues.

With ``--json`` a command writes one JSON object and nothing else to standard output. Schema 1; keys may be added:

``list``
    ``figures``: for each ``id``, ``title``, ``source``, ``claim`` and ``presets`` (name to settings).
``status``
    ``figures``: for each ``id``, ``title``, ``missing`` (presets without a result) and ``results``, for each of which
    ``name``, ``preset``, ``overrides``, ``device``, ``date``, ``wall_time_s``, ``compute_time_s``, ``holds`` (do all
    checks hold), ``sha256_ok`` (is the file the one that was written), ``code_current`` (has the code not changed
    since) and ``problem`` (a message, or null). Where provenance cannot be read all but the name, ``sha256_ok`` and
    ``problem`` are null.
``claims``
    ``claims``: for each ``id``, ``source``, ``title``, ``verdict`` (what the recorded evidence carries),
    ``declared_verdict``, ``correction``, ``counterexample`` (both null or markdown), ``missing`` (why it is open),
    ``tests`` (each ``nodeid``, ``role``, ``outcome``) and ``errata`` (each ``where``, ``kind``, ``printed``, ``true``,
    ``counterexample``, ``consequence``, ``check``).
``verify``
    ``claim``, ``seed``, ``as_declared`` (is all below as it should be), ``verify`` (a verdict), ``controls`` and
    ``counterexamples`` (name to a verdict that must not hold), ``unneeded`` (hypothesis to a verdict that holds without
    it) and ``proof`` (``scope``, ``proved`` and ``steps``, each ``name``, ``lhs``, ``rhs``, ``proved``). A verdict is
    ``statement``, ``residual``, ``tolerance``, ``control`` (residual of its negative control, or null), ``holds``,
    ``seed``.
``inspect``
    ``model``, ``parameters`` (their number), ``families``, ``rejected`` (derived but not confirmed), ``blocked`` (those
    that ``frozen`` parameters rule out), ``gaps`` (each ``where``, ``why``, ``parameters``), ``unused``, ``tolerance``,
    ``dtype`` and ``seconds``. A family is ``kind``, ``group``, ``degree``, ``copies``, ``where``, ``axes`` (tensor to
    the axes it acts on, none where it acts on the whole tensor), ``buffers``, ``mirrors`` (null for infinitely many),
    ``rank`` of one of them, ``no_mirror`` (why there are none, or empty) and ``residual``.

Every object carries ``"schema": 1``.
"""

from symtheory.cli.app import main

__all__ = ["main"]
