"""The programming interface: ``/api/v1``, for notebooks and other programs.

=============== ==================================================================================
``tables``      what nearly everything is given out as: columns with units
``encoding``    a table as JSON, CSV, FITS or VOTable
``questions``   what may be asked: the parameters of each address
``answers``     what is answered, where that is no table
``reading``     makes the answers from the database
``handlers``    one class per address
``resources``   the list of all addresses, from which routes and the OpenAPI document are made
``openapi``     the OpenAPI document
=============== ==================================================================================

`dqm_client` is the other end.
"""
