"""The programming interface: ``/api/v1``, for notebooks and other programs.

================ =================================================================================
``tables``       what nearly everything is given out as: columns with units
``encoding``     a table as JSON, CSV, FITS or VOTable
``astronomical`` the last two of these, by astropy
``run_columns``  what there is of each run, in words
``questions``    what may be asked: the parameters of each address
``accepting``    what programs say that they take
``answers``      what is answered, where that is no table
``problems``     what is answered when a question cannot be
``reading``      makes the answers from the database
``turns``        who asks much waits for his turn
``encoder``      makes bytes of large tables, in a process of its own
``parts``        what a dashboard process has of these
``handlers``     one class per address
``resources``    the list of all addresses, from which routes and the OpenAPI document are made
``openapi``      the OpenAPI document
``operations``   parts of it that operations share
``files``        what it says of originals and archives
================ =================================================================================

`dqm_client` is the other end.
"""
