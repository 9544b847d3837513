"""One prompt template per family of models."""
