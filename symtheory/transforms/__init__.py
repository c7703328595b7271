"""Models to models: transforms that impose or remove symmetries."""
