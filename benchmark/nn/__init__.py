"""The toolbox that methods are made of."""
