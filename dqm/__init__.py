"""The ``dqm`` command: puts the packages together for the command line and the demo."""
