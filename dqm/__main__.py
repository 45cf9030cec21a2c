"""``python -m dqm`` is the ``dqm`` command."""

from dqm.cli import main

main()
