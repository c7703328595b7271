"""Paper C: hidden fixed-point subspaces of equivariant networks, and the walls among them."""
