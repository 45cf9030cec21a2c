"""Measurements of the whole system beside the bars that it has to meet; see `README.md` here."""
