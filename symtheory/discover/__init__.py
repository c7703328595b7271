"""The parameter symmetries of anyone's network, derived from its graph and measured."""
