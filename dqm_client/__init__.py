"""Data quality of NectarCAM in a notebook.

>>> from dqm_client import Client
>>> dqm = Client("https://dqm.example.org", token="dqm_…")
>>> dqm.runs("NectarCAMQM", verdict=["warning", "bad"])   # an astropy Table

Needs nothing of the rest of the system, only numpy and astropy.
"""

from dqm_client.client import Client
from dqm_client.errors import ApiError

__all__ = ["ApiError", "Client"]
