"""Importers of model descriptions that others wrote, one file per format."""
