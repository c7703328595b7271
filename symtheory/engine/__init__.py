"""How claims are measured: derivatives, invariance, training, algebra. No theorem is known here."""
