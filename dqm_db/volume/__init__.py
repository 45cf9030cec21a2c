"""The volume of one server: what lies on its disk, read and kept without a server.

Nothing here knows ZEO, Twisted or the network; of what is stored, no class is ever loaded but
those of containers and of this system (`dqm_db.stored_classes`).

===================== ===========================================================================
``layout``            where everything is: `Volume`
``transactions``      reads a ``Data.fs`` from its end, and from its transactions' headers
``digests``           digests of all transactions, to compare volumes and to find damage
``digest_wire``       the same as plain lists, to be sent
``record_digests``    those of the records and blobs of one transaction
``transaction_file``  finds transactions in a ``Data.fs``
``headers``           the headers of its transactions and records
``windows``           reads large files with little memory
``reachable``         which objects can be reached from the root
``state``             ``volume.json``: what a server is, and has to do at its next start
``fence``             the epoch of the database, read from and written into it
``database_identity`` which database it is: when that was created
``maintenance``       the lock that keeps packing and backups apart
``unfinished_pack``   puts right what a pack leaves whose server was killed
``aside``             moves the files of a replica aside
``syncing``           has files and folders on the disk before something is said to be stored
``holder``            which process serves a volume
``errors``            what is wrong with a volume
===================== ===========================================================================
"""
