"""How the models and adapters are made; never imported while serving."""
