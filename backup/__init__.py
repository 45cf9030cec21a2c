"""Backups of a volume, made while its server runs, and the way back.

A folder of backups holds one folder per backup and one pool of blobs that all of them share:

.. code-block:: text

    DIR/2026-05-03T01-30-00.000Z/manifest.json        what the backup is, with digests
                                 Data.fs.zst          all of Data.fs, or what was added to it
                                 Data.fs.index.zst    its index
                                 verified.json        what its last verification found
    DIR/blobs/3f/0x…-0x….blob                         each blob once, by object and transaction
    DIR/backups.lock                                  held while something is changed or read

=============== ==================================================================================
``settings``    where backups are, and which are kept
``place``       the folder of backups: finds them, locks it
``manifest``    what a backup is
``stamp``       which database a volume holds, and in which epoch
``piece``       the part of Data.fs that a backup adds, cut by ZODB's repozo
``pool``        the blobs
``create``      makes a backup
``assemble``    puts the Data.fs of a backup together again
``check``       reads every record of a Data.fs and finds what is missing
``verify``      checks backups
``restore``     makes a volume from a backup
``retention``   decides which backups are kept
``prune``       removes the others
``repair``      cuts a copy made with tar where its blobs end
``reading``     transactions and records of a Data.fs
``progress``    tells how far it is
``noting``      remembers in the database what was done
``files``       copies, digests, disk space
``listing``     what ``dqm backup list`` says of a backup
``commands``    ``dqm backup …``
``errors``      what can go wrong
=============== ==================================================================================
"""
