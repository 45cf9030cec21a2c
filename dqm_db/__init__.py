"""The database: what is stored, how it is opened, served and replicated."""
